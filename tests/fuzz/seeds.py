"""Good inputs to begin with, and odd pieces to spoil them with."""

from __future__ import annotations

import functools
import json
import pickle
from pathlib import Path
from random import Random
from typing import Any, Final

import torch

import cuvee
from cuvee.types import DTYPES
from tests.support.attacking import Rebuilt, pickled
from tests.support.merging import decoder, linear, write

RECORD: Final = "cuvee.json"
GOLDEN: Final = Path(__file__).parents[1] / "golden"
CODES: Final = [(dtype.code, dtype.size) for dtype in DTYPES.values()]

ODD: Final[list[Any]] = [None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30]
ODD += [
    0.5,
    1.0,
    -0.0,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "a",
    "1",
    "..",
    "/",
    "\0",
    "\n",
    "\x1b[2J",
    "\ud800",
    "é",
]
ODD += [
    "F32",
    "__metadata__",
    "x" * 300,
    "../x.safetensors",
    "x.safetensors",
    "$ref",
    "<<",
    "*a",
    "~",
    "yes",
    "1e3",
    "0x1",
]
ODD += [
    [],
    {},
    [[]],
    [{}],
    [0],
    [0, 0],
    [1, 2, 3],
    {"": {}},
    {"a": 1},
    {"filter": "mlp", "value": 1},
    {"value": [0, 1]},
]
BYTES: Final = [
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"\\",
    b"\n",
    b" ",
    b"-",
    b"e9",
]
BYTES += [
    b"\\u0000",
    b"\\ud800",
    b"NaN",
    b"1e999",
    b"null",
    b'"a":1,',
    b"9" * 30,
    b"[" * 120,
    b"#",
    b"'",
    b"|",
    b">",
    b"- ",
]
BYTES += [
    b"&a ",
    b"*a",
    b"!!x ",
    b"<<: ",
    b"? ",
    b"%",
    b"@",
    b"+",
    b"GiB",
    b"GB",
    b".5",
    b"\xed\xa0\x80",
    b"R",
    b"\x85",
    b"h\0",
]


def good_header(random: Random) -> bytes:
    """A right file of a few tensors."""
    entries: dict[str, Any] = {}
    at = 0
    for number in range(random.randrange(5)):
        code, width = random.choice(CODES)
        shape = [random.choice([0, 1, 2, 3]) for _ in range(random.randrange(4))]
        count = width
        for length in shape:
            count *= length
        entries[f"t{number}"] = {"dtype": code, "shape": shape, "data_offsets": [at, at + count]}
        at += count
    if random.random() < 0.3:
        entries["__metadata__"] = {"format": "pt"}
    return framed(json.dumps(entries).encode() + b" " * random.choice([0, 0, 1, 7]), at)


def framed(text: bytes, data: int) -> bytes:
    """A header with its length, and so many bytes of data."""
    return len(text).to_bytes(8, "little") + text + bytes(data)


def good_index(random: Random) -> bytes:
    """A right index."""
    files = [f"model-{i:05d}-of-00003.safetensors" for i in range(1, 4)]
    where = {f"layers.{i}.w": random.choice(files) for i in range(random.randrange(1, 6))}
    return json.dumps({"metadata": {"total_size": 10}, "weight_map": where}).encode()


@functools.cache
def texts(pattern: str) -> tuple[bytes, ...]:
    """The bytes of golden files."""
    return tuple(path.read_bytes() for path in sorted(GOLDEN.glob(pattern)))


@functools.cache
def seed_model(folder: Path) -> Path:
    """A merged model with its record."""
    for seed, name in enumerate("ab"):
        write(folder / name, decoder(seed, layers=1, width=2, vocabulary=3))
    return cuvee.merge(linear(folder / "a", folder / "b"), folder / "out").path


@functools.cache
def seed_record(folder: Path) -> bytes:
    """The record of that model."""
    return (seed_model(folder) / RECORD).read_bytes()


@functools.cache
def seed_pickles() -> tuple[bytes, ...]:
    """Pickles as torch writes them, and some that only Python does."""
    stored = ("storage", torch.FloatStorage, "0", "cpu", 4)
    tensors = {f"t{i}": Rebuilt(0, (2, 2), (2, 1)) for i in range(3)}
    plain = {"a": [1, 2.5, None, True, (1, 2, 3)], "b": {1, 2}, "c": b"x", "d": 2**70}
    return pickled(tensors, stored), pickled({"state_dict": tensors, "epoch": 1}, stored), pickle.dumps(plain, 2)
