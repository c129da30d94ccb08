"""Files of answers: what one model answered on one task, as safetensors or as JSON. Nothing in them is ever run.

A safetensors file holds the columns under their names, and under `about` the bytes of a JSON object with all else; a
JSON file is one object:

    cuvee_answers   1, the version of this list
    model, task     their names
    kind            the kind of answers
    ids             a name for each row
    columns         JSON only: name → numbers, lists of numbers for `probabilities`
    classes         names of the classes; may be left out
    groups          column of the data → the group of each row; may be left out
    parameters, seconds_per_row   what the model costs; may be left out
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from cuvee.checkpoint.single_file import write_single
from cuvee.checkpoint.stored import SafetensorsFile
from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.errors import Fault, InputError, UsageError
from cuvee.judging.answers import Answers, about, answers_from
from cuvee.judging.soundness import COLUMNS, check_answers
from cuvee.judging.standings import Cost
from cuvee.types import TensorSpec

VERSION: Final = 1
_ABOUT: Final = "about"
_MOST: Final = 1 << 30
"""Bytes of the largest file that is read: answers, not weights."""
_HINT: Final = "docs/compare.md says what a file of answers holds"


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file of answers holds."""

    model: str
    task: str
    answers: Answers
    cost: Cost


def save_answers(path: Path, saved: Saved, *, overwrite: bool = False) -> None:
    """Write a file of answers, which appears complete or not at all.

    Args:
        path: the file to make, `.safetensors` or `.json`.
        saved: what to write.
        overwrite: whether a file that is there may be replaced.

    Raises:
        UsageError: the name ends otherwise.
        InputError: `bad-answers`: no file is made of damaged ones.
        OutputExists: the file is there.
        ResourceError: it cannot be written.
    """
    check_answers(saved.answers, saved.model)
    columns = {name: _numbers(column) for name, column in saved.answers.columns.items()}
    if _ending(path) == ".json":
        text = {**_about(saved), "columns": {name: column.tolist() for name, column in columns.items()}}
        write_single(path, [json.dumps(text, allow_nan=False).encode()], overwrite=overwrite)
        return
    from cuvee.checkpoint.format import place

    columns[_ABOUT] = np.frombuffer(json.dumps(_about(saved)).encode(), dtype=np.uint8)
    specs = [TensorSpec(name, _dtype_name(column), column.shape) for name, column in columns.items()]
    header, placed = place(specs, {"format": "pt", "cuvee_answers": str(VERSION)})
    pieces = (columns[part.spec.name].tobytes() for part in placed)
    write_single(path, [header, *pieces], overwrite=overwrite)


def read_answers(path: Path) -> Saved:
    """Read a file of answers.

    Raises:
        UsageError: its name ends neither in `.safetensors` nor in `.json`.
        InputError: `data-missing`; `bad-answers`: it is damaged or holds something else; faults of safetensors files.
    """
    ending = _ending(path)
    try:
        about, columns = (_from_json if ending == ".json" else _from_safetensors)(path)
    except OSError as error:
        message = f"a file of answers should be at {path}; {error.strerror or error}"
        raise InputError(Fault("data-missing", message, subject=str(path), hint=_HINT)) from error
    except ValueError as error:
        raise _damaged(path, f"should hold answers; {error}") from None
    saved = _made(path, about, columns)
    check_answers(saved.answers, str(path))
    return saved


def _ending(path: Path) -> str:
    if (ending := path.suffix.lower()) in (".json", ".safetensors"):
        return ending
    message = f"a file of answers should end in .safetensors or .json; found {path}"
    raise UsageError(Fault("bad-argument", message, subject="answers", hint=_HINT))


