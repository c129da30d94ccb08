"""The combinations held to their slow formulas, on drawn predictions with masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cuvee import combine
from tests.reference import pooling_formulas as slow

M, N, K = 9, 60, 4


def drawn(seed: int, *, coarse: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, a mask that leaves at least one member in each row, and weights; some zeros in them."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.full(K, 0.7), (M, N))
    if coarse:  # entries in tenths: ties between members and within them
        P = rng.multinomial(4, np.full(K, 1 / K), (M, N)) / 4
    mask = rng.random((M, N)) < 0.6
    mask[rng.integers(M, size=N), np.arange(N)] = True
    weights = rng.random(M)
    weights[0] = 0.0
    return np.where(mask[:, :, None], P, np.nan), mask, weights


def rows(P: np.ndarray, mask: np.ndarray) -> list[tuple[list[list[float]], list[int]]]:
    return [([P[m, n].tolist() for m in range(M) if mask[m, n]], np.flatnonzero(mask[:, n]).tolist()) for n in range(N)]


def hold(found: np.ndarray, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(found, np.array(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("coarse", [False, True])
def test_votes(coarse: bool) -> None:
    P, mask, weights = drawn(1, coarse=coarse)
    each = rows(P, mask)
    hold(combine.hard_vote(P, mask, weights), [slow.vote_shares(said, weights[who]) for said, who in each])
    hold(combine.hard_vote(P, mask), [slow.vote_shares(said, [1.0] * len(said)) for said, _ in each])
    hold(combine.weighted_mean(P, mask, weights), [slow.weighted_mean(said, weights[who]) for said, who in each])


def test_ties() -> None:
    P, mask, _ = drawn(2, coarse=True)
    shares, mean = combine.hard_vote(P, mask), combine.weighted_mean(P, mask)
    prior = np.array([0.2, 0.3, 0.3, 0.2])
    assert (combine.tied(shares).sum(axis=1) > 1).sum() > 10
    for preferences in ([], [prior], [mean], [prior, mean]):
        found = combine.settled(shares, preferences).argmax(axis=1).tolist()
        per_row = [[p if p.ndim == 1 else p[n] for p in preferences] for n in range(N)]
        assert found == [slow.winner(row, liked) for row, liked in zip(shares.tolist(), per_row)]


@pytest.mark.parametrize("exponent", [None, 1.0, 0.3])
@pytest.mark.parametrize("prior", [None, (0.1, 0.2, 0.3, 0.4)])
def test_products(exponent: float | None, prior: tuple[float, ...] | None) -> None:
    P, mask, _ = drawn(3, coarse=True)
    found = combine.product(P, mask, exponent, None if prior is None else np.array(prior), 1e-6)
    hold(found, [slow.product(said, exponent, prior, 1e-6) for said, _ in rows(P, mask)])


@pytest.mark.parametrize("size", [1000, 7])
def test_ranks(size: int) -> None:
    P, mask, _ = drawn(4, coarse=True)
    reference = combine.reference_of(P, mask, size)
    assert reference.shape[2] == min(size, mask.sum(axis=1).max())
    kept = [[[v for v in column if v == v] for column in member] for member in reference.tolist()]
    Q, there, _ = drawn(5)
    hold(
        combine.rank_mean(Q, there, reference),
        [slow.rank_mean(said, [kept[m] for m in who]) for said, who in rows(Q, there)],
    )


Case = tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], Callable[[list[list[float]]], list[float]]]
POOLED: dict[str, Case] = {
    "median": (combine.median, slow.median),
    "maximum": (combine.maximum, lambda said: [max(c) for c in zip(*said)]),
    "minimum": (combine.minimum, lambda said: [min(c) for c in zip(*said)]),
    "trimmed 0": (lambda P, mask: combine.trimmed_mean(P, mask, 0.0), lambda said: slow.trimmed_mean(said, 0)),
    "trimmed ⅓": (
        lambda P, mask: combine.trimmed_mean(P, mask, 1 / 3),
        lambda said: slow.trimmed_mean(said, len(said) // 3),
    ),
}


@pytest.mark.parametrize("name", POOLED)
def test_entries(name: str) -> None:
    fast, plain = POOLED[name]
    P, mask, _ = drawn(6)
    hold(fast(P, mask), [plain(said) for said, _ in rows(P, mask)])


def test_log_odds() -> None:
    right, asked = np.array([0, 3, 7, 20]), np.array([5, 9, 8, 20])
    found = combine.log_odds(right, asked, 3).tolist()
    assert found == pytest.approx([slow.log_odds_weight(r, a, 3) for r, a in zip(right.tolist(), asked.tolist())])


@pytest.mark.parametrize("power", [0.4, 1.0, 3.0])
def test_temperatures(power: float) -> None:
    rng = np.random.default_rng(7)
    honest = rng.dirichlet(np.ones(3), 80)
    truth = np.array([rng.choice(3, p=row) for row in honest])
    P = honest**power / (honest**power).sum(axis=1, keepdims=True)
    found = combine.fit_temperature(P, truth)
    assert found == pytest.approx(slow.best_temperature(P.tolist(), truth.tolist()), rel=1e-6)
    hold(combine.apply_temperature(P, found), [slow.tempered(row, found) for row in P.tolist()])
