"""Whether the parts of a bank fit together: shapes, names, ids, numbers. Everything that is wrong is told at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cuvee.errors import Fault, InputError, listed

if TYPE_CHECKING:
    from cuvee.predict.bank import Bank

SUM_TOLERANCE: Final = 1e-3
"""How far the probabilities of a row may be from summing to one."""
PROVENANCE_WORDS: Final = ("out-of-fold", "hold-out", "in-sample")
_MOST: Final = 20


def bank_faults(bank: Bank) -> list[Fault]:
    """Everything that is wrong with a bank, the twenty first faults; nothing for a good one.

    What is wrong in its shape is told by itself, since without it the numbers cannot be looked at.
    """
    shape = [*_name_faults(bank), *_shape_faults(bank)]
    return (shape or list(_number_faults(bank)))[:_MOST]


def check_bank(bank: Bank) -> None:
    """Refuse a bank that nothing should be read off.

    Raises:
        InputError: `bad-bank`, `duplicate-member`, `rows-differ`, `bad-output` or `bad-data`, all faults.
    """
    if faults := bank_faults(bank):
        raise InputError(faults)


def label_faults(classes: Sequence[object]) -> Iterator[Fault]:
    """Labels that are no text, number or truth value, or the same as another; 1, 1.0 and True are the same."""
    plain = [label.item() if isinstance(label, np.generic) else label for label in classes]
    for label in plain:
        if type(label) not in (str, int, bool, float) or label != label or label in (float("inf"), float("-inf")):
            message = f"a class must be a text, an integer, a finite number or a truth value; found {label!r:.60}"
            yield Fault("bad-bank", message, subject=f"{label!s:.60}")
    hashable = [label for label in plain if isinstance(label, (str, int, float))]
    if len(set(hashable)) < len(hashable):
        twice = Counter(hashable).most_common(1)[0][0]
        yield Fault("bad-bank", f"classes must differ; {twice!r} stands twice", subject=f"{twice!s:.60}")


def _name_faults(bank: Bank) -> Iterator[Fault]:
    if bank.task not in ("classification", "regression"):
        yield _bad(f"its task must be classification or regression; found {bank.task!r:.60}")
    if bank.task == "regression" and bank.classes:
        yield _bad(f"a regression has no classes; found {listed(map(repr, bank.classes))}")
    if bank.task == "classification" and not bank.classes:
        yield _bad("a classification has classes; found none")
    yield from label_faults(bank.classes)
    unnamed: list[object] = [name for name in bank.members if not isinstance(name, str) or not name]
    if unnamed:
        yield _bad(f"names of members must be texts that are not empty; found {unnamed[0]!r:.60}")
    elif len(set(bank.members)) < len(bank.members):
        twice = Counter(bank.members).most_common(1)[0][0]
        yield Fault("duplicate-member", f"names of members must differ; {twice!r} stands twice", subject=twice)
    if wrong := [name for name in bank.ids if not isinstance(name, str)]:
        yield Fault("rows-differ", f"ids of rows must be texts; found {wrong[0]!r:.60}", subject="ids")
    elif len(set(bank.ids)) < len(bank.ids):
        twice = Counter(bank.ids).most_common(1)[0][0]
        yield Fault("rows-differ", f"ids of rows must differ; {twice!r} stands twice", subject="ids")
    for name, how in zip(bank.members, bank.provenance):
        if how not in PROVENANCE_WORDS:
            message = f"the provenance of {name!r} must be one of {listed(PROVENANCE_WORDS)}; found {how!r:.60}"
            yield _bad(message, str(name))


def _shape_faults(bank: Bank) -> Iterator[Fault]:
    M, N = len(bank.members), len(bank.ids)
    K = len(bank.classes) if bank.task == "classification" else 1
    yield from _array_faults("P", bank.P, (M, N, K), "f")
    yield from _array_faults("mask", bank.mask, (M, N), "b")
    if bank.truth is not None:
        yield from _array_faults("truth", bank.truth, (N,), "i" if bank.task == "classification" else "f")
    for what, found in (("provenance", bank.provenance), ("probable", bank.probable or bank.provenance)):
        if len(found) != M:
            yield _bad(f"there must be a `{what}` for each of {M} members; found {len(found)}", what)
    for name, array in bank.embeddings.items():
        if name not in bank.members:
            yield Fault("unknown-member", f"there are embeddings of {name!r}, which is no member", subject=str(name))
        yield from _array_faults(f"embeddings of {name}", array, (N, None), "f")
    if bank.features is not None:
        yield from _array_faults("features", bank.features, (N, None), "f")


def _array_faults(what: str, array: Any, wanted: tuple[int | None, ...], kind: str) -> Iterator[Fault]:
    words = {"f": "floating-point numbers", "b": "truth values", "i": "integers"}
    if not isinstance(array, np.ndarray) or array.dtype.kind != kind:
        found = getattr(array, "dtype", type(array).__name__)
        yield _bad(f"`{what}` must be an array of {words[kind]}; found {found}", what)
    elif array.ndim != len(wanted) or any(w not in (None, n) for w, n in zip(wanted, array.shape)):
        said = ", ".join("any" if n is None else f"{n:,}" for n in wanted)
        yield _bad(f"`{what}` must have the shape [{said}]; found {list(array.shape)}", what)


def _number_faults(bank: Bank) -> Iterator[Fault]:
    probable = bank.probable or (bank.task == "classification",) * len(bank.members)
    for name, P, mask, is_probable in zip(bank.members, bank.P, bank.mask, probable):
        finite = np.isfinite(P).all(axis=1)
        yield from _row_faults(bank, name, mask & ~finite, "must be finite where its mask says that it answered")
        if is_probable and bank.task == "classification":
            # what is not finite was told already
            low, sums = np.where(finite, P.min(axis=1), 0), np.where(finite, P.sum(axis=1), 1)
            bad = mask & ((low < 0) | (np.abs(sums - 1) > SUM_TOLERANCE))
            yield from _row_faults(bank, name, bad, "must be 0 or more and sum to 1")
    if bank.truth is not None:
        in_range = bank.task == "regression" or ((bank.truth >= 0) & (bank.truth < len(bank.classes)))
        bad = np.flatnonzero(~(np.isfinite(bank.truth) & in_range))
        if len(bad):
            what = f"the number of one of {len(bank.classes)} classes" if bank.classes else "finite"
            found = f"that of row {bank.ids[bad[0]]!r} is {bank.truth[bad[0]]} ({len(bad):,} such rows)"
            yield Fault("bad-data", f"a right answer must be {what}; {found}", subject="truth")
    for name, array in (*bank.embeddings.items(), ("features", bank.features)):
        if array is not None and np.isinf(array).any():
            yield _bad(f"`{name}` must hold no infinity", name)


def _row_faults(bank: Bank, name: str, bad: Any, rule: str) -> Iterator[Fault]:
    rows = np.flatnonzero(bad)
    if len(rows):
        found = f"row {bank.ids[rows[0]]!r} is {bank.P[bank.members.index(name), rows[0]].tolist()!s:.120}"
        message = f"what {name!r} says {rule}; {found} ({len(rows):,} such rows)"
        yield Fault("bad-output", message, subject=name)


def _bad(what: str, subject: str | None = None) -> Fault:
    return Fault("bad-bank", f"the parts of a bank must fit together: {what}", subject=subject)
