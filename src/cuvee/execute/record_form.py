"""The form of `cuvee.json`, and reading one that anybody may have written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.contents import RECORD_NAME
from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.execute.checks import listed
from cuvee.execute.record import RECORD_FORMAT
from cuvee.recipe.limits import MAX_NESTED

RECORD_LIMIT: Final = 200_000_000
"""Bytes that a record may have: those of a million tensors; parsed, a hostile one takes up to 25 times as much."""

# A type; a list of one form for all entries; a mapping of names to forms, in which `str` stands for every name and an
# ending `?` for one that may be absent. Names that are not listed are passed over.
_SUMS: Final = {str: str}
_TENSOR: Final = {"dtype": str, "shape": [int], "xxh3_128": str}
_HUB: Final = {"model": str, "commit": str}
_MODEL: Final = {
    "model": str,
    "base": bool,
    "content": str,
    "tensors_read": int,
    "tensors": int,
    "parameters": int,
    "sha256?": _SUMS,
    "hub?": _HUB,
    "adapters?": [{"model": str, "base": str, "files": _SUMS, "hub?": _HUB}],
}


_LOSS: Final = {"loss": float, "stderr": float}
_TUNED: Final = {
    "of": str,
    "data": str,
    "content": str,
    "rows": int,
    "training_rows": int,
    "held_rows": int,
    "settings": dict,
    "steps": int,
    "kept": int,
    "before?": _LOSS,
    "after?": _LOSS,
    "gain?": _LOSS,
    "tensors": [str],
    "versions": _SUMS,
}
_TRANSPLANTED: Final = {
    "of": str,
    "donor": str,
    "donor_content": str,
    "method": str,
    "k": int,
    "anchors": int,
    "rows": {str: int},
    "tensors": [str],
    "tokenizer": [str],
    "config_changes": dict,
    "versions": _SUMS,
}


def _input_form(depth: int) -> dict[str, Any]:
    """An input, and the inputs of one that is a result, so deep and no deeper."""
    return {**_MODEL, **({"inputs?": [_input_form(depth - 1)]} if depth else {})}


_INPUT: Final = _input_form(MAX_NESTED)
_FORM: Final = {
    "format": int,
    "recipe": dict,
    "recipe_sha256": str,
    "seed": int,
    "arithmetic": [str],
    "inputs": [_INPUT],
    "counts": {"merged": int, "copied": int, "tied": int, "lost": int, "left_out": int},
    "copied": {str: str},
    "tied": {str: str},
    "config_changes": dict,
    "vocabulary?": {
        "source": str,
        "tokens": int,
        "rows": int,
        "models": [
            {"model": str, "tokens": int, "rows": int, "own": int, "filled": {str: int}, "tokenizer": {str: str}},
        ],
    },
    "output": {"content": str, "tensors": {str: _TENSOR}, "files": _SUMS, "sha256?": _SUMS},
    "recalibrated?": {
        "data": str,
        "content?": str,
        "batch_size?": int,
        "batches": int,
        "tensors": [str],
        "kept": [str],
    },
    "tuned?": [_TUNED],
    "transplanted?": [_TRANSPLANTED],
    "mixture?": {"layout": str, "layers": int, "made": str},
    "citations": [{"text": str, "arxiv?": str, "url?": str}],
    "notes": [str],
    "versions": {str: str},
}
_WORDS: Final = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}


def read_record(folder: Path) -> Mapping[str, Any] | None:
    """The record of a folder, of the right form; `None` where there is nothing of its name.

    Raises:
        ValueError: what stands there is no record.
        OSError: it cannot be read.
    """
    file = folder / RECORD_NAME
    if not os.path.lexists(file):
        return None
    if not file.is_file():
        raise ValueError("it is no file")
    record, repeated = parse_json(read_capped(file, RECORD_LIMIT))
    if repeated:
        raise ValueError(f"names that stand twice: {listed(repeated)}")
    if isinstance(record, dict) and record.get("format", RECORD_FORMAT) != RECORD_FORMAT:
        raise ValueError(f"its format is {record['format']!r:.50}; this version reads {RECORD_FORMAT}")
    if faults := list(_faults(record, _FORM, "")):
        raise ValueError(f"{listed(faults)}")
    return dict(record)


def _faults(value: Any, form: Any, at: str) -> Iterator[str]:
    """Where a value has not the form it should have."""
    kind: type = form if isinstance(form, type) else type(form)
    if type(value) is not kind:  # `isinstance` would take true for an integer
        yield f"{at or 'the record'} should be {_WORDS[kind]}, found {_WORDS[type(value)]}"
    elif isinstance(form, list) and isinstance(value, list):
        for number, entry in enumerate(value):
            yield from _faults(entry, form[0], f"{at}[{number}]")
    elif isinstance(form, dict) and isinstance(value, dict):
        yield from _faults_of_mapping(value, form, f"{at}." if at else "")


def _faults_of_mapping(value: Mapping[str, Any], form: Mapping[Any, Any], start: str) -> Iterator[str]:
    if str in form:
        for name, entry in value.items():
            yield from _faults(entry, form[str], f"{start}{name:.100}")
        return
    for name, one in form.items():
        key = name.removesuffix("?")
        if key in value:
            yield from _faults(value[key], one, f"{start}{key}")
        elif key == name:
            yield f"{start}{key} is missing"
