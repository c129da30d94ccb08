"""Rows made ready for one model: what is run for each, and what becomes of the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cuvee.judging.answers import Kind

Columns = Mapping[str, "np.ndarray[Any, Any]"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Rows as a model takes them; the same for every model that has the tokenizer and the configuration.

    Attributes:
        kind: kind of the answers.
        questions: for each row what is run, one thing or several.
        width: tokens of a question.
        forward: runs some questions on a model: one result for each.
        gather: numbers of rows, and the results of each of them → the columns of the answers.
        classes: names of classes.
        shared: what is run besides, whatever the rows: the documents of a retrieval.
        vocabulary: predictions made for each token, 1 where only rows have some.
        one_by_one: whether the model cannot be given several rows at once.
        notes: what should be known of the data.
    """

    kind: Kind
    questions: tuple[tuple[Any, ...], ...]
    width: Callable[[Any], int]
    forward: Callable[[Any, list[Any]], list[Any]]
    gather: Callable[[Sequence[int], Sequence[Sequence[Any]], Sequence[Any]], Columns]
    classes: tuple[str, ...] = ()
    shared: tuple[Any, ...] = ()
    vocabulary: int = 1
    one_by_one: bool = False
    notes: tuple[str, ...] = ()
