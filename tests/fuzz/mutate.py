"""Inputs of every kind from a source of chance: good ones, spoilt in their structure, in their bytes, or not at all."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from ruamel.yaml import YAML

from tests.fuzz import seeds
from tests.fuzz.seeds import BYTES, ODD

SIZES: Final = (b"5GB", b"1.5 GiB", b"4096", b"10mb", b" 7 B ", b"0.001KB", b"999999999999999999TB")
REFERENCES: Final = (b"org/name", b"org/name@main", b"a+b", b"a@x+b@y", b"../m/a@b@c", b"~/m", b"a+b+c")


def make(target: str, random: Random, spare: Callable[[], bytes]) -> bytes:
    """An input for a target; `spare` gives its record, which needs a merge to be made."""
    if target == "record":
        return of_json(json.loads(spare()), random)
    return MAKERS[target](random)


def header(random: Random) -> bytes:
    raw = seeds.good_header(random)
    length = int.from_bytes(raw[:8], "little")
    kind = random.randrange(6)
    if kind == 0:
        return raw
    if kind == 1:
        return spoil_bytes(raw, random)
    if kind == 2:
        return raw[: random.randrange(len(raw) + 1)] + bytes(random.randrange(3))
    text = of_json(json.loads(raw[8 : 8 + length]), random) if kind < 5 else spoil_bytes(raw[8 : 8 + length], random)
    return seeds.framed(text, max(0, len(raw) - 8 - length + random.choice([0, 0, 0, 1, -1, 8])))


def index(random: Random) -> bytes:
    return of_json(json.loads(seeds.good_index(random)), random)


def config(random: Random) -> bytes:
    return of_json(json.loads(random.choice(seeds.texts("models/*/config.json"))), random)


def recipe_text(random: Random) -> bytes:
    text = random.choice(seeds.texts("recipes/*.yml"))
    if random.random() < 0.3:  # a recipe spoilt in its structure is valid YAML all the same
        return json.dumps(spoil(recipe_of(text), random)).encode()
    return spoil_bytes(text, random)


def recipe_data(random: Random) -> bytes:
    return json.dumps(spoil(recipe_of(random.choice(seeds.texts("recipes/*.yml"))), random)).encode()


_READ: dict[bytes, Any] = {}


def recipe_of(text: bytes) -> Any:
    if text not in _READ:
        _READ[text] = json.loads(json.dumps(YAML(typ="safe", pure=True).load(text)))
    return _READ[text]


MAKERS: Final[Mapping[str, Callable[[Random], bytes]]] = {
    "header": header,
    "index": index,
    "config": config,
    "recipe_text": recipe_text,
    "recipe_data": recipe_data,
    "size": lambda random: spoil_bytes(random.choice(SIZES), random),
    "reference": lambda random: spoil_bytes(random.choice(REFERENCES), random),
    "instructions": lambda random: spoil_bytes(random.choice(seeds.seed_pickles()), random),
}


def of_json(value: Any, random: Random) -> bytes:
    """JSON of a value spoilt in its structure, in its text, in both, or not at all."""
    kind = random.randrange(8)
    text = json.dumps(value if kind == 0 else spoil(value, random), ensure_ascii=random.random() < 0.7)
    raw = text.encode("utf-8", "surrogatepass")
    return spoil_bytes(raw, random) if kind > 5 else raw


def spoil(value: Any, random: Random) -> Any:
    """The value with one to three of its parts replaced, removed, doubled, swapped or wrapped."""
    made = [copy.deepcopy(value)]
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        holder, key = random.choice(places(made))
        change(holder, key, made, random)
    return made[0] if made else None


def places(root: list[Any]) -> list[tuple[Any, Any]]:
    """Every place in a value where something stands, as its container and its key there."""
    found: list[tuple[Any, Any]] = []
    open_ends: list[Any] = [root]
    while open_ends:
        holder = open_ends.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                open_ends.append(holder[key])
    return found or [([None], 0)]


def change(holder: Any, key: Any, root: list[Any], random: Random) -> None:
    kind = random.randrange(7)
    if kind <= 1:
        holder[key] = copy.deepcopy(random.choice(ODD))
    elif kind == 2 and holder is not root:
        del holder[key]
    elif kind == 3 and isinstance(holder, dict):
        holder[str(random.choice(ODD))] = holder.pop(key) if random.random() < 0.5 else holder[key]
    elif kind == 4:
        other, at = random.choice(places(root))
        holder[key] = copy.deepcopy(other[at])
    elif kind == 5:
        holder[key] = random.choice([[holder[key]], {"a": holder[key]}, [holder[key]] * 3])
    elif isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = random.choice([holder[key] + 1, -holder[key], holder[key] * 2, str(holder[key])])


def spoil_bytes(raw: bytes, random: Random) -> bytes:
    """The bytes after a few deletions, insertions, repetitions, moves and flips."""
    for _ in range(random.choice([1, 1, 2, 3, 8])):
        at = random.randrange(len(raw) + 1)
        stop = min(len(raw), at + random.choice([1, 1, 2, 8, 40]))
        kind = random.randrange(5)
        if kind == 0:
            raw = raw[:at] + raw[stop:]
        elif kind == 1:
            raw = raw[:at] + random.choice(BYTES) + raw[at:]
        elif kind == 2:
            raw = raw[:stop] + raw[at:stop] + raw[stop:]
        elif kind == 3:
            raw = raw[:at] + random.choice(BYTES) + raw[stop:]
        elif at < len(raw):
            raw = raw[:at] + bytes([raw[at] ^ 1 << random.randrange(8)]) + raw[at + 1 :]
    return raw
