"""What an extracted LoRA costs: the randomised SVD against the full one, on the same matrices in the same run.

    python benchmarks/lora.py [--size 2048] [--rank 16] [--repeats 3]

Matrices of a fine-tuning's kind: a change of low rank and noise over all directions. Told are the median times, their
ratio, and how much further than the best possible the randomised one is from the matrix.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from cuvee.tensors.lowrank import Triplets, triplets
from cuvee.tensors.sketched import sketched_triplets


def change(size: int, seed: int) -> Tensor:
    """A matrix of rank 32 under noise of a tenth of its length."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(size, 32, generator=generator, dtype=torch.float64) for _ in range(2))
    noise = torch.randn(size, size, generator=generator, dtype=torch.float64)
    low = left @ right.mT
    return low + noise * (0.1 * low.norm() / noise.norm())


def timed(work: Callable[[], Triplets]) -> tuple[float, Triplets]:
    """Seconds, and what came of them."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def rest(matrix: Tensor, found: Triplets, rank: int) -> float:
    """‖M − U Σ Vᵀ‖ / ‖M‖ of the first triplets."""
    kept = (found.u[:, :rank] * found.sigma[:rank]) @ found.vt[:rank]
    return float(torch.linalg.vector_norm(matrix - kept) / torch.linalg.vector_norm(matrix))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    ratios, excess = [], []
    for seed in range(asked.repeats):
        matrix = change(asked.size, seed)
        full, best = timed(partial(triplets, matrix))
        fast, found = timed(partial(sketched_triplets, matrix, asked.rank, seed))
        ratios.append(full / fast)
        excess.append(rest(matrix, found, asked.rank) / rest(matrix, best, asked.rank) - 1)
        print(
            f"seed {seed}: full {full:.2f} s, randomised {fast:.2f} s, ratio {ratios[-1]:.1f}, excess {excess[-1]:.1e}"
        )
    print(f"median ratio {statistics.median(ratios):.1f}; largest excess over the best error {max(excess):.1e}")


if __name__ == "__main__":
    main()
