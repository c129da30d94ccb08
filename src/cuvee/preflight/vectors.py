"""Task vectors over the sample: where signs disagree, which directions are used, and how many: a second pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import mean
from typing import Final

import torch
from torch import Tensor

from cuvee.checkpoint.protocol import Reader
from cuvee.families import is_vocabulary
from cuvee.preflight.facts import Overlap
from cuvee.preflight.sample import Share, stack

DIRECTIONS: Final = 8
"""k, the leading singular vectors that are compared, of matrices four times as large or more."""
_MATRICES: Final = 16
"""Matrices that are factored, evenly spread over the model."""
_FACTORED: Final = 1 << 20
"""Entries of a matrix, or of its sampled rows, that are factored: about a second."""
ENERGY: Final = 0.9
"""Share of the squared norm that `rank` speaks of. Not more: rounding of a merged adapter to bfloat16 takes some."""

Two = tuple[int, int]


@dataclass(frozen=True)
class Factored:
    """One matrix' task vectors: of two models the shared directions, of one the share of directions that it uses."""

    rank: dict[int, float]
    left: dict[Two, float]
    right: dict[Two, float]
    by_chance: float
    k: int


@dataclass
class Vectors:
    """What the pass has found; signs are counted by layer and pair, each entry as often as it stands for others."""

    both: dict[tuple[str, Two], float] = field(default_factory=dict)
    opposed: dict[tuple[str, Two], float] = field(default_factory=dict)
    entries: dict[tuple[str, Two], float] = field(default_factory=dict)
    matrices: list[Factored] = field(default_factory=list)

    def conflict(self, pair: Two, layer: str | None = None) -> float | None:
        """Share of opposite signs among the entries that both have changed."""
        both = _of(self.both, pair, layer)
        return _of(self.opposed, pair, layer) / both if both else None

    def both_changed(self, pair: Two) -> float | None:
        """Share of entries that both have changed."""
        entries = _of(self.entries, pair, None)
        return _of(self.both, pair, None) / entries if entries else None

    def rank(self, model: int) -> float | None:
        """Mean share of directions that a model's task vector uses."""
        found = [m.rank[model] for m in self.matrices if model in m.rank]
        return mean(found) if found else None

    def overlap(self, pair: Two) -> Overlap | None:
        """What two task vectors share, over all matrices."""
        found = [m for m in self.matrices if pair in m.right]
        if not found:
            return None
        left = [m.left[pair] for m in found if pair in m.left]
        right, chance = mean(m.right[pair] for m in found), mean(m.by_chance for m in found)
        return Overlap(mean(left) if left else None, right, chance, max(m.k for m in found), len(found))


def _of(counts: dict[tuple[str, Two], float], pair: Two, layer: str | None) -> float:
    return sum(n for (at, two), n in counts.items() if two == pair and layer in (None, at))


def vectors_of(
    readers: Sequence[Reader], shares: Sequence[Share], models: Sequence[int], base: int, seen: Callable[[], None]
) -> Vectors:
    """Read the sample again, as differences from the base; `seen` is called after each tensor."""
    found = Vectors()
    factored = {share.name for share in _spread([s for s in shares if _can_be_factored(s, models, base)])}
    for share in shares:
        having = [m for m in models if m in share.holders]
        if base in share.holders and having:
            for runs in share.pieces():
                _count_signs(found, share, having, _deltas(readers, share, having, base, runs))
        if share.name in factored:
            found.matrices.append(_factor(readers, share, having, base))
        seen()
    return found


def _deltas(
    readers: Sequence[Reader], share: Share, models: Sequence[int], base: int, runs: Sequence[tuple[int, int]]
) -> Tensor:
    values = stack(readers, share, (base, *models), runs).nan_to_num(0.0, 0.0, 0.0)
    return values[1:] - values[0]


def _count_signs(found: Vectors, share: Share, models: Sequence[int], deltas: Tensor) -> None:
    scale, signs = share.numel / share.entries, deltas.sign()
    for (i, a), (j, b) in combinations(enumerate(models), 2):
        product, key = signs[i] * signs[j], (share.layer, (a, b))
        counts = ((found.both, int((product != 0).sum())), (found.opposed, int((product < 0).sum())))
        for into, count in (*counts, (found.entries, deltas.shape[1])):
            into[key] = into.get(key, 0.0) + count * scale


def _can_be_factored(share: Share, models: Sequence[int], base: int) -> bool:
    is_plain = len(share.shape) == 2 and min(share.shape) >= 8 and not is_vocabulary(share.name)
    return is_plain and share.unit == share.shape[1] and {*models, base} <= set(share.holders)


def _spread(shares: Sequence[Share]) -> Sequence[Share]:
    if len(shares) <= _MATRICES:
        return shares
    return [shares[i * len(shares) // _MATRICES] for i in range(_MATRICES)]


def _factor(readers: Sequence[Reader], share: Share, models: Sequence[int], base: int) -> Factored:
    rows = max(8, _FACTORED // share.unit)
    part = Share(share.name, share.shape, share.holders, share.dtype, share.unit, share.units[:rows])
    deltas = _deltas(readers, part, models, base, tuple(part.runs())).reshape(len(models), -1, share.unit)
    return factored(dict(zip(models, deltas, strict=True)), is_whole=part.is_whole)


def factored(deltas: dict[int, Tensor], *, is_whole: bool) -> Factored:
    """Directions of one matrix' task vectors.

    Args:
        deltas: `[rows, width]` of each model, float64; rows may be a sample, whose left vectors are of no matrix.
        is_whole: whether they are all rows.
    """
    made = {m: torch.linalg.svd(delta, full_matrices=False) for m, delta in deltas.items() if bool(delta.any())}
    rank = {m: _directions(sigma) / len(sigma) for m, (_, sigma, _) in made.items()}
    some = next(iter(deltas.values()))
    left, right, most = {}, {}, max(1, min(DIRECTIONS, min(some.shape) // 4))
    ks = []
    for a, b in combinations(made, 2):
        k = min(most, *(_rank(made[m][1]) for m in (a, b)))
        right[a, b] = overlap(made[a][2][:k].T, made[b][2][:k].T)
        ks.append(k)
        if is_whole:
            left[a, b] = overlap(made[a][0][:, :k], made[b][0][:, :k])
    return Factored(rank, left, right, (mean(ks) if ks else 0.0) / some.shape[1], max(ks, default=0))


def overlap(a: Tensor, b: Tensor) -> float:
    """‖AᵀB‖² / k, the mean of cos² of the principal angles between two spaces; `[n, k]` orthonormal columns each."""
    return min(1.0, float((a.T @ b).square().sum()) / a.shape[1])


def _directions(sigma: Tensor) -> int:
    """How many directions hold `ENERGY` of the squared norm."""
    running = sigma.square().cumsum(0)
    return int((running < ENERGY * running[-1]).sum()) + 1


def _rank(sigma: Tensor) -> int:
    """Singular values above rounding of single-precision weights: vectors of the others are anybody's."""
    return max(1, int((sigma > 1e-6 * sigma[0]).sum()))
