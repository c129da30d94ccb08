"""The golden rows: a few rows with what the ensemble said of them when it was saved, asked again when it is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault
from cuvee.predict.rows import Rows, rows_of
from cuvee.predict.saving.arrays import can_be_stored, under, within
from cuvee.predict.saving.plain import plain, unplain

ROWS: Final = 8
TOLERANCE: Final = 1e-6
"""How far answers may lie from the golden ones where versions or machine differ, relative to the largest of them."""


@dataclass(frozen=True, eq=False)
class Golden:
    """What is kept of the golden rows: JSON and arrays."""

    said: dict[str, Any]
    arrays: dict[str, Array] = field(default_factory=dict)


def golden_of(rows: Rows | None) -> tuple[Golden, Rows | None]:
    """The first rows in a form that is safe to keep, and as they will be read; without them, why there are none."""
    if rows is None or not len(rows):
        return Golden({"skipped": "there were no rows: give `rows` to `save`"}), None
    first = rows.take(np.arange(min(ROWS, len(rows))))
    try:
        said, arrays = _told(first)
        again = rows_from(said, arrays)
    except (ValueError, TypeError, KeyError) as error:
        return Golden({"skipped": f"these rows cannot be kept safely: {error}"}), None
    return Golden({"rows": said}, under("rows", arrays)), again


def rows_from(said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Rows:
    """The rows again.

    Raises:
        ValueError, KeyError, TypeError: they are damaged.
    """
    form, ids = said["form"], [str(one) for one in said["ids"]]
    if form in ("array", "items"):
        return rows_of(_value_of(said["data"], arrays), ids)
    columns = {name: _value_of(one, arrays) for name, one in zip(said["names"], said["data"])}
    return rows_of(_frame_of(columns, said["dtypes"]) if form == "frame" else columns, ids)


Answers = Mapping[str, Array]
"""`answer`, what the ensemble says `[N, K]` or `[N]`, and `members`, what they say `[M, N, K]`."""


def answer_faults(said: Mapping[str, Any], kept: Answers, now: Answers, exact: bool) -> list[Fault]:
    """Where answers differ from the golden ones: of the ensemble, and of which members.

    Args:
        said: names of the members, in `members`.
        kept: answers as they were saved.
        now: as they are.
        exact: whether every bit must be the same.
    """
    pairs = [("the ensemble", kept["answer"], now["answer"])]
    pairs += [(f"the member {name!r}", kept["members"][i], now["members"][i]) for i, name in enumerate(said["members"])]
    return [_differs(who, one, other, exact) for who, one, other in pairs if not _same(one, other, exact)]


def _same(one: Array, other: Array, exact: bool) -> bool:
    if one.shape != other.shape:
        return False
    if exact:
        return bool(np.array_equal(one, other, equal_nan=True))
    size = _largest(one)
    return bool(np.allclose(one, other, rtol=0, atol=TOLERANCE * max(size, 1.0), equal_nan=True))


def _largest(values: Array) -> float:
    """The largest absolute value; masked ones, which are NaN, aside."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def _differs(who: str, one: Array, other: Array, exact: bool) -> Fault:
    if one.shape != other.shape:
        what = f"answers have the shape {list(other.shape)}, saved were {list(one.shape)}"
    else:
        what = f"answers differ by up to {_largest(one - other):.3g}"
    wanted = "exactly, on the same versions and machine" if exact else f"within {TOLERANCE:g}"
    message = f"{who} must answer the golden rows as it did when it was saved ({wanted}); its {what}"
    hint = "the files are those that were saved: look at the versions of the libraries, or at code outside the folder"
    return Fault("bad-ensemble", message, None, "golden", hint)


def _told(rows: Rows) -> tuple[dict[str, Any], dict[str, Array]]:
    said: dict[str, Any] = {"form": rows.form, "ids": list(rows.ids)}
    if rows.form in ("array", "items"):
        said["data"], arrays = _told_value(rows.data, "data")
        return said, arrays
    said["names"] = list(rows.columns)
    if rows.form == "frame":
        said["dtypes"] = [str(kind) for kind in rows.data.dtypes]
        columns = [_column(rows.data[name]) for name in rows.data.columns]
    else:
        columns = list(rows.data.values())
    found = [_told_value(column, f"column{i}") for i, column in enumerate(columns)]
    said["data"] = [one for one, _ in found]
    arrays = {name: array for _, more in found for name, array in more.items()}
    if rows.form == "frame" and not rows_from(said, arrays).data.reset_index(drop=True).equals(_reset(rows.data)):
        raise ValueError("the data frame has columns of a type that is not kept")
    return said, arrays


def _reset(frame: Any) -> Any:
    return frame.reset_index(drop=True)


def _column(column: Any) -> Any:
    values = column.to_numpy()
    return values if can_be_stored(values) else column.tolist()


def _told_value(value: Any, name: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """A matrix or a list of plain things: as an array, as several, or as JSON."""
    if isinstance(value, np.ndarray) and can_be_stored(value):
        return {"array": name}, {name: np.ascontiguousarray(value)}
    if isinstance(value, list) and value and all(isinstance(v, np.ndarray) and can_be_stored(v) for v in value):
        names = [f"{name}.{i}" for i in range(len(value))]
        return {"arrays": names}, dict(zip(names, map(np.ascontiguousarray, value)))
    if isinstance(value, np.ndarray) and value.dtype.kind in "UO":
        return {"texts": _json(value.tolist()), "dtype": value.dtype.str}, {}
    if isinstance(value, (list, tuple)):
        return {"list": _json(list(value))}, {}
    raise ValueError(f"they are a {type(value).__name__}")


def _value_of(said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Any:
    if "array" in said:
        return arrays[said["array"]]
    if "arrays" in said:
        return [arrays[name] for name in said["arrays"]]
    if "texts" in said:
        dtype = np.dtype(said["dtype"])
        if dtype.kind not in "UO":
            raise ValueError(f"texts of the type {dtype}")
        return np.array(unplain(said["texts"]), dtype=dtype)
    return unplain(said["list"])


def _json(value: list[Any]) -> Any:
    """A list as JSON can say it, if that gives the same again."""
    told = plain(value)
    back = unplain(json.loads(json.dumps(told)))
    if repr(back) != repr(value):  # equality knows no NaN, and takes 1 for 1.0 and True
        raise ValueError("some of them are no texts, numbers or lists")
    return told


def _frame_of(columns: Mapping[str, Any], dtypes: list[str]) -> Any:
    import pandas  # type: ignore[import-untyped]

    frame = pandas.DataFrame({name: pandas.Series(list(values)) for name, values in columns.items()})
    return frame.astype(dict(zip(columns, dtypes)))


def kept_answers(arrays: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Of the golden arrays, those of the rows and those of the answers."""
    return within(arrays, "rows"), {name: arrays[name] for name in ("answer", "members")}
