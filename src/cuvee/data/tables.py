"""Tables of named columns: JSON lines, CSV, TSV or Parquet, row by row, with the place of each."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from cuvee.data.rows import LINE, MOST_FAULTS, json_values
from cuvee.errors import Fault, InputError, Place, listed, nearest

TABLES: Final = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
"""Endings of files that are read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a table.

    Attributes:
        number: its line, from 1; of Parquet, which has none, its row.
        values: what its columns hold; an empty cell of a text table is the empty text.
    """

    number: int
    values: Mapping[str, Any]


def read_table(path: Path) -> tuple[Entry, ...]:
    """All rows of a file; empty lines are none.

    Args:
        path: `.jsonl` (or `.ndjson`), `.csv`, `.tsv` or `.parquet`.

    Raises:
        UsageError: `missing-extra`: Parquet is read by pyarrow, which is not installed.
        InputError: `data-missing`, or `bad-data` with every row that is wrong, up to 20 of them.
    """
    ending = path.suffix.lower()
    if ending not in TABLES:
        message = f"a table should end in {listed(TABLES, 9)}; found {path.name}"
        raise InputError(Fault("bad-data", message, subject=str(path)))
    if ending == ".parquet":
        from cuvee.data.parquet import read_parquet

        return _checked(path, (Entry(i, row) for i, row in enumerate(read_parquet(path), 1)), [])
    faults: list[Fault] = []
    reader: Callable[[TextIO, Path], Iterator[Entry | Fault]] = _objects if ending in (".jsonl", ".ndjson") else _cells
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _checked(path, reader(file, path), faults)
    except OSError as error:
        message = f"data should be at {path}; {error.strerror or error}"
        raise InputError(Fault("data-missing", message, subject=str(path), hint="check the path")) from error
    except UnicodeDecodeError as error:
        faults.append(Fault("bad-data", f"{path} should be UTF-8; {error.reason}", subject=str(path)))
    except csv.Error as error:
        faults.append(Fault("bad-data", f"{path} is no table: {error}", subject=str(path)))
    raise InputError(faults)


def place_in(path: Path, number: int) -> Place:
    """The place of a row, for an editor; of Parquet it is the row's number."""
    return Place(str(path), number, 1)


def absent_columns(path: Path, rows: Iterable[Entry], wanted: Sequence[str]) -> list[Fault]:
    """A fault for each column that no row has, with the nearest name there is."""
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    return [
        Fault(
            "bad-data",
            f"{path} should have a column `{column}`; it has {listed(map(repr, names), 8) or 'none'}",
            place_in(path, 1),
            column,
            nearest(column, names),
        )
        for column in wanted
        if column not in names
    ]


def _checked(path: Path, found: Iterable[Entry | Fault], faults: list[Fault]) -> tuple[Entry, ...]:
    """The rows, unless some are wrong or there are none."""
    rows: list[Entry] = []
    for one in found:
        if isinstance(one, Entry):
            rows.append(one)
        else:
            faults.append(one)
        if len(faults) >= MOST_FAULTS:
            break
    if not faults and not rows:
        faults.append(Fault("bad-data", f"{path} should hold rows; there is none in it", subject=str(path)))
    if faults:
        raise InputError(faults)
    return tuple(rows)


def _objects(file: TextIO, path: Path) -> Iterator[Entry | Fault]:
    for number, value, wrong in json_values(file):
        if wrong is not None:
            yield _bad(path, number, wrong)
        elif isinstance(value, dict):
            yield Entry(number, value)
        else:
            yield _bad(path, number, f"a line should be an object; found {type(value).__name__}")


def _cells(file: TextIO, path: Path) -> Iterator[Entry | Fault]:
    csv.field_size_limit(LINE)
    table = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", restkey="", strict=True)
    names = table.fieldnames or ()
    if len(set(names)) < len(names):
        yield _bad(path, 1, f"columns should have names of their own; found {listed(map(repr, names), 8)}")
        return
    for row in table:
        if "" in row or None in row.values():
            yield _bad(path, table.line_num, f"a row should have {len(names)} cells, as the first line has")
        else:
            yield Entry(table.line_num, row)


def _bad(path: Path, number: int, message: str) -> Fault:
    return Fault("bad-data", message, place_in(path, number), str(path))
