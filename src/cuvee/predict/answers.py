"""A member asked: its raw answers checked at every call, and put into the classes of the ensemble by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError
from cuvee.predict.member import Member
from cuvee.predict.rows import Rows
from cuvee.predict.trained import Label, Task


@dataclass(frozen=True, eq=False)
class Answered:
    """What one member says of N rows, in the classes of the ensemble.

    Attributes:
        P: float64 `[N, K]`; NaN where it said nothing.
        mask: bool `[N]`: rows that it predicted.
        probable: whether the entries are probabilities.
        embeddings: `[N, D]` of a member that gives embeddings; then `P` is NaN throughout and `mask` False.
    """

    P: Array
    mask: Array
    probable: bool = True
    embeddings: Array | None = None


def ask(member: Member, rows: Rows, classes: Sequence[Label], task: Task) -> Answered:
    """Ask a member about the rows that it can read.

    Args:
        member: whom to ask.
        rows: all rows; those that lack what it reads are not asked about.
        classes: the classes of the ensemble, in order; none for a regression.
        task: of the ensemble.

    Raises:
        InputError: `bad-output`: the answers are of another shape, not finite, no probabilities, or logits that were
            taken for such; `class-mismatch`; `member-failed`: it raised.
    """
    width = len(classes) if task == "classification" else 1
    P = np.full((len(rows), width), np.nan)
    mask = rows.present(member.reads)
    asked = rows if mask.all() else rows.take(np.flatnonzero(mask))
    if len(asked):
        P[mask] = placed(member, checked(member, raw(member, asked), len(asked)), classes)
    return Answered(P, mask)


def raw(member: Member, rows: Rows) -> Array:
    """Its raw answers, as they come.

    Raises:
        InputError: `member-failed`.
    """
    try:
        return np.asarray(member.ask(rows.read(member.reads)))
    except InputError:
        raise
    except Exception as error:
        message = f"the member {member.name!r} failed on {len(rows):,} rows: {type(error).__name__}: {error}"
        raise InputError(Fault("member-failed", message, subject=member.name)) from error


def checked(member: Member, found: Array, n: int) -> Array:
    """Answers of the right shape, finite, and what they are said to be; float64 `[n, its own columns]`."""
    if len(found) != n or found.ndim > 2:
        message = f"the member {member.name!r} should answer {n} rows; its answers have the shape {list(found.shape)}"
        raise InputError(Fault("bad-output", message, subject=member.name))
    return np.asarray(found, np.float64).reshape(n, -1)


def placed(member: Member, found: Array, classes: Sequence[Label]) -> Array:
    """The columns of a member put where the ensemble has its classes: `[n, its own]` → `[n, K]`."""
    if member.task == "regression":
        return found if member.inverse is None else np.asarray(member.inverse(found), np.float64)
    whole = np.zeros((len(found), len(classes)))
    for column, label in enumerate(member.known):
        whole[:, list(classes).index(label)] += found[:, column]
    return whole


def labels_of(P: Array, classes: Sequence[Label]) -> Any:
    """The most probable class of each row by name, the first of equal ones, `[N]`."""
    names = np.array(classes, dtype=object if len({type(c) for c in classes}) > 1 else None)
    return names[P.argmax(axis=1)]
