"""Banks put together: more members on the same rows, more rows of the same members; aligned by name, never by place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, listed
from cuvee.predict.bank_checks import check_bank

if TYPE_CHECKING:
    from cuvee.predict.bank import Bank


def with_members(bank: Bank, other: Bank) -> Bank:
    """The members of both on rows that both have; see `Bank.with_members`."""
    check_bank(bank)
    check_bank(other)
    faults = [*_task_faults(bank, other), *_row_faults(bank.ids, other.ids)]
    faults += [
        Fault("duplicate-member", f"both banks have a member {name!r}", None, name, "leave it out of one: `without`")
        for name in other.members
        if name in bank.members
    ]
    if faults:
        raise InputError(faults)
    aligned = in_classes(other.rows(places(bank.ids, other.ids)), bank.classes)
    return replace(
        bank,
        members=(*bank.members, *aligned.members),
        P=np.concatenate([bank.P, aligned.P]),
        mask=np.concatenate([bank.mask, aligned.mask]),
        truth=_one_truth(bank, aligned),
        provenance=(*bank.provenance, *aligned.provenance),
        probable=_probable(bank) + _probable(aligned),
        embeddings={**bank.embeddings, **aligned.embeddings},
        features=aligned.features if bank.features is None else bank.features,
        notes=_notes(bank, aligned),
    )


def with_rows(bank: Bank, other: Bank) -> Bank:
    """The rows of both, of members that both have; see `Bank.with_rows`."""
    bank, other = _widened(bank, other), _widened(other, bank)
    check_bank(bank)
    check_bank(other)
    if faults := [*_task_faults(bank, other), *_member_faults(bank, other), *_id_faults(bank, other)]:
        raise InputError(faults)
    aligned = in_classes(other.only(bank.members), bank.classes)
    if faults := list(_part_faults(bank, aligned)):
        raise InputError(faults)
    return replace(
        bank,
        P=np.concatenate([bank.P, aligned.P], axis=1),
        mask=np.concatenate([bank.mask, aligned.mask], axis=1),
        ids=(*bank.ids, *aligned.ids),
        truth=_after(bank.truth, aligned.truth),
        provenance=tuple(map(_weaker, bank.provenance, aligned.provenance)),
        probable=_probable(bank),
        embeddings={
            name: np.concatenate([bank.embeddings[name], aligned.embeddings[name]]) for name in bank.embeddings
        },
        features=_after(bank.features, aligned.features),
        notes=(*_notes(bank, aligned), *_mixed(bank, aligned)),
    )


def _widened(bank: Bank, other: Bank) -> Bank:
    """The bank with embeddings as wide as those of another: of rows that all lack something they have no width."""
    lacking = {
        name: np.full((len(bank), other.embeddings[name].shape[1]), np.nan)
        for name, found in bank.embeddings.items()
        if found.shape[1] == 0 and name in other.embeddings
    }
    return replace(bank, embeddings={**bank.embeddings, **lacking})


def in_classes(bank: Bank, classes: Sequence[Any]) -> Bank:
    """The bank with its classes in another order."""
    if tuple(bank.classes) == tuple(classes):
        return bank
    order = [bank.classes.index(label) for label in classes]
    truth = None if bank.truth is None else np.argsort(order)[bank.truth]
    return replace(bank, classes=tuple(classes), P=bank.P[:, :, order], truth=truth)


def places(wanted: Sequence[str], found: Sequence[str]) -> Array:
    """Where each id that is wanted stands."""
    at = {name: place for place, name in enumerate(found)}
    return np.array([at[name] for name in wanted], dtype=np.int64)


def checked_ids(bank: Bank, ids: Sequence[Any]) -> tuple[str, ...]:
    """Ids that name each row of a bank once, in any order.

    Raises:
        InputError: `rows-differ`.
    """
    names = tuple(map(str, ids))
    faults = _row_faults(bank.ids, names)
    if not faults and len(names) != len(bank.ids):
        twice, _ = Counter(names).most_common(1)[0]
        faults = [Fault("rows-differ", f"ids of rows must differ; {twice!r} stands twice", subject="ids")]
    if faults:
        raise InputError(faults)
    return names


def _task_faults(bank: Bank, other: Bank) -> list[Fault]:
    if bank.task != other.task:
        message = f"banks must be of one task; the first is of {bank.task}, the other of {other.task}"
        return [Fault("wrong-member", message)]
    lacking = [repr(label) for label in bank.classes if label not in other.classes]
    foreign = [repr(label) for label in other.classes if label not in bank.classes]
    if not lacking and not foreign:
        return []
    found = "; ".join(f"{word} {listed(of, 5)}" for word, of in (("lacks", lacking), ("has besides", foreign)) if of)
    return [Fault("class-mismatch", f"banks must have the same classes; the other {found}")]


def _row_faults(ids: Sequence[str], others: Sequence[str]) -> list[Fault]:
    """What is wrong where both should have the same rows, in any order."""
    own, given = set(ids), set(others)
    lacking = [repr(name) for name in ids if name not in given]
    foreign = [repr(name) for name in others if name not in own]
    if not lacking and not foreign:
        return []
    parts = [
        f"{len(names):,} {word} ({listed(names, 5)})"
        for names, word in ((lacking, "lacking"), (foreign, "foreign"))
        if names
    ]
    hint = "give the rows of the bank, by their ids, or take the rows that both have: `rows`"
    return [
        Fault("rows-differ", f"rows must be those of the bank; of the ids {' and '.join(parts)}", None, "ids", hint)
    ]


def _member_faults(bank: Bank, other: Bank) -> list[Fault]:
    lacking = [name for name in bank.members if name not in other.members]
    foreign = [name for name in other.members if name not in bank.members]
    what = (("lacks", lacking), ("has", foreign))
    return [
        Fault("unknown-member", f"rows must be of the same members; the other bank {word} {name!r}", subject=name)
        for word, names in what
        for name in names
    ]


def _id_faults(bank: Bank, other: Bank) -> list[Fault]:
    own = set(bank.ids)
    twice = [repr(name) for name in other.ids if name in own]
    message = f"rows that are added must be new; {len(twice):,} are there already ({listed(twice, 5)})"
    return [Fault("rows-differ", message, subject="ids")] if twice else []


def _part_faults(bank: Bank, other: Bank) -> list[Fault]:
    """Parts that only one of them has, or has in another width: the rows would be whole in one half only."""
    own, given = _parts(bank), _parts(other)
    unlike = [what for what in {**own, **given} if own.get(what) != given.get(what)]
    return [
        Fault(
            "missing-label" if what == "truth" else "bad-bank",
            f"both banks must have the same parts; `{what}`: {_said(own.get(what))} in the first, "
            f"{_said(given.get(what))} in the other",
            subject=what,
        )
        for what in unlike
    ]


def _parts(bank: Bank) -> dict[str, object]:
    found: dict[str, object] = {"truth": None if bank.truth is None else "there", "probable": _probable(bank)}
    found["features"] = None if bank.features is None else f"[N, {bank.features.shape[1]}]"
    return {**found, **{f"embeddings of {n}": f"[N, {of.shape[1]}]" for n, of in bank.embeddings.items()}}


def _said(part: object) -> object:
    return "lacking" if part is None else part


def _one_truth(bank: Bank, other: Bank) -> Array | None:
    """The truth of either, which must be the same where both have one.

    Raises:
        InputError: `rows-differ`.
    """
    if bank.truth is None or other.truth is None:
        return other.truth if bank.truth is None else bank.truth
    unlike = np.flatnonzero(bank.truth != other.truth)
    if len(unlike):
        rows = listed((repr(bank.ids[i]) for i in unlike), 3)
        message = f"both banks must have the same right answers; {len(unlike):,} differ (rows {rows})"
        raise InputError(Fault("rows-differ", message, subject="truth", hint="they are of two versions of the data"))
    return bank.truth


def _probable(bank: Bank) -> tuple[bool, ...]:
    return bank.probable or (bank.task == "classification",) * len(bank.members)


def _after(first: Array | None, second: Array | None) -> Array | None:
    return None if first is None or second is None else np.concatenate([first, second])


def _notes(bank: Bank, other: Bank) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*bank.notes, *other.notes)))


_TRUST: Mapping[str, int] = {"hold-out": 2, "out-of-fold": 1, "in-sample": 0}


def _weaker(one: Any, two: Any) -> Any:
    return min(one, two, key=lambda how: _TRUST[how])


def _mixed(bank: Bank, other: Bank) -> list[str]:
    """What a reader should know of members whose rows came about in two ways."""
    return [
        f"{name}: {len(bank):,} rows are {one}, {len(other):,} more {two}; all count as {_weaker(one, two)}"
        for name, one, two in zip(bank.members, bank.provenance, other.provenance)
        if one != two
    ]
