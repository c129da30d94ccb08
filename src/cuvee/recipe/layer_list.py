"""Layers written as a list of numbers and ranges, `0-7, 4-11, 15-12, 20`, and read back.

    20          layer 20
    4-11        layers 4 to 11, both of them taken
    15-12       layers 15, 14, 13, 12: a range that is written backwards runs backwards
    4-7x2       layers 4 to 7, and 4 to 7 again
    12x3        layer 12 three times

Layers count from 0. `layer_range: [start, stop]` is mergekit's form of a run that goes forward, and leaves `stop` out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

MAX_LAYERS: Final = 10_000
"""Most layers that one list may come to: a mistyped number is told, not carried out."""

_ITEM: Final = re.compile(r"(\d{1,20})(?:\s*-\s*(\d{1,20}))?(?:\s*x\s*(\d{1,20}))?", re.ASCII)


def read_layers(text: str) -> tuple[int, ...]:
    """The layers of a list, in its order.

    Args:
        text: numbers and ranges with commas between, each with `x` and a number of times where it is repeated.

    Raises:
        ValueError: it is no such list; the message completes "should be".

    Example:
        >>> read_layers("0-2, 4-3, 7x2")
        (0, 1, 2, 4, 3, 7, 7)
    """
    layers = tuple(layer for run, times in read_runs(text) for layer in run * (times or 1))
    if len(layers) > MAX_LAYERS:
        raise ValueError(f"at most {MAX_LAYERS:,} layers, found {len(layers):,}")
    return layers


def read_runs(text: str) -> tuple[tuple[tuple[int, ...], int | None], ...]:
    """The items of a list: the layers of each, and its number of times where one is written.

    Raises:
        ValueError: it is no such list; the message completes "should be".

    Example:
        >>> read_runs("4-5x2, 7")
        (((4, 5), 2), ((7,), None))
    """
    items = text.split(",")
    if len(items) > MAX_LAYERS:
        raise ValueError(f"at most {MAX_LAYERS:,} layers, found {len(items):,} items")
    return tuple(_read_item(item.strip()) for item in items)


def _read_item(item: str) -> tuple[tuple[int, ...], int | None]:
    match = _ITEM.fullmatch(item)
    if match is None:
        found = f"`{item[:40]}`" if item else "nothing between two commas"
        raise ValueError(f"layers and ranges such as `0-7, 4-11, 15-12, 20`, found {found}")
    first, last, times = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
    if not 1 <= times <= MAX_LAYERS or (abs(last - first) + 1) * times > MAX_LAYERS:
        raise ValueError(f"a range repeated once or more, at most {MAX_LAYERS:,} layers in all, found `{item}`")
    run = range(first, last + 1) if first <= last else range(first, last - 1, -1)
    return tuple(run), None if match[3] is None else times


def written_layers(layers: Sequence[int]) -> str:
    """Layers as a list, in runs as long as they go.

    Example:
        >>> written_layers([0, 1, 2, 4, 3, 7, 7])
        '0-2, 4-3, 7, 7'
    """
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs(layers))


def runs(layers: Sequence[int]) -> Iterator[Sequence[int]]:
    """The layers cut into runs that go up, or down, by one."""
    start = 0
    steps = [after - before for before, after in pairwise(layers)]
    for end in range(1, len(layers) + 1):
        step = steps[start] if start < len(steps) else 0
        if end == len(layers) or abs(step) != 1 or steps[end - 1] != step:
            yield layers[start:end]
            start = end


def is_forward(layers: Sequence[int]) -> bool:
    """Whether the layers are one run that goes up by one, which `layer_range` can say."""
    return bool(layers) and list(layers) == list(range(layers[0], layers[0] + len(layers)))
