"""Evidence of a newcomer: its predictions laid beside those that the combiner was fitted on, or new rows for everyone.

a bank of all members          it takes the place of the one there was
a bank of the newcomer         joined to the one there was, on the same rows
rows that the bank holds       the newcomer alone is asked about them; everybody where one leaves classes to others
rows that it does not hold     every member is asked about them, and they take the place of the old ones
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, UsageError, listed
from cuvee.predict.asking_all import Asking, wanting
from cuvee.predict.bank import Bank, Provenance
from cuvee.predict.gathering import gather
from cuvee.predict.member import Member
from cuvee.predict.rows import Rows, rows_of
from cuvee.predict.state import State
from cuvee.predict.trained import Label, Task


def evidence(
    state: State,
    members: Sequence[Member],
    newcomer: Member,
    asking: Asking,
    *,
    bank: Bank | None = None,
    data: tuple[Any, Any] | None = None,
    view: Callable[[Rows], Array | None] | None = None,
) -> Bank | None:
    """The bank of all members that evidence makes; `None` where none was given.

    Args:
        state: the present version, whose bank is held.
        members: all members, the newcomer among them.
        newcomer: who joins.
        asking: how members are asked.
        bank: predictions of the newcomer, or of all.
        data: rows and their right answers.
        view: rows → their own numbers, `[N, D]`.

    Raises:
        UsageError: both were given.
        InputError: `rows-differ`: not the rows that the bank holds; `unknown-member`: not the newcomer's predictions.
    """
    names, held = tuple(member.name for member in members), state.bank
    if bank is not None and data is not None:
        raise UsageError(Fault("bad-argument", "evidence is a `bank` or `data`; found both", subject="data"))
    if bank is not None:
        fits_ensemble(bank, asking.classes, asking.task)
        if held is None or set(names) <= set(bank.members):
            return bank.only(names)
        return beside(held, bank.only([newcomer.name]), names)
    if data is None:
        return None
    rows, y = pair_of(data)
    known = held is not None and not set(held.ids).isdisjoint(rows.ids)
    if held is not None and known and not any(one.missing == "mask" for one in members):
        return beside(held, asked_bank(asking, [newcomer], rows, y, None, wanting(state.fitted, [newcomer])), names)
    features = None if view is None else view(rows)
    found = asked_bank(asking, members, rows, y, features, wanting(state.fitted, members))
    return on_rows_of(held, found) if held is not None and known else found


def asked_bank(
    asking: Asking, members: Sequence[Member], rows: Rows, y: Any, view: Array | None = None, embed: Sequence[str] = ()
) -> Bank:
    """What members say of rows with right answers. One that fails is never passed over: evidence must be whole."""
    return gather(
        members, rows, asking.classes, asking.task, truth=y, features=view, embed=embed, time_limit=asking.time_limit
    )


def empty_bank(members: Sequence[Member], classes: Sequence[Label], task: Task) -> Bank:
    """A bank of members without rows, which are not asked for it."""
    width = len(classes) if task == "classification" else 1
    how: Provenance = "hold-out"
    return Bank(
        task=task,
        members=tuple(member.name for member in members),
        classes=tuple(classes),
        P=np.zeros((len(members), 0, width)),
        mask=np.zeros((len(members), 0), bool),
        ids=(),
        truth=None,
        provenance=tuple(how for _ in members),
        probable=tuple(member.output not in ("scores", "embeddings") for member in members),
    )


def pair_of(data: Any) -> tuple[Rows, Any]:
    """Rows and right answers.

    Raises:
        UsageError: it is no pair.
    """
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise UsageError(
            Fault("bad-argument", "`data` must be a pair (X, y) of rows and right answers", subject="data")
        )
    return rows_of(data[0]), data[1]


def fits_ensemble(bank: Bank, classes: Sequence[Label], task: Task) -> None:
    """Refuse a bank of another task, or of other classes.

    Raises:
        InputError: `rows-differ`, `class-mismatch`.
    """
    if bank.task != task:
        message = f"the bank should be of a {task}; it is of a {bank.task}"
        raise InputError(Fault("class-mismatch", message, subject="bank"))
    if bank.classes != tuple(classes):
        message = f"the bank should have the classes {list(classes)} in this order; it has {list(bank.classes)}"
        raise InputError(
            Fault("class-mismatch", message, subject="bank", hint="make it with this ensemble's `predictions`")
        )


def beside(held: Bank, found: Bank, names: Sequence[str]) -> Bank:
    """Two banks of different members as one of the rows of the first, members in the order of `names`.

    Args:
        held: the bank there was.
        found: a bank of members that join or are replaced, on its rows at least.
        names: all members.

    Raises:
        InputError: `rows-differ`: rows of `held` are lacking in `found`, or the right answers differ.
    """
    part = on_rows_of(held, found)
    kept = held.only([name for name in names if name in held.members and name not in part.members])
    return kept.with_members(part).only(names)


def on_rows_of(held: Bank, found: Bank) -> Bank:
    """A bank on the rows of another, in its order; errors as for `beside`."""
    part = found.rows(placed_rows(held, found))
    _same_truth(held, part)
    return part


def placed_rows(held: Bank, found: Bank) -> Array:
    """Where the rows of one bank stand in another, `[N]`.

    Raises:
        InputError: `rows-differ`.
    """
    places = {name: number for number, name in enumerate(found.ids)}
    lacking = [name for name in held.ids if name not in places]
    if lacking:
        message = (
            f"evidence must be of the {len(held):,} rows that the combiner was fitted on, or of new rows only; "
            f"{len(lacking):,} of them are lacking, such as {listed(map(repr, lacking[:3]))}"
        )
        hint = "rows are known by their ids: give the same rows, or `rows_of(X, ids=...)` with ids of their own"
        raise InputError(Fault("rows-differ", message, subject="ids", hint=hint))
    return np.array([places[name] for name in held.ids], dtype=np.int64)


def _same_truth(held: Bank, part: Bank) -> None:
    if held.truth is None or part.truth is None or np.array_equal(held.truth, part.truth):
        return
    differ = np.flatnonzero(held.truth != part.truth)
    row = held.ids[int(differ[0])]
    message = (
        f"the right answers should be those of the bank; they differ in {len(differ):,} rows, first in row {row!r}"
    )
    hint = "rows are known by their ids: new rows need ids of their own, `rows_of(X, ids=...)`"
    raise InputError(Fault("rows-differ", message, subject="y", hint=hint))


def below(older: Bank, newer: Bank) -> Bank:
    """The rows of a bank followed by those of another with the same members; what only one of them has is left out.

    Raises:
        InputError: `rows-differ`: a row is in both; `missing-label`: one has no right answers.
    """
    first, second = older, newer.only(older.members)
    widths = [None if one.features is None else one.features.shape[1] for one in (first, second)]
    if widths[0] != widths[1]:
        first, second = replace(first, features=None), replace(second, features=None)
    shared = first.embeddings.keys() & second.embeddings.keys()
    first, second = (
        replace(one, embeddings={name: one.embeddings[name] for name in sorted(shared)}) for one in (first, second)
    )
    return first.with_rows(second)
