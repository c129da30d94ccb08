"""The safetensors header, read with no trust and written with the final place of every byte.

A file is an 8-byte little-endian length, that many bytes of JSON, and the data. The JSON maps each tensor to its dtype
code, shape and a pair of offsets into the data, which must cover the data exactly.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.protocol import Placed
from cuvee.checkpoint.regular import open_regular
from cuvee.checkpoint.strict_json import parse_json
from cuvee.errors import Fault, InputError
from cuvee.types import DTYPE_BY_CODE, DTYPES, TensorSpec

LENGTH_BYTES: Final = 8
HEADER_LIMIT: Final = 100_000_000
"""Bytes of JSON a header may have; the reference reader has the same cap."""
ALIGNMENT: Final = 8
"""Where the data of our own files begins is a multiple of this: the largest element size."""
FAULT_LIMIT: Final = 20
"""Faults of one header that are told; a damaged one may have one per tensor."""

_COUNTED: Final = 1000  # a hostile header has millions of faults, and each costs a message
_SIZE_LIMIT: Final = 2**63 - 1
_LFS_POINTER: Final = b"version https://git-lfs"
_LFS_HINT: Final = "this is a git-lfs pointer, not the weights: run `git lfs pull` in the model's folder"
_DAMAGED_HINT: Final = "download or write the file again; it is damaged or was made by a program that writes it wrong"
_CODES: Final = ", ".join(sorted(DTYPE_BY_CODE))
_KEYS: Final = frozenset({"dtype", "shape", "data_offsets"})


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of one file says: tensors in the order of their bytes, and free text."""

    tensors: tuple[Placed, ...]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Read and check the header of a local file.

    Raises:
        InputError: `bad-header` or `truncated`, with every fault that was found.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = header_length(file.read(LENGTH_BYTES + len(_LFS_POINTER)), size, str(path))
        file.seek(LENGTH_BYTES)
        return parse_header(file.read(length), size, str(path))


def header_length(start: bytes, size: int, file: str) -> int:
    """Bytes of JSON, from the first bytes of a file of `size` bytes.

    Raises:
        InputError: `bad-header` for more than `HEADER_LIMIT`, `truncated` for more than the file has.
    """
    hint = _LFS_HINT if start.startswith(_LFS_POINTER) else _DAMAGED_HINT
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if size < LENGTH_BYTES:
        message = f"{file}: a safetensors file begins with 8 bytes of header length, found {size} bytes in all"
        raise InputError(Fault("truncated", message, subject=file, hint=hint))
    if length > HEADER_LIMIT:
        message = f"{file}: a header has at most {HEADER_LIMIT:,} bytes, this one says {length:,}"
        raise InputError(Fault("bad-header", message, subject=file, hint=hint))
    if length > size - LENGTH_BYTES:
        message = (
            f"{file}: the header says it has {length:,} bytes, the file ends after {size - LENGTH_BYTES:,} of them"
        )
        raise InputError(Fault("truncated", message, subject=file, hint=hint))
    return length


def parse_header(text: bytes, size: int, file: str) -> Header:
    """Check the JSON of a header against the size of its file.

    Args:
        text: the JSON bytes, padding included.
        size: bytes of the whole file.
        file: the file's name, for messages.

    Raises:
        InputError: with every fault that was found, `FAULT_LIMIT` at most.
    """
    entries, faults = _parse_object(text, file)
    metadata = entries.pop("__metadata__", {})
    if not _is_text_mapping(metadata):
        faults.append(_bad(file, "`__metadata__` must map strings to strings of whole letters"))
    tensors: list[Placed] = []
    start = LENGTH_BYTES + len(text)
    for name, entry in entries.items():
        if len(faults) > _COUNTED:
            break
        try:
            tensors.append(_parse_tensor(name, entry, start))
        except ValueError as error:
            faults.append(_bad(file, f"tensor `{_shown(name)}`: {error}", name))
    tensors.sort(key=lambda placed: (placed.begin, placed.end))
    if not faults:  # with a tensor missing from the list, holes would be reported that are not there
        faults = _check_cover(tensors, start, size, file)
    if faults:
        raise InputError(_some(faults, file))
    return Header(tuple(tensors), metadata)


def _parse_object(text: bytes, file: str) -> tuple[dict[str, Any], list[Fault]]:
    """The header as a mapping, and a fault for each key that stands twice."""
    try:
        entries, repeated = parse_json(text, _signed if b"-0" in text else None)
    except ValueError as error:
        raise InputError(_bad(file, f"the header must be JSON: {error}")) from None
    # The reference reader refuses leading blanks, so a file that has them would be refused by everybody else.
    if not isinstance(entries, dict) or not text.startswith(b"{"):
        raise InputError(_bad(file, "the header must be a JSON object, from its first byte on"))
    told = repeated[: _COUNTED + 1]
    return entries, [_bad(file, f"`{_shown(key)}` stands twice in the header", key) for key in told]


