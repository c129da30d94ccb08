"""Slow reference formulas of speech decoding: every alignment written out, plain floats.

Written from Graves et al. 2006 (the map B that takes repeats and blanks out; eq. 3: P(y | x) is the sum over
alignments) and the definition of the edit distance; never from the functions under test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product

Frames = Sequence[Sequence[float]]


def collapsed(path: Sequence[int], blank: int) -> tuple[int, ...]:
    """Repeats merged, then blanks left out."""
    kept = [symbol for at, symbol in enumerate(path) if at == 0 or path[at - 1] != symbol]
    return tuple(symbol for symbol in kept if symbol != blank)


def words_of(symbols: Sequence[int], labels: Sequence[str]) -> tuple[str, ...]:
    """Words between spaces."""
    return tuple("".join(labels[symbol] for symbol in symbols).split())


def probabilities(frames: Frames, labels: Sequence[str], blank: int) -> dict[tuple[str, ...], float]:
    """Words → the sum of the probabilities of all alignments that spell them; `frames` holds probabilities."""
    found: dict[tuple[str, ...], list[float]] = {}
    for path in product(range(len(labels)), repeat=len(frames)):
        chance = math.prod(frame[symbol] for frame, symbol in zip(frames, path))
        found.setdefault(words_of(collapsed(path, blank), labels), []).append(chance)
    return {words: math.fsum(parts) for words, parts in found.items()}


def fused(
    frames: Frames,
    labels: Sequence[str],
    blank: int,
    language: Callable[[tuple[str, ...]], float],
    lm_weight: float,
    word_bonus: float,
) -> list[tuple[str, float]]:
    """All texts and their scores, the best first."""
    scores = [
        (" ".join(words), math.log(chance) + lm_weight * language(words) + word_bonus * len(words))
        for words, chance in probabilities(frames, labels, blank).items()
        if chance > 0
    ]
    return sorted(scores, key=lambda entry: -entry[1])


def distance(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Edit distance by its recursive definition."""

    @cache
    def rest(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return len(a) - i + len(b) - j
        return min(1 + rest(i + 1, j), 1 + rest(i, j + 1), (a[i] != b[j]) + rest(i + 1, j + 1))

    return rest(0, 0)
