"""The arithmetic on factors against the same on whole matrices, worked out plainly."""

from __future__ import annotations

import math

import pytest
import torch

from cuvee import methods
from cuvee.tensors.factored import (
    Factored,
    balanced,
    core_space,
    cut_to,
    leading,
    shared_basis_of_factors,
    triplets_of_factors,
    weighted_sum,
)
from cuvee.tensors.lowrank import triplets
from cuvee.tensors.sketched import gaussian, sketched_triplets


def made(ranks: tuple[int, ...] = (2, 3), m: int = 7, n: int = 5, seed: int = 0) -> list[Factored]:
    draw = torch.Generator().manual_seed(seed)
    return [
        Factored(
            torch.randn(m, r, generator=draw, dtype=torch.float64),
            torch.randn(r, n, generator=draw, dtype=torch.float64),
        )
        for r in ranks
    ]


def product(b: list[list[float]], a: list[list[float]]) -> list[list[float]]:
    """B A in plain floats."""
    return [[math.fsum(row[k] * a[k][j] for k in range(len(a))) for j in range(len(a[0]))] for row in b]


def plain_sum(parts: list[Factored], weights: list[float]) -> torch.Tensor:
    """Σ wᵢ Bᵢ Aᵢ in plain floats."""
    each = [product(part.b.tolist(), part.a.tolist()) for part in parts]
    rows, columns = parts[0].shape
    total = [
        [sum(w * one[i][j] for w, one in zip(weights, each, strict=True)) for j in range(columns)] for i in range(rows)
    ]
    return torch.tensor(total, dtype=torch.float64)


def test_cat_is_the_weighted_sum() -> None:
    parts, weights = made(), [0.7, -1.3]
    found = weighted_sum(parts, weights)
    assert found.rank == 5
    assert torch.allclose(found.product(), plain_sum(parts, weights), atol=1e-13)


@pytest.mark.parametrize("rank", [1, 2, 4, 9])
def test_svd_is_the_best_approximation_and_knows_its_error(rank: int) -> None:
    parts, weights = made(), [0.7, -1.3]
    whole = plain_sum(parts, weights)
    u, s, vt = torch.linalg.svd(whole, full_matrices=False)
    best = (u[:, :rank] * s[:rank]) @ vt[:rank]
    found, error = cut_to(triplets_of_factors(weighted_sum(parts, weights)), rank)
    assert torch.allclose(balanced(found).product(), best, atol=1e-12)
    assert error == pytest.approx(float((whole - best).norm() / whole.norm()), abs=1e-12)


def test_energy_keeps_as_few_as_hold_the_share() -> None:
    sigma = torch.tensor([3.0, 2.0, 1.0, 0.0], dtype=torch.float64)
    squares = [9.0, 4.0, 1.0, 0.0]
    for energy in (0.5, 0.64, 0.65, 0.92, 0.95, 1.0):
        want = next(k for k in range(1, 5) if sum(squares[:k]) >= energy * 14 - 1e-12)
        assert leading(sigma, None, energy) == want


@pytest.mark.parametrize("density", [1.0, 0.6, [0.3, 0.8]])
def test_knots_on_factors_is_knots_on_matrices(density: float | list[float]) -> None:
    from cuvee.methods.ties import average_agreeing
    from cuvee.tensors.lowrank import keep_top

    parts = made((2, 2))
    whole = [part.product() for part in parts]
    want = methods.get("knots")(whole, base=torch.zeros_like(whole[0]), weight=[0.8, 0.5], density=density)
    basis = shared_basis_of_factors(parts)
    shares = density if isinstance(density, list) else [density] * 2
    rows = keep_top(basis.coordinates(False), shares)
    merged = average_agreeing(rows, torch.tensor([0.8, 0.5], dtype=torch.float64), True)
    assert torch.allclose(basis.lifted(merged, False), want, atol=1e-12)


def test_core_space_is_lossless() -> None:
    parts = made((2, 1))
    space = core_space(parts)
    assert space.cores.shape == (2, 3, 3)
    for part, core in zip(parts, space.cores, strict=True):
        assert torch.allclose(space.lifted(core).product(), part.product(), atol=1e-12)


def test_sketched_triplets_are_those_of_the_whole_matrix() -> None:
    left, right = torch.linalg.qr(gaussian(1, 90, 90)).Q, torch.linalg.qr(gaussian(2, 80, 80)).Q
    sigma = 2.0 ** -torch.arange(80, dtype=torch.float64)
    whole = (left[:, :80] * sigma) @ right.mT
    found, want = sketched_triplets(whole, 6, key=5), triplets(whole)
    assert torch.allclose(found.sigma[:6], want.sigma[:6], rtol=1e-9)
    assert torch.equal(found.u, sketched_triplets(whole, 6, key=5).u)
    kept, _ = cut_to(found, 6)
    exact = float(whole.square().sum() - found.sigma[:6].square().sum()) ** 0.5
    assert float((whole - kept.product()).norm()) == pytest.approx(exact, rel=1e-6)


def test_the_normal_numbers_are_normal() -> None:
    drawn = gaussian(3, 200, 100)
    assert abs(float(drawn.mean())) < 0.03
    assert float(drawn.std()) == pytest.approx(1.0, abs=0.02)