def _parse_tensor(name: str, entry: object, start: int) -> Placed:
    """One entry of a header; `start` is where the data begins.

    Raises:
        ValueError: what is wrong with it.
    """
    if name != _printable(name):
        raise ValueError("the name is not text that can be written in UTF-8")
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        found = ", ".join(sorted(entry)) if isinstance(entry, dict) else type(entry).__name__
        raise ValueError(f"must have `dtype`, `shape` and `data_offsets`, found {_shown(found) or 'nothing'}")
    code = entry["dtype"]
    if not isinstance(code, str) or code not in DTYPE_BY_CODE:
        raise ValueError(f"dtype {code!r:.60} is not one that can be read ({_CODES})")
    dtype = DTYPE_BY_CODE[code]
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _is_sizes(shape):
        raise ValueError(f"`shape` must be a list of sizes from 0 to 2^63 - 1, found {shape!r:.60}")
    if not _is_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"`data_offsets` must be two sizes, the first not above the second, found {offsets!r:.60}")
    # Zeros set aside: a tensor without elements must not hide sizes that no program can multiply.
    if math.prod(filter(None, shape)) * dtype.size > _SIZE_LIMIT:
        raise ValueError(f"the shape {shape!r:.60} has more bytes than can be counted")
    spec = TensorSpec(name, dtype.name, tuple(shape))
    begin, end = offsets
    if end - begin != spec.nbytes:
        raise ValueError(f"{code} of shape {shape!r:.60} has {spec.nbytes:,} bytes, the offsets span {end - begin:,}")
    return Placed(spec, start + begin, start + end)


def _check_cover(tensors: Sequence[Placed], start: int, size: int, file: str) -> list[Fault]:
    """Faults of tensors, sorted by offset, that do not cover the data from `start` to `size` exactly once."""
    faults: list[Fault] = []
    at = start
    for placed in tensors:
        name = _shown(placed.spec.name)
        if placed.begin > at:
            faults.append(_bad(file, f"{placed.begin - at:,} bytes before tensor `{name}` belong to no tensor", name))
        elif placed.begin < at:
            faults.append(_bad(file, f"tensor `{name}` begins {at - placed.begin:,} bytes inside another", name))
        at = max(at, placed.end)
    if faults:
        return faults
    if at > size:
        cut = _shown(next(placed.spec.name for placed in tensors if placed.end > size))
        message = f"{file}: must have {at:,} bytes, has {size:,}; tensor `{cut}` is the first that is cut"
        return [Fault("truncated", message, subject=cut, hint="download or copy the file again")]
    return [_bad(file, f"{size - at:,} bytes after the last tensor belong to no tensor")] if at < size else []


def _signed(digits: str) -> float:
    """The number, minus nought as what it is: the reference reader takes it for no size."""
    return -0.0 if digits == "-0" else int(digits)


def _is_sizes(value: object) -> bool:
    """Whether a value is a list of whole numbers from 0 to 2^63 - 1; `true` is a number in Python, not here."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= _SIZE_LIMIT for n in value)


def _is_text_mapping(value: object) -> bool:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        return False
    return all(text == _printable(text) for pair in value.items() for text in pair)


def _printable(text: str) -> str:
    """The text with halves of surrogate pairs, which JSON can spell and UTF-8 cannot, replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _shown(name: str) -> str:
    """A name as messages show it: printable, and not a megabyte long."""
    return _printable(name if len(name) <= 200 else f"{name[:200]}…")


def _bad(file: str, what: str, subject: str | None = None) -> Fault:
    subject = file if subject is None else _shown(subject)
    return Fault("bad-header", f"{file}: {what}", subject=subject, hint=_DAMAGED_HINT)


def _some(faults: list[Fault], file: str) -> list[Fault]:
    more = len(faults) - FAULT_LIMIT
    count = f"{more:,}" if len(faults) <= _COUNTED else f"at least {more:,}"
    return faults if more <= 0 else [*faults[:FAULT_LIMIT], _bad(file, f"and {count} more faults of this kind")]


def place(specs: Iterable[TensorSpec], metadata: Mapping[str, str] | None = None) -> tuple[bytes, tuple[Placed, ...]]:
    """The first bytes of a file that holds these tensors, and the place of each in it.

    Free text beside the usual `format` is `metadata`.

    Tensors are ordered by element size, largest first and otherwise as given, and the header is padded with blanks
    to a multiple of 8: so every tensor begins at a multiple of its element size, without holes.

    Raises:
        InputError: a name that a header cannot hold, or more names than fit one.
    """
    ordered = sorted(specs, key=lambda spec: -DTYPES[spec.dtype].size)
    _check_names(ordered)
    entries: dict[str, object] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    at = 0
    for spec in ordered:
        offsets = [at, at + spec.nbytes]
        entries[spec.name] = {"dtype": DTYPES[spec.dtype].code, "shape": list(spec.shape), "data_offsets": offsets}
        at += spec.nbytes
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % ALIGNMENT)
    if len(text) > HEADER_LIMIT:
        message = f"the header of a weight file has at most {HEADER_LIMIT:,} bytes, this one needs {len(text):,}"
        raise InputError(Fault("bad-header", message, hint="write smaller shards"))
    return len(text).to_bytes(LENGTH_BYTES, "little") + text, _places(ordered, LENGTH_BYTES + len(text))


def build_header(specs: Iterable[TensorSpec]) -> bytes:
    """The length and header of a file that holds these tensors; see `place`."""
    return place(specs)[0]


def _places(specs: Sequence[TensorSpec], start: int) -> tuple[Placed, ...]:
    places: list[Placed] = []
    for spec in specs:
        places.append(Placed(spec, start, start + spec.nbytes))
        start += spec.nbytes
    return tuple(places)


def _check_names(specs: Sequence[TensorSpec]) -> None:
    """Refuse names that would make a header no reader accepts: pickles and dictionaries can hold any text."""
    wrong = [_shown(spec.name) for spec in specs if spec.name == "__metadata__" or spec.name != _printable(spec.name)]
    if wrong:
        message = "a tensor cannot be called `{}` in a safetensors file"
        raise InputError(Fault("bad-header", message.format(name), subject=name) for name in wrong)
    if len({spec.name for spec in specs}) < len(specs):
        raise ValueError("two tensors of one file have the same name")