def _numbers(column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A column in one of three dtypes, that both kinds of files have."""
    kinds = {"f": np.float64, "b": np.uint8}
    return np.ascontiguousarray(column, dtype=kinds.get(column.dtype.kind, np.int64))


def _dtype_name(column: np.ndarray[Any, Any]) -> str:
    return str(column.dtype)


def _about(saved: Saved) -> dict[str, Any]:
    cost = {"parameters": saved.cost.parameters, "seconds_per_row": saved.cost.seconds_per_row}
    return {"cuvee_answers": VERSION, "model": saved.model, "task": saved.task, **about(saved.answers), **cost}


def _from_json(path: Path) -> tuple[Any, dict[str, Any]]:
    value, twice = parse_json(read_capped(path, _MOST))
    if twice:
        raise ValueError(f"the key {twice[0]!r} stands twice")
    columns = value.get("columns") if isinstance(value, dict) else None
    if not isinstance(columns, dict):
        raise ValueError("there is no object `columns` in it")
    return value, {name: _array(name, column) for name, column in columns.items()}


def _array(name: str, column: Any) -> np.ndarray[Any, Any]:
    """The numbers of a column.

    Raises:
        ValueError: they are no numbers, or rows of several lengths.
    """
    try:
        made = np.array(column)
    except (ValueError, OverflowError):
        made = np.array(None)
    if made.dtype.kind not in "biuf" and made.size:
        raise ValueError(f"the column {name!r} should hold numbers, as many in each row")
    return made


def _from_safetensors(path: Path) -> tuple[Any, dict[str, Any]]:
    if path.stat().st_size > _MOST:
        raise ValueError(f"it is larger than {_MOST:,} bytes")
    with closing(SafetensorsFile(path)) as file:
        wrong = [spec.name for spec in file.specs.values() if spec.dtype not in ("float64", "int64", "uint8")]
        if wrong or _ABOUT not in file.specs:
            raise ValueError(f"{wrong[0]!r} is not float64, int64 or uint8" if wrong else "`about` is not in it")
        columns = {
            name: file.read(name, 0, spec.numel).numpy().reshape(spec.shape) for name, spec in file.specs.items()
        }
        file.check_unchanged()
    told, _ = parse_json(columns.pop(_ABOUT).tobytes())
    return told, columns


def _made(path: Path, told: Any, columns: Mapping[str, np.ndarray[Any, Any]]) -> Saved:
    """The answers, if the file says all that it must in the right form."""
    wrong = list(_wrongs(told, columns))
    if wrong:
        raise InputError([_damaged(path, what).faults[0] for what in wrong])
    cost = Cost(told.get("parameters"), told.get("seconds_per_row"))
    return Saved(told["model"], told["task"], answers_from(told, columns), cost)


def _wrongs(told: Any, columns: Mapping[str, object]) -> list[str]:
    if not isinstance(told, dict) or told.get("cuvee_answers") != VERSION:
        return [f"should hold answers of version {VERSION} (`cuvee_answers`)"]
    wrong = [
        f"`{key}` should be a text; found {str(told.get(key))[:40]!r}"
        for key in ("model", "task")
        if not (isinstance(told.get(key), str) and told[key])
    ]
    kind = told.get("kind")
    if not isinstance(kind, str) or kind not in COLUMNS:
        wrong.append(f"`kind` should be one of {', '.join(COLUMNS)}; found {str(kind)[:40]!r}")
    elif more := sorted(set(columns) - {name for part in COLUMNS[kind] for name in part}):
        wrong.append(f"answers of {kind} have no column {more[0]!r}")
    lists = {"ids": told.get("ids"), "classes": told.get("classes", [])}
    wrong += [f"`{key}` should be a list of texts" for key, value in lists.items() if not _are_texts(value)]
    groups = told.get("groups") or {}
    if not (isinstance(groups, dict) and all(_are_texts(of) for of in groups.values())):
        wrong.append("`groups` should give each column a list of texts")
    for key, forms in (("parameters", (int,)), ("seconds_per_row", (int, float))):
        number = told.get(key)
        if number is not None and (isinstance(number, bool) or not isinstance(number, forms) or not number >= 0):
            wrong.append(f"`{key}` should be a number of 0 or more; found {str(number)[:40]!r}")
    return wrong


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _damaged(path: Path, what: str) -> InputError:
    return InputError(Fault("bad-answers", f"{path}: {what}", subject=str(path), hint=_HINT))
