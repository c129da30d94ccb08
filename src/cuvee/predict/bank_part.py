"""One piece of a saved bank: a safetensors file, with a JSON object for all that is no array.

P             float64 [M, N, K]
mask          uint8   [M, N], 0 or 1
truth         int64 or float64 [N]; left out where it is not known
features      float64 or float32 [N, D]; may be left out
embeddings.i  float64 or float32 [N, D], of member i; may be left out
about         uint8: the bytes of a JSON object: version, task, names, classes, ids, provenance …
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import InputError
from cuvee.predict.bank import Bank, bank_faults
from cuvee.predict.truths import plain_labels

VERSION: Final = 1
MOST_BYTES: Final = 4 << 30
"""Bytes of the largest piece that is written and read."""
_ABOUT: Final = "about"
_MOST_ABOUT: Final = 1 << 28
_LISTS: Final[Mapping[str, tuple[type, ...]]] = {
    "members": (str,),
    "classes": (str, int, float, bool),
    "ids": (str,),
    "provenance": (str,),
    "probable": (bool,),
    "notes": (str,),
}
_ARRAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "P": ("float64",),
    "mask": ("uint8",),
    "truth": ("int64", "float64"),
    "features": ("float64", "float32"),
    _ABOUT: ("uint8",),
}


def packed(bank: Bank) -> list[bytes]:
    """The bytes of the file, in order."""
    from cuvee.checkpoint.format import place
    from cuvee.types import TensorSpec

    arrays = _arrays(bank)
    specs = [TensorSpec(name, str(array.dtype), array.shape) for name, array in arrays.items()]
    header, placed = place(specs, {"cuvee_bank_part": str(VERSION)})
    return [header, *(arrays[part.spec.name].tobytes() for part in placed)]


def unpacked(path: Path) -> Bank:
    """The bank that a file holds, checked.

    Raises:
        ValueError: what is wrong with the form of the file.
        OSError: it cannot be read.
        InputError: it is no safetensors file, or what `bank_faults` finds, each with the file.
    """
    arrays = _read(path)
    about = _about(arrays.pop(_ABOUT).tobytes())
    made = _made(about, arrays)
    if faults := bank_faults(made):
        raise InputError([replace(fault, message=f"{path}: {fault.message}") for fault in faults])
    return made


def _arrays(bank: Bank) -> dict[str, Array]:
    found = {"P": np.asarray(bank.P, np.float64), "mask": bank.mask.astype(np.uint8)}
    if bank.truth is not None:
        found["truth"] = bank.truth.astype(np.int64 if bank.task == "classification" else np.float64)
    if bank.features is not None:
        found["features"] = _wide(bank.features)
    found |= {f"embeddings.{bank.members.index(name)}": _wide(array) for name, array in bank.embeddings.items()}
    found[_ABOUT] = np.frombuffer(json.dumps(_told(bank), allow_nan=False).encode(), np.uint8)
    return {name: np.ascontiguousarray(array) for name, array in found.items()}


def _wide(array: Array) -> Array:
    """float32 as it is, all others as float64."""
    return array if array.dtype == np.float32 else array.astype(np.float64)


def _told(bank: Bank) -> dict[str, Any]:
    return {
        "cuvee_bank_part": VERSION,
        "task": bank.task,
        "members": list(bank.members),
        "classes": plain_labels(bank.classes),
        "ids": list(bank.ids),
        "provenance": list(bank.provenance),
        "probable": [bool(one) for one in bank.probable],
        "notes": list(bank.notes),
    }


def _read(path: Path) -> dict[str, Array]:
    """The arrays by name, each of a dtype that it may have."""
    from cuvee.checkpoint.stored import SafetensorsFile

    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
    with closing(SafetensorsFile(path)) as file:
        for name, spec in file.specs.items():
            if spec.dtype not in _allowed(name):
                raise ValueError(f"there should be no array {name!r:.60} of {spec.dtype} in a bank")
        if lacking := {"P", "mask", _ABOUT} - set(file.specs):
            raise ValueError(f"it should have the array {min(lacking)!r}")
        found = {}
        for name, spec in file.specs.items():
            found[name] = np.empty(spec.shape, spec.dtype)
            file.read_into(name, 0, spec.numel, found[name].reshape(-1).view(np.uint8).data)
        file.check_unchanged()
    return found


def _allowed(name: str) -> tuple[str, ...]:
    start, _, number = name.partition(".")
    if start == "embeddings" and number.isascii() and number.isdigit() and str(int(number[:9])) == number:
        return "float64", "float32"
    return _ARRAYS.get(name, ())


def _about(text: bytes) -> dict[str, Any]:
    from cuvee.checkpoint.strict_json import parse_json

    if len(text) > _MOST_ABOUT:
        raise ValueError(f"`{_ABOUT}` has more than {_MOST_ABOUT:,} bytes")
    told, twice = parse_json(text)
    if twice:
        raise ValueError(f"the key {twice[0]!r:.60} stands twice")
    if not isinstance(told, dict) or type(told.get("cuvee_bank_part")) is not int or told["cuvee_bank_part"] != VERSION:
        raise ValueError(f"it should be a part of a bank of version {VERSION} (`cuvee_bank_part`)")
    keys = {"cuvee_bank_part", "task", *_LISTS}
    if set(told) != keys:
        raise ValueError(
            f"`{_ABOUT}` should have {', '.join(sorted(keys))}; differing: {sorted(set(told) ^ keys)!s:.120}"
        )
    if not isinstance(told["task"], str):
        raise ValueError(f"`task` should be a text; found {told['task']!r:.60}")
    for key, kinds in _LISTS.items():
        if not isinstance(told[key], list) or not all(type(one) in kinds for one in told[key]):
            raise ValueError(f"`{key}` should be a list of {' or '.join(kind.__name__ for kind in kinds)}")
    return told


def _made(about: Mapping[str, Any], arrays: Mapping[str, Array]) -> Bank:
    members = tuple(about["members"])
    numbers = {name: int(name.partition(".")[2]) for name in arrays if name.startswith("embeddings.")}
    if beyond := [name for name, number in numbers.items() if number >= len(members)]:
        raise ValueError(f"{beyond[0]!r} is of no member; there are {len(members)}")
    if arrays["mask"].size and arrays["mask"].max() > 1:
        raise ValueError("`mask` should hold 0 and 1")
    return Bank(
        task=about["task"],
        members=members,
        classes=tuple(about["classes"]),
        P=arrays["P"],
        mask=arrays["mask"].astype(bool),
        ids=tuple(about["ids"]),
        truth=arrays.get("truth"),
        provenance=tuple(about["provenance"]),
        probable=tuple(about["probable"]),
        embeddings={members[number]: arrays[name] for name, number in numbers.items()},
        features=arrays.get("features"),
        notes=tuple(about["notes"]),
    )
