"""What a model answered on the rows of a task: the numbers that every metric is a function of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["classification", "regression", "match", "likelihood", "retrieval", "outcome"]


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of one model, row by row; every array has the rows as its first dimension.

    Attributes:
        kind: which columns there are:
            `classification`: `truth` `[n]`, numbers of classes, and `probabilities` `[n, C]`, rows that sum to one;
            `regression`: `truth` and `predicted`, `[n]`;
            `match`: `correct` `[n]`, 0 or 1, of texts compared or choices made; `parsed` `[n]`, 0 or 1, where the
            form of an answer is asked for;
            `likelihood`: `nats` `[n]`, negative log-likelihood of each row, `tokens` and `bytes` `[n]`;
            `retrieval`: `rank` `[n]`, place of the nearest right item, from 1;
            `outcome`: `value` `[n]`, what a task's own function says of each row; its direction is the task's.
        columns: the arrays by name.
        ids: a name for each row, the same for every model that was asked.
        classes: names of the classes, in the order of `probabilities`.
        groups: a named column of the data → the group of each row.
    """

    kind: Kind
    columns: Mapping[str, np.ndarray[Any, Any]]
    ids: tuple[str, ...]
    classes: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> Answers:
        """The answers on some rows, which may repeat: what a bootstrap draws.

        Args:
            rows: numbers of rows, from 0.
        """
        where = np.asarray(rows, dtype=np.int64)
        groups = None if self.groups is None else {k: tuple(v[i] for i in where) for k, v in self.groups.items()}
        columns = {name: column[where] for name, column in self.columns.items()}
        return Answers(self.kind, columns, tuple(self.ids[i] for i in where), self.classes, groups)


def about(answers: Answers) -> dict[str, Any]:
    """All but the columns, as JSON can say it."""
    groups = None if answers.groups is None else {name: list(of) for name, of in answers.groups.items()}
    return {"kind": answers.kind, "ids": list(answers.ids), "classes": list(answers.classes), "groups": groups}


def answers_from(told: Mapping[str, Any], columns: Mapping[str, np.ndarray[Any, Any]]) -> Answers:
    """What `about` told, with its columns again; no classes and no groups may be left out."""
    groups = {name: tuple(of) for name, of in told["groups"].items()} if told.get("groups") else None
    return Answers(told["kind"], dict(columns), tuple(told["ids"]), tuple(told.get("classes") or ()), groups)
