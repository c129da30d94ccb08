"""Calibration data: JSON lines, lines of text, or a column of a table."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from cuvee.errors import Fault, InputError, Place, listed, nearest

FORMS: Final = (".jsonl", ".ndjson", ".txt", ".csv", ".tsv")
"""Endings of files that are read."""

_LINE: Final = 50_000_000
"""Characters of one line: more is no text that a model is run on."""
_FAULTS: Final = 20
_HINT: Final = 'a line should be {"text": "…"} or {"input_ids": [1, 2, …]}, with or without "label"'


@dataclass(frozen=True, slots=True)
class Row:
    """One sample as the file has it: a text or tokens, and a label where there is one."""

    line: int
    text: str | None = None
    tokens: tuple[int, ...] | None = None
    label: int | str | None = None


def read_rows(path: Path, limit: int, column: str | None = None) -> tuple[Row, ...]:
    """The first samples of a file; empty lines are none.

    Args:
        path: `.jsonl` (or `.ndjson`), `.txt`, `.csv` or `.tsv`.
        limit: most samples; the rest of the file is not looked at.
        column: column of a table, or key of JSON lines, that holds the text; `text` if not given.

    Raises:
        InputError: `data-missing`, or `bad-data` with every line that is wrong.
    """
    read = _reader_of(path)
    rows: list[Row] = []
    faults: list[Fault] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for found in read(file, path, column or "text"):
                (rows if isinstance(found, Row) else faults).append(found)  # type: ignore[arg-type]
                if len(rows) >= limit or len(faults) >= _FAULTS:
                    break
    except OSError as error:
        raise InputError(_missing(path, error)) from error
    except UnicodeDecodeError as error:
        faults.append(Fault("bad-data", f"{path} should be UTF-8; {error.reason}", subject=str(path)))
    except csv.Error as error:
        faults.append(Fault("bad-data", f"{path} is no table: {error}", subject=str(path)))
    if not faults and not rows:
        faults.append(Fault("bad-data", f"{path} should hold samples; there is none in it", subject=str(path)))
    if faults:
        raise InputError(faults)
    return tuple(rows)


def _reader_of(path: Path) -> Callable[[TextIO, Path, str], Iterator[Row | Fault]]:
    ending = path.suffix.lower()
    if ending not in FORMS:
        message = f"calibration data should end in {listed(FORMS, 9)}; found {path.name}"
        raise InputError(Fault("bad-data", message, subject=str(path), hint=_HINT))
    return _text_lines if ending == ".txt" else _json_lines if ending in (".jsonl", ".ndjson") else _table


def _missing(path: Path, error: OSError) -> Fault:
    message = f"calibration data should be at {path}; {error.strerror or error}"
    return Fault("data-missing", message, subject=str(path), hint="check the path given as --data")


def _lines(file: TextIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(_LINE):
        number += 1
        if line.strip():
            yield number, line


def _text_lines(file: TextIO, _path: Path, _column: str) -> Iterator[Row | Fault]:
    for number, line in _lines(file):
        yield Row(number, text=line.strip("\r\n"))


def _json_lines(file: TextIO, path: Path, column: str) -> Iterator[Row | Fault]:
    for number, line in _lines(file):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield _bad(path, number, f"a line should be JSON; {str(error)[:200]}")
            continue
        yield _row(value, path, number, column)


def _row(value: Any, path: Path, number: int, column: str) -> Row | Fault:
    """A sample of a JSON object."""
    if not isinstance(value, dict) or (column in value) == ("input_ids" in value):
        keys = f"the keys {listed(map(repr, value))}" if isinstance(value, dict) else type(value).__name__
        return _bad(path, number, f"a line should be an object with either `{column}` or `input_ids`; found {keys}")
    label = value.get("label")
    if not (label is None or isinstance(label, str) or type(label) is int):
        return _bad(path, number, f"`label` should be a class's number or name; found {label!r:.60}")
    if "input_ids" in value:
        tokens = value["input_ids"]
        if not isinstance(tokens, list) or not tokens or not all(type(t) is int and t >= 0 for t in tokens):
            return _bad(path, number, f"`input_ids` should be a list of token numbers; found {tokens!r:.60}")
        return Row(number, tokens=tuple(tokens), label=label)
    return _texted(value[column], path, number, column, label)


def _texted(text: Any, path: Path, number: int, column: str, label: int | str | None) -> Row | Fault:
    if not isinstance(text, str) or not text.strip():
        return _bad(path, number, f"`{column}` should be a text that is not empty; found {text!r:.60}")
    return Row(number, text=text, label=label)


def _table(file: TextIO, path: Path, column: str) -> Iterator[Row | Fault]:
    csv.field_size_limit(_LINE)
    table = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    names = list(table.fieldnames or ())
    if column not in names:
        message = f"should have a column `{column}`; it has {listed(map(repr, names), 8) or 'none'}"
        yield Fault("bad-data", f"{path}: {message}", Place(str(path), 1, 1), column, nearest(column, names))
        return
    for entry in table:
        label: int | str | None = entry.get("label") or None
        if isinstance(label, str) and label.isascii() and label.isdigit() and len(label) < 10:
            label = int(label)
        yield _texted(entry[column], path, table.line_num, column, label)


def _bad(path: Path, number: int, what: str) -> Fault:
    return Fault("bad-data", what, Place(str(path), number, 1), str(path), _HINT)
