"""Requests and answers as JSON."""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from cuvee.checkpoint.strict_json import parse_json
from cuvee.errors import CuveeError, Fault, InputError, UsageError, listed
from cuvee.predict import Rows, rows_of
from cuvee.serving.limits import Limits

_STATUS: Final = {
    "too-large": 413,
    "busy": 429,
    "not-allowed": 403,
    "unknown-member": 404,
    "duplicate-member": 409,
    "member-failed": 500,
    "bad-output": 500,
}
_OTHERWISE: Final = 422
_SHORTEST: Final = 16
_KINDS: Final = {"array": "arrays of numbers", "columns": "objects", "frame": "objects", "items": "texts"}
_NUMBERS: Final = (int, float, bool, type(None))


def status_of(error: CuveeError) -> int:
    """The HTTP status that an error is told with."""
    return _STATUS.get(error.code, _OTHERWISE)


def said_of(error: CuveeError) -> dict[str, Any]:
    """An error as JSON: every fault with its code, message, hint, and what it is about."""
    return {
        "faults": [
            {"code": one.code, "message": one.message, "hint": one.hint, "subject": one.subject} for one in error.faults
        ]
    }


def as_json(said: Any) -> bytes:
    """JSON in UTF-8 without blanks.

    Raises:
        ValueError: it holds a number that JSON has no word for.
    """
    return json.dumps(said, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


def token_faults(token: str, where: str = "the token") -> list[Fault]:
    """Why a text is no token: it could be guessed, or a header cannot hold it.

    Args:
        token: the text.
        where: what it is called in messages.
    """
    if len(token) < _SHORTEST:
        message = f"a token has at least {_SHORTEST} characters, so that it cannot be guessed; {where} has {len(token)}"
    elif not (token.isascii() and token.isprintable()) or token != token.strip():
        message = f"a token is of printable characters of ASCII, as headers are; {where} has others, or outer blanks"
    else:
        return []
    return [Fault("bad-data", message, None, "token", "python -c 'import secrets; print(secrets.token_urlsafe())'")]


def body_of(raw: bytes, keys: Sequence[str], needed: Sequence[str] = ()) -> dict[str, Any]:
    """The object of a request.

    Args:
        raw: its body.
        keys: what it may hold.
        needed: what it must hold.

    Raises:
        InputError: `bad-data`: it is no such object; all faults.
    """
    try:
        said, twice = parse_json(raw, parse_constant=_no_number)
    except ValueError as error:
        raise InputError(Fault("bad-data", f"the body should be JSON; {error}")) from None
    if not isinstance(said, dict):
        message = f'the body should be an object such as {{"rows": [...]}}; found a {type(said).__name__}'
        raise InputError(Fault("bad-data", message))
    faults = [Fault("bad-data", f"the key {key!r:.60} stands twice", subject=key[:60]) for key in twice[:20]]
    strange = sorted(said.keys() - set(keys))[:20]
    faults += [Fault("bad-data", f"the key {key!r:.60} is unknown; known: {', '.join(keys)}") for key in strange]
    faults += [Fault("bad-data", f"the key {key!r} is missing", subject=key) for key in needed if key not in said]
    if faults:
        raise InputError(faults)
    return said


def rows_from(said: Any, limits: Limits) -> Rows:
    """Rows of a request: objects become columns, arrays of numbers a matrix, texts stay texts.

    Raises:
        InputError: `too-large`: too many; `bad-data`: they are none, or of several kinds.
    """
    if not isinstance(said, list):
        raise InputError(Fault("bad-data", f"`rows` should be a list; found a {type(said).__name__}", subject="rows"))
    if len(said) > limits.max_rows:
        message = f"a request has at most {limits.max_rows:,} rows; found {len(said):,}"
        raise InputError(Fault("too-large", message, subject="rows", hint="send them in several requests"))
    if not said:
        raise InputError(Fault("bad-data", "`rows` should hold a row; found none", subject="rows"))
    kinds = {type(one) for one in said}
    if kinds == {dict}:
        return rows_of(_columns(said))
    if kinds == {str}:
        return rows_of(said)
    if kinds == {list}:
        return rows_of(_matrix(said))
    found = ", ".join(sorted(kind.__name__ for kind in kinds))
    message = f"rows should all be objects, all arrays of numbers, or all texts; found {found}"
    raise InputError(Fault("bad-data", message, subject="rows"))


def unlike(rows: Rows, known: Rows | None) -> Fault | None:
    """In what rows differ from rows that the members are known to read; `None` where nothing is known to.

    Args:
        rows: of a request.
        known: rows that were answered, such as those that the ensemble was saved with.
    """
    if known is None:
        return None
    if (wanted := _KINDS[known.form]) != (kind := _KINDS[rows.form]):
        message = f"rows should be {wanted}; found {kind}"
    elif known.form == "array" and (wide := list(known.data.shape[1:])) != list(rows.data.shape[1:]):
        message = f"rows should have the shape {wide}; found {list(rows.data.shape[1:])}"
    elif lacking := [name for name in known.columns if name not in rows.columns]:
        message = f"rows should have the keys {', '.join(known.columns)}; there is no {listed(lacking, 5)}"
    else:
        return None
    return Fault("bad-data", message, subject="rows")


def labels_as_json(labels: Any) -> list[Any]:
    """Labels, or values, as JSON can say them."""
    return np.asarray(labels, dtype=object).tolist() if isinstance(labels, np.ndarray) else list(labels)


def is_token(given: str | None, token: str) -> bool:
    """Whether an `Authorization` header bears the token; takes as long for a near miss as for a far one."""
    scheme, _, found = (given or "").partition(" ")
    is_same = hmac.compare_digest(found.strip().encode("utf-8", "replace"), token.encode("utf-8"))
    return is_same and scheme.lower() == "bearer"


def not_allowed(why: str, hint: str | None = None) -> UsageError:
    """The refusal of a change."""
    return UsageError(Fault("not-allowed", why, hint=hint))


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns: dict[str, Any] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        is_number = all(type(one) in (int, float) for one in values)
        columns[name] = _finite(np.array(values, dtype=np.float64)) if is_number else values
    return columns


def _matrix(rows: list[Any]) -> Any:
    try:
        found = np.array(rows)
        if found.dtype.kind not in "iufb" and not all(type(one) in _NUMBERS for one in found.flat):
            raise TypeError("texts would be read as numbers")
        return _finite(found.astype(np.float64))
    except (ValueError, TypeError, OverflowError):
        lengths = sorted({len(row) for row in rows})
        message = f"rows that are arrays should hold numbers, and be of one shape; their lengths are {lengths[:10]}"
        raise InputError(Fault("bad-data", message, subject="rows")) from None


def _finite(found: Any) -> Any:
    if np.isinf(found).any():
        raise InputError(Fault("bad-data", "rows should hold numbers below 1.8e308; one is larger", subject="rows"))
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON; a number that is lacking is null")
