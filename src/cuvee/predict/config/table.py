"""A data file as what an ensemble needs: columns, right answers, ids, groups and the part that each row is of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from cuvee.combine import Array
from cuvee.data.tables import Entry, absent_columns, place_in, read_table
from cuvee.errors import Fault, InputError, listed
from cuvee.predict.rows import Rows, rows_of
from cuvee.predict.trained import Label

PARTS: Final[Mapping[str, str]] = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "hold-out": "validation",
    "holdout": "validation",
    "test": "test",
}
"""What a `split` column may say, and what it means."""
_MOST: Final = 20


@dataclass(frozen=True)
class Roles:
    """Which columns are no features.

    Attributes:
        label: right answers; `None` where none are needed.
        id: names of rows.
        split: `train`, `validation` or `test`.
        group: groups that no fold may divide.
        time: what rows are ordered by.
    """

    label: str | None = None
    id: str | None = None
    split: str | None = None
    group: str | None = None
    time: str | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The columns."""
        return tuple(one for one in (self.label, self.id, self.split, self.group, self.time) if one is not None)

    def without(self, columns: Collection[str]) -> Roles:
        """The roles that none of these columns has."""
        return Roles(**{key: None if value in columns else value for key, value in asdict(self).items()})


@dataclass(frozen=True, eq=False)
class Table:
    """A data file.

    Attributes:
        path: the file.
        rows: its columns; those of numbers are float64 with NaN for empty cells, all others lists.
        y: right answers in the order of rows; `None` without a column of them.
        parts: `train`, `validation` or `test` for each row; `None` without a column of them.
        groups: the group of each row; `None` likewise.
        features: columns that are neither labels nor names of something.
        label: the column of right answers.
    """

    path: Path
    rows: Rows
    y: list[Any] | None = None
    parts: tuple[str, ...] | None = None
    groups: tuple[Any, ...] | None = None
    features: tuple[str, ...] = ()
    label: str | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Features that are numbers."""
        return tuple(name for name in self.features if hasattr(self.rows.data[name], "dtype"))

    @property
    def texts(self) -> tuple[str, ...]:
        """Features that are texts or something else."""
        return tuple(name for name in self.features if name not in self.numbers)

    def take(self, at: Sequence[int] | Array) -> Table:
        """Some of the rows, in that order."""
        where = [int(number) for number in at]
        return replace(
            self,
            rows=self.rows.take(where),
            y=None if self.y is None else [self.y[i] for i in where],
            parts=None if self.parts is None else tuple(self.parts[i] for i in where),
            groups=None if self.groups is None else tuple(self.groups[i] for i in where),
        )

    def part(self, name: str) -> Table:
        """The rows of a part."""
        assert self.parts is not None
        return self.take([number for number, one in enumerate(self.parts) if one == name])


def table_of(
    path: Path,
    roles: Roles,
    *,
    classes: Sequence[Label] | None = None,
    task: str | None = None,
    optional: Collection[str] = (),
) -> Table:
    """Read a data file.

    Args:
        path: JSON lines, CSV, TSV or Parquet.
        roles: what its columns are.
        classes: the labels; right answers are read as what they are, texts or numbers.
        task: `regression`: right answers must be numbers.
        optional: columns of `roles` that the file may lack: then nothing has that role.

    Raises:
        UsageError: `missing-extra`: Parquet is read by pyarrow, which is not installed.
        InputError: `data-missing`; `bad-data`: every row that is wrong, columns that there are not; `rows-differ`: ids
            that repeat.
    """
    entries = read_table(path)
    roles = roles.without([name for name in optional if not any(name in entry.values for entry in entries)])
    if faults := absent_columns(path, entries, roles.named):
        raise InputError(faults)
    faults = [*_label_faults(path, entries, roles, task), *_part_faults(path, entries, roles)]
    if faults:
        raise InputError(faults[:_MOST])
    if roles.time is not None:
        entries = _in_time(entries, roles.time, path)
    names = list(dict.fromkeys(name for entry in entries for name in entry.values))
    ids = _ids(entries, roles) if roles.id is None else [entry.values.get(roles.id) for entry in entries]
    columns = {name: column_of([entry.values.get(name) for entry in entries]) for name in names}
    return Table(
        path,
        rows_of(columns, ids),
        None if roles.label is None else _labels(entries, roles.label, classes, task),
        None if roles.split is None else tuple(PARTS[str(entry.values[roles.split])] for entry in entries),
        None if roles.group is None else tuple(entry.values.get(roles.group) for entry in entries),
        tuple(name for name in names if name not in roles.named),
        roles.label,
    )


def column_of(values: Sequence[Any]) -> Any:
    """A column: float64 where every cell is a number or empty, else the values with `None` for empty ones.

    Example:
        >>> column_of(["1", "", "2.5"]).tolist(), column_of(["a", ""])
        ([1.0, nan, 2.5], ['a', None])
    """
    cells = [None if value == "" else value for value in values]
    numbers = [_number(value) for value in cells]
    if all(one is not None for one in numbers):
        return np.array(numbers, np.float64)
    return cells


def _ids(entries: Sequence[Entry], roles: Roles) -> list[str]:
    """A name for each row made of what it holds besides the right answer, so that a row is known again anywhere."""
    seen: dict[str, int] = {}
    made = []
    for entry in entries:
        told = sorted((name, str(value)) for name, value in entry.values.items() if name != roles.label)
        name = hashlib.blake2b(json.dumps(told, ensure_ascii=False).encode(), digest_size=8).hexdigest()
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return made


def _number(value: Any) -> float | None:
    """A number, NaN for an empty cell, `None` for anything else."""
    if value is None:
        return float("nan")
    if isinstance(value, bool | int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and value != value)


def _label_faults(path: Path, entries: Sequence[Entry], roles: Roles, task: str | None) -> Iterator[Fault]:
    if roles.label is None:
        return
    for entry in entries:
        value = entry.values.get(roles.label)
        number = _number(value)
        if _is_empty(value):
            message = f"{path}: `{roles.label}` should have a right answer; it is empty"
            yield Fault("missing-label", message, place_in(path, entry.number), roles.label)
        elif task == "regression" and (number is None or not np.isfinite(number)):
            message = f"{path}: `{roles.label}` should be a finite number; found {value!r:.60}"
            yield Fault("bad-data", message, place_in(path, entry.number), roles.label)


def _part_faults(path: Path, entries: Sequence[Entry], roles: Roles) -> Iterator[Fault]:
    for entry in entries if roles.split is not None else ():
        value = entry.values.get(str(roles.split))
        if str(value) not in PARTS:
            known = listed(dict.fromkeys(PARTS.values()))
            message = f"{path}: `{roles.split}` should be {known}; found {value!r:.60}"
            yield Fault("bad-data", message, place_in(path, entry.number), roles.split)


def _in_time(entries: Sequence[Entry], column: str, path: Path) -> tuple[Entry, ...]:
    """The rows in the order of a column of numbers, or of texts such as dates of ISO 8601."""
    values = column_of([entry.values.get(column) for entry in entries])
    if any(_is_empty(value) for value in values):
        message = f"{path}: `{column}` should have a time in every row; some are empty"
        raise InputError(Fault("bad-data", message, subject=column))
    keys = values.tolist() if hasattr(values, "tolist") else [str(value) for value in values]
    return tuple(entries[i] for i in sorted(range(len(entries)), key=lambda i: keys[i]))


def _labels(entries: Sequence[Entry], column: str, classes: Sequence[Label] | None, task: str | None) -> list[Any]:
    """Right answers; texts of whole numbers are numbers where the classes are, or none are named."""
    values = [entry.values[column] for entry in entries]
    if task == "regression":
        return [float(value) for value in values]
    texts = classes is not None and any(isinstance(label, str) for label in classes)
    numbers = [_number(value) for value in values]
    if not texts and all(one is not None and one == int(one) for one in numbers if one is None or np.isfinite(one)):
        return [value if isinstance(value, bool) else int(float(value)) for value in values]
    return [str(value) if texts else value for value in values]
