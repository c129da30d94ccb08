"""Data files: JSON lines, lines of text, or a column of a table."""

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
MOST_FAULTS: Final = 20
"""Lines told of; a file of another kind is wrong in every line."""

NO_TARGET: Final = -100
"""What `labels` say of a token that is not to be predicted, as transformers has it."""

LINE: Final = 50_000_000
"""Characters of one line: more is no text or row that a model is run on."""
_HINT: Final = 'a line should be {"text": "…"} or {"input_ids": [1, 2, …]}, with or without "label"'


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data file.

    Attributes:
        line: its number, from 1.
        text: a text to be tokenised, `None` where there are ids.
        ids: token ids.
        label: the class, as a number or by its name in the configuration.
        targets: for each of `ids`, the token to be predicted there or `NO_TARGET`; empty where nothing is said.
    """

    line: int
    text: str | None = None
    ids: tuple[int, ...] = ()
    label: int | str | None = None
    targets: tuple[int, ...] = ()


def read_rows(path: Path, limit: int | None = None, column: str | None = None) -> tuple[Row, ...]:
    """The first rows of a file; empty lines are none.

    Args:
        path: `.jsonl` (or `.ndjson`), `.txt`, `.csv` or `.tsv`.
        limit: most rows; the rest of the file is not looked at. All without it.
        column: column of a table, or key of JSON lines, that holds the text; `text` if not given.

    Raises:
        InputError: `data-missing`, or `bad-data` with every line that is wrong, up to 20 of them.
    """
    rows: list[Row] = []
    faults: list[Fault] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for found in _reader_of(path)(file, path, column or "text"):
                (rows if isinstance(found, Row) else faults).append(found)  # type: ignore[arg-type]
                if len(rows) == limit or len(faults) >= MOST_FAULTS:
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


def bad_row(path: Path, line: int, what: str) -> Fault:
    """What is wrong with a row, and where it stands."""
    return Fault("bad-data", what, Place(str(path), line, 1), str(path), _HINT)


def _reader_of(path: Path) -> Callable[[TextIO, Path, str], Iterator[Row | Fault]]:
    ending = path.suffix.lower()
    if ending not in FORMS:
        message = f"a data file should end in {listed(FORMS, 9)}; found {path.name}"
        raise InputError(Fault("bad-data", message, subject=str(path), hint=_HINT))
    return _text_lines if ending == ".txt" else _json_lines if ending in (".jsonl", ".ndjson") else _table


def _missing(path: Path, error: OSError) -> Fault:
    message = f"a data file should be at {path}; {error.strerror or error}"
    return Fault("data-missing", message, subject=str(path), hint="check the path")


def _lines(file: TextIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(LINE):
        number += 1
        if line.strip():
            yield number, line


def json_values(file: TextIO) -> Iterator[tuple[int, Any, str | None]]:
    """The number of each line that is not empty, its value, and what is wrong with it where it is no JSON."""
    for number, line in _lines(file):
        try:
            value = json.loads(line, object_pairs_hook=_object)
            if "\\u" in line:
                _check_letters(value)
            yield number, value, None
        except (ValueError, RecursionError) as error:
            yield number, None, f"a line should be JSON; it cannot be read: {str(error)[:200]}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, whose keys must differ: of two that are alike, JSON's reader would drop the first."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return made


def _check_letters(value: Any) -> None:
    """Refuse halves of letters (lone surrogates): no tokenizer takes them, and no file of UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{error.object[error.start]!a} is half of a letter") from None


def _text_lines(file: TextIO, _path: Path, _column: str) -> Iterator[Row | Fault]:
    for number, line in _lines(file):
        yield Row(number, text=line.strip("\r\n"))


def _json_lines(file: TextIO, path: Path, column: str) -> Iterator[Row | Fault]:
    for number, value, wrong in json_values(file):
        yield _row(value, path, number, column) if wrong is None else bad_row(path, number, wrong)


def _row(value: Any, path: Path, number: int, column: str) -> Row | Fault:
    """A row of a JSON value; a key whose value is null is not there."""
    given = {key: it for key, it in value.items() if it is not None} if isinstance(value, dict) else None
    if given is None or (column in given) == ("input_ids" in given):
        found = type(value).__name__ if given is None else "both" if column in given else listed(given) or "neither"
        return bad_row(path, number, f"a line should be an object with either `{column}` or `input_ids`; found {found}")
    label = given.get("label")
    if not (label is None or isinstance(label, str) or type(label) is int):
        return bad_row(path, number, f"`label` should be a class's number or name; found {label!r:.60}")
    if column in given:
        return _texted(given[column], path, number, column, label)
    ids = given["input_ids"]
    if not isinstance(ids, list) or not ids or not all(type(i) is int and i >= 0 for i in ids):
        what = f"`input_ids` should be token numbers, a list of one or more integers from 0 up; found {ids!r:.60}"
        return bad_row(path, number, what)
    targets = given.get("labels", [])
    if not isinstance(targets, list) or len(targets) not in (0, len(ids)) or not all(map(_is_target, targets)):
        what = f"`labels` should be a token number or {NO_TARGET} for each of {len(ids)} `input_ids`"
        return bad_row(path, number, f"{what}; found {targets!r:.60}")
    return Row(number, ids=tuple(ids), label=label, targets=tuple(targets))


def _is_target(value: Any) -> bool:
    return type(value) is int and (value >= 0 or value == NO_TARGET)


def _texted(text: Any, path: Path, number: int, column: str, label: int | str | None) -> Row | Fault:
    if not isinstance(text, str) or not text.strip():
        return bad_row(path, number, f"`{column}` should be a text that is not empty; found {text!r:.60}")
    return Row(number, text=text, label=label)


def _table(file: TextIO, path: Path, column: str) -> Iterator[Row | Fault]:
    csv.field_size_limit(LINE)
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
