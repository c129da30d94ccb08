"""What merges of two fine-tunes must give, written from the formulas in numpy, for any range of a large tensor.

The threshold of TIES comes from two histograms over all deltas and a count of equal magnitudes before the range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint16]
Floats = NDArray[np.float32]
Magnitudes = NDArray[np.uint32]
PIECE = 1 << 23
WEIGHTS, DENSITY, T = (0.6, 0.3), 0.4, 0.35


def floats(bits: Bits) -> Floats:
    """The float32 of bfloat16 bits."""
    return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32)


def rounded(values: Floats) -> Bits:
    """The bfloat16 bits of finite float32, to the nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


@dataclass(frozen=True)
class Expected:
    """The inputs as bits of bfloat16, `[n]` each: base, a, b; and whose random masks they are.

    `draws` gives the uniform numbers of a fine-tune in a range: what a seed means is the tool's own affair.
    """

    base: Bits
    tunes: Sequence[Bits]
    draws: Callable[[int, int, int], Floats]
    _counted: dict[int, tuple[int, int]] = field(default_factory=dict)

    def of(self, method: str, start: int, stop: int) -> Bits:
        """The bits that a method must give for a range."""
        made: Mapping[str, Callable[[int, int], Floats]] = {
            "linear": self._linear,
            "slerp": self._slerp,
            "ties": self._ties,
            "dare_ties": self._dare_ties,
        }
        return rounded(made[method](start, stop))

    def _linear(self, start: int, stop: int) -> Floats:
        weighted = sum(np.float32(w) * floats(x[start:stop]) for w, x in zip(WEIGHTS, self.tunes, strict=True))
        return weighted / (np.float32(WEIGHTS[0]) + np.float32(WEIGHTS[1]))

    @cached_property
    def _coefficients(self) -> tuple[float, float]:
        aa = ab = bb = 0.0
        for start, stop in self._pieces():
            a, b = (floats(x[start:stop]).astype(np.float64) for x in (self.base, self.tunes[0]))
            aa, ab, bb = aa + a @ a, ab + a @ b, bb + b @ b
        cosine = ab / np.sqrt(aa) / np.sqrt(bb)
        if abs(cosine) > 0.9995:
            return 1 - T, T
        angle = np.arccos(np.clip(cosine, -1, 1))
        return np.sin((1 - T) * angle) / np.sin(angle), np.sin(T * angle) / np.sin(angle)

    def _slerp(self, start: int, stop: int) -> Floats:
        a, b = (floats(x[start:stop]).astype(np.float64) for x in (self.base, self.tunes[0]))
        return (self._coefficients[0] * a + self._coefficients[1] * b).astype(np.float32)

    def _ties(self, start: int, stop: int) -> Floats:
        kept = []
        for number, delta in enumerate(self._deltas(start, stop)):
            threshold, stay = self._thresholds[number]
            magnitude = np.abs(delta).view(np.uint32)
            equal = magnitude == threshold
            left = stay - self._equal_before(number, start)
            kept.append(np.where((magnitude > threshold) | (equal & (np.cumsum(equal) <= left)), delta, 0))
        total, by = self._elected(kept)
        average = np.divide(total, by, out=np.zeros_like(total), where=by != 0)
        return floats(self.base[start:stop]) + average

    def _dare_ties(self, start: int, stop: int) -> Floats:
        kept = []
        for number, delta in enumerate(self._deltas(start, stop)):
            drawn = self.draws(number, start, stop) < np.float32(DENSITY)
            kept.append(np.where(drawn, delta, 0) / np.float32(DENSITY))
        return floats(self.base[start:stop]) + self._elected(kept)[0]

    def _elected(self, kept: Sequence[Floats]) -> tuple[Floats, Floats]:
        """The sum of the weighted deltas that agree with the elected sign, and of their weights."""
        weight = np.array(WEIGHTS, np.float32)[:, None]
        weighted = np.stack(kept).astype(np.float32) * weight
        sign = np.where(weighted.sum(0) >= 0, 1, -1)
        agrees = weighted * sign > 0
        return (weighted * agrees).sum(0), (weight * agrees).sum(0)

    @cached_property
    def _thresholds(self) -> list[tuple[int, int]]:
        """Bits of the smallest magnitude that stays, and how many of those equal to it stay; per fine-tune."""
        return [self._threshold(number) for number in range(len(self.tunes))]

    def _threshold(self, number: int) -> tuple[int, int]:
        left, high = self._rank(number, lambda m: m >> 16, int(DENSITY * len(self.base)))
        left, low = self._rank(number, lambda m: (m & 0xFFFF)[m >> 16 == high], left)
        return (high << 16) | low, left

    def _rank(
        self, number: int, digits: Callable[[NDArray[np.uint32]], NDArray[np.uint32]], rank: int
    ) -> tuple[int, int]:
        """The digit of the entry of that rank from above, and its rank among those with that digit."""
        counts = np.zeros(1 << 16, np.int64)
        for start, stop in self._pieces():
            magnitude = np.abs(self._delta(number, start, stop)).view(np.uint32)
            counts += np.bincount(digits(magnitude), minlength=1 << 16)
        above = np.cumsum(counts[::-1])[::-1]
        digit = int(np.flatnonzero(above >= rank)[-1])
        return rank - int(above[digit] - counts[digit]), digit

    def _equal_before(self, number: int, start: int) -> int:
        threshold = self._thresholds[number][0]
        begin, found = self._counted.get(number, (0, 0))
        begin, found = (begin, found) if begin <= start else (0, 0)
        pieces = (self._delta(number, at, min(at + PIECE, start)) for at in range(begin, start, PIECE))
        found += sum(int(np.count_nonzero(np.abs(piece).view(np.uint32) == threshold)) for piece in pieces)
        self._counted[number] = start, found
        return found

    def _deltas(self, start: int, stop: int) -> Iterator[Floats]:
        return (self._delta(number, start, stop) for number in range(len(self.tunes)))

    def _delta(self, number: int, start: int, stop: int) -> Floats:
        return floats(self.tunes[number][start:stop]) - floats(self.base[start:stop])

    def _pieces(self) -> Iterator[tuple[int, int]]:
        return ((at, min(at + PIECE, len(self.base))) for at in range(0, len(self.base), PIECE))
