"""Raw answers of a member checked, at every call: right rows, right columns, finite, and what they are said to be.

Probabilities that are right cost one look: their smallest, and their sums. Only where that finds something odd is it
found out what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError
from cuvee.predict.labels import look_alike, named, shown
from cuvee.predict.trained import Output, Trained

SUM_TOLERANCE: Final = 1e-3
"""How far from one the probabilities of a row may sum to; they are divided by their sum."""
_EXACT: Final = 1e-9
"""Sums as near to one as this are left as they are, to the last bit; sums in float32 are not."""
_BELOW: Final = 1e-6
"""How far below zero rounding may bring a probability; it is made zero."""

Ids = Sequence[str]


def checked(member: Trained, found: Any, ids: Ids) -> Array:
    """The answers of a member, as an ensemble can use them.

    Args:
        member: whose they are.
        found: as it gave them.
        ids: names of the rows that it was asked about.

    Returns:
        float64: `[n, own columns]` of probabilities (of logits those that softmax makes of them, of labels 0 and 1) or
        of scores; `[n, 1]` of values; `[n, D]` of embeddings.

    Raises:
        InputError: `bad-output`, with the member's name, the first bad row and what was seen.
    """
    return _CHECKS[member.output](member, found, ids)


def _probabilities(member: Trained, found: Any, ids: Ids) -> Array:
    table = _table(member, found, ids)
    sums = table @ np.ones(table.shape[1])
    if len(table) and not (table.min() >= 0 and np.abs(sums - 1).max() <= _EXACT):
        return _mended(member, table, sums, ids)
    return table


def _mended(member: Trained, table: Array, sums: Array, ids: Ids) -> Array:
    """Probabilities within the tolerances made right; others refused."""
    _refuse_unfinished(member, table, ids)
    strange = (table < -_BELOW) | (table > 1 + SUM_TOLERANCE)
    if strange.any():
        row, column = np.argwhere(strange)[0]
        is_negative = table[row, column] < 0 and abs(sums[row] - 1) <= SUM_TOLERANCE
        looks = "one is negative" if is_negative else "these look like logits or scores"
        hint = (
            None if is_negative else 'if they are logits, say so: `output="logits"`; `"scores"` are ranked or stacked'
        )
        seen = f"{table[row, column]:.6g} for {member.classes[column]!r} in {_row(table[row])}"
        raise _refused(member, ids[row], f"probabilities lie in 0 … 1, and {looks}; found {seen}", hint)
    off = np.abs(sums - 1) > SUM_TOLERANCE
    if off.any():
        row = int(np.flatnonzero(off)[0])
        many = f" ({int(off.sum()):,} such rows)" if off.sum() > 1 else ""
        hint = 'give `output="logits"` or `output="scores"` if they are no probabilities'
        seen = f"probabilities of a row sum to one; found {_row(table[row])}, which sums to {sums[row]:.6g}{many}"
        raise _refused(member, ids[row], seen, hint)
    table = np.maximum(table, 0.0)
    sums = table.sum(axis=1, keepdims=True)
    return np.divide(table, sums, out=table, where=np.abs(sums - 1) > _EXACT)


def _logits(member: Trained, found: Any, ids: Ids) -> Array:
    """Softmax of the logits; two classes may come as one column, which is softmax of (0, z)."""
    table = _table(member, found, ids, single=lambda z: np.stack([np.zeros_like(z), z], axis=1))
    _refuse_unfinished(member, table, ids)
    shifted = np.exp(table - table.max(axis=1, keepdims=True)) if len(table) else table
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _scores(member: Trained, found: Any, ids: Ids) -> Array:
    """Scores as they are; one column for two classes, as of a decision function, speaks for the second."""
    table = _table(member, found, ids, single=lambda z: np.stack([-z, z], axis=1))
    _refuse_unfinished(member, table, ids)
    return table


def _labels(member: Trained, found: Any, ids: Ids) -> Array:
    """1 for the class that it names, 0 for the others."""
    # a list of texts and numbers would become an array of texts
    given = np.asarray(found, dtype=object if isinstance(found, list | tuple) else None)
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.ndim == 2:
        message = f"a label for each row is wanted; found the shape {list(given.shape)}, several labels to a row"
        raise _refused(member, None, message, "members that give a row several labels cannot be combined here")
    _refuse_length(member, given, ids)
    places = {label: place for place, label in enumerate(member.classes)}
    labels = given.tolist()
    try:
        numbers = np.array([places[label] for label in labels], dtype=np.int64)
    except (KeyError, TypeError):
        row = next(i for i, label in enumerate(labels) if not _is_known(label, places))
        alike = look_alike(labels[row], member.classes)
        hint = None if alike is None else f"its class is {alike!r}, of another type"
        message = f"found the label {named(labels[row])!r}, which is none of its classes {shown(member.classes)}"
        raise _refused(member, ids[row], message, hint) from None
    return np.eye(len(member.classes))[numbers]


def _is_known(label: Any, places: Mapping[Any, int]) -> bool:
    return label.__hash__ is not None and label in places


def _values(member: Trained, found: Any, ids: Ids) -> Array:
    values = _numbers(member, found)
    if values.ndim > 2 or (values.ndim == 2 and values.shape[1] != 1):
        message = f"a value for each row is wanted; found the shape {list(values.shape)}, several values to a row"
        raise _refused(member, None, message, "members with several outputs cannot be combined here")
    _refuse_length(member, values, ids)
    values = values.reshape(len(values), 1)
    _refuse_unfinished(member, values, ids)
    return values


def _embeddings(member: Trained, found: Any, ids: Ids) -> Array:
    return embedded(member, found, ids)


def embedded(member: Trained, found: Any, ids: Ids) -> Array:
    """Embeddings `[n, D]` that are finite; otherwise as `checked`."""
    values = _numbers(member, found)
    if values.ndim != 2:
        raise _refused(member, None, f"embeddings are [rows, D]; found the shape {list(values.shape)}")
    _refuse_length(member, values, ids)
    _refuse_unfinished(member, values, ids)
    return values


def _table(member: Trained, found: Any, ids: Ids, single: Callable[[Array], Array] | None = None) -> Array:
    """Numbers `[n, columns]`, a column for each of the member's classes.

    Args:
        member: whose they are.
        found: as it gave them.
        ids: names of the rows.
        single: what one column for two classes means; `None` where it must not be.
    """
    table, count = _numbers(member, found), len(member.classes)
    _refuse_length(member, table, ids)
    if table.ndim == 1 or (table.ndim == 2 and table.shape[1] == 1 and count == 2):
        if single is None or count != 2:
            hint = "give a column for each class, (1 − p, p) for two" if count == 2 else None
            message = f"{member.output} of {count} classes are [rows, {count}]; found the shape {list(table.shape)}"
            raise _refused(member, None, f"{message}, one number a row", hint)
        return single(table.reshape(-1))
    if table.ndim != 2 or table.shape[1] != count:
        message = f"a column for each of its {count} classes is wanted; found the shape {list(table.shape)}"
        raise _refused(member, None, message, f"its classes are {shown(member.classes)}")
    return table


def _numbers(member: Trained, found: Any) -> Array:
    """An array of float64, of whatever holds numbers."""
    given = found.detach().cpu() if hasattr(found, "detach") else found
    given = given.toarray() if hasattr(given, "toarray") else given
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        kind = type(found).__name__
        raise _refused(member, None, f"{member.output} must be numbers; found {kind}: {str(error)[:200]}") from error


def _refuse_length(member: Trained, found: Array, ids: Ids) -> None:
    if found.ndim == 0 or len(found) != len(ids):
        seen = f"{len(found):,}" if found.ndim else "a single one"
        raise _refused(
            member, None, f"it was asked about {len(ids):,} rows, and answers are wanted for each; found {seen}"
        )


def _refuse_unfinished(member: Trained, table: Array, ids: Ids) -> None:
    """Refuse NaN and infinity."""
    if np.isfinite(table).all():
        return
    wrong = ~np.isfinite(table).all(axis=1)
    row = int(np.flatnonzero(wrong)[0])
    many = f" ({int(wrong.sum()):,} such rows)" if wrong.sum() > 1 else ""
    raise _refused(member, ids[row], f"{member.output} must be finite; found {_row(table[row])}{many}")


def _row(values: Array) -> str:
    """The numbers of a row, shortened."""
    more = ", …" if len(values) > 6 else ""
    return f"[{', '.join(f'{value:.4g}' for value in values[:6])}{more}]"


def _refused(member: Trained, row: str | None, message: str, hint: str | None = None) -> InputError:
    where = "" if row is None else f", row {row}"
    return InputError(Fault("bad-output", f"the member {member.name!r}{where}: {message}", None, member.name, hint))


_CHECKS: Final[Mapping[Output, Callable[[Trained, Any, Ids], Array]]] = {
    "probabilities": _probabilities,
    "logits": _logits,
    "scores": _scores,
    "labels": _labels,
    "values": _values,
    "embeddings": _embeddings,
}
