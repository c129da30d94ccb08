"""DELLA in both tools: other random numbers, the same law of what is kept, rank by rank."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from cuvee import CuveeError, methods
from tests.peers.rival import Case, Rival, combined
from tests.peers.shown import shows

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif("della" not in methods.names(), reason="the method della does not exist yet"),
]

ROWS, WIDTH, SEEDS = 48, 64, 30
DENSITY, EPSILON = 0.4, 0.3
FAR = 5.0
"""Standard errors that a share may be from its law; the draws are seeded, so a test that passes always passes."""

Found = Mapping[str, Tensor | str]


def delta(*shape: int, seed: int = 0) -> Tensor:
    """Entries around 1, so that none is lost in rounding."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.1


def case_of(name: str, *deltas: Tensor, seed: int = 0, method: str = "della", **settings: object) -> Case:
    """Deltas on a base of zeros, thinned alike."""
    own = {"weight": [0.7, 0.4][: len(deltas)] if len(deltas) > 1 else [1.0], "density": DENSITY, "epsilon": EPSILON}
    return Case(name, method, deltas, torch.zeros_like(deltas[0]), own | settings, seed)


def thinned(seed: int) -> Case:
    return case_of(f"thinned-{seed}", delta(ROWS, WIDTH), seed=seed, rescale=False)


def summed(method: str, seed: int) -> Case:
    return case_of(f"{method}-{seed}", delta(ROWS, WIDTH), delta(ROWS, WIDTH, seed=1), seed=seed, method=method)


CASES = [
    *(thinned(seed) for seed in range(SEEDS)),
    *(summed(method, seed) for method in ("della", "della_linear") for seed in range(SEEDS)),
    case_of("rescaled", delta(ROWS, WIDTH)),
    case_of("whole", delta(ROWS, WIDTH), delta(ROWS, WIDTH, seed=1), density=1.0),
    case_of("whole-linear", delta(ROWS, WIDTH), delta(ROWS, WIDTH, seed=1), density=1.0, method="della_linear"),
    case_of("one-column", delta(40, 1), rescale=False),
    case_of("upside-down", delta(ROWS, WIDTH), epsilon=-EPSILON, rescale=False),
    *(case_of(f"kernel-{seed}", delta(6, 64, 5), seed=seed, rescale=False) for seed in range(SEEDS)),
]


@pytest.fixture(scope="module")
def theirs(rival: Rival) -> Found:
    return rival.combine(CASES)


@pytest.fixture(scope="module")
def mine() -> Found:
    return {case.name: combined(case) for case in CASES if case.name != "upside-down"}


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def together(found: Found, prefix: str) -> Tensor:
    """The merged tensors of all seeds, `[seeds, …]`."""
    chosen = [t for name, t in found.items() if name.startswith(f"{prefix}-") and isinstance(t, Tensor)]
    assert len(chosen) == SEEDS
    return torch.stack(chosen).double()


def shares_by_rank(merged: Tensor, whole: Tensor) -> Tensor:
    """The share of entries kept at every rank of its row, smallest magnitude first; `merged` is `[seeds, rows, n]`."""
    order = whole.abs().argsort(dim=1)
    kept = (merged != 0).double()
    return kept.gather(2, order.expand_as(kept)).mean((0, 1))


def law(width: int) -> Tensor:
    """The probability at every rank, from density − ε to density + ε."""
    return torch.linspace(DENSITY - EPSILON, DENSITY + EPSILON, width, dtype=torch.float64)


def far_off(shares: Tensor, probabilities: Tensor, draws: int) -> float:
    """The largest distance of a share from its probability, in standard errors."""
    errors = (probabilities * (1 - probabilities) / draws).sqrt()
    return ((shares - probabilities).abs() / errors).max().item()


def test_what_is_kept_follows_the_law_of_ranks(mine: Found, theirs: Found) -> None:
    whole = delta(ROWS, WIDTH)
    for found in (mine, theirs):
        merged = together(found, "thinned")
        assert far_off(shares_by_rank(merged, whole), law(WIDTH), ROWS * SEEDS) < FAR
        kept = merged != 0
        assert torch.equal(merged[kept], whole.double().expand_as(merged)[kept])


def test_the_test_of_ranks_notices_a_law_upside_down(mine: Found) -> None:
    shares = shares_by_rank(together(mine, "thinned"), delta(ROWS, WIDTH))
    assert far_off(shares, law(WIDTH).flip(0), ROWS * SEEDS) > FAR
    assert far_off(shares, torch.full((WIDTH,), DENSITY, dtype=torch.float64), ROWS * SEEDS) > FAR


@pytest.mark.parametrize("name", ["whole", "whole-linear"])
def test_a_density_of_one_is_exact(name: str, mine: Found, theirs: Found) -> None:
    assert torch.allclose(mine[name], theirs[name], rtol=0, atol=1e-6)


def probabilities(whole: Tensor) -> Tensor:
    """Of every entry, by its rank in its row."""
    return law(whole.shape[1])[whole.abs().argsort(dim=1).argsort(dim=1)]


def test_della_linear_leaves_the_mean_as_it_was(mine: Found) -> None:
    """Σ w δ over many seeds, which is what dividing by each entry's own probability is for."""
    terms = [(0.7, delta(ROWS, WIDTH)), (0.4, delta(ROWS, WIDTH, seed=1))]
    variance = sum((w * d.double()) ** 2 * (1 / probabilities(d) - 1) for w, d in terms) / SEEDS
    off = together(mine, "della_linear").mean(0) - sum(w * d.double() for w, d in terms)
    z = off / variance.sqrt()
    assert abs(z.mean().item()) * z.numel() ** 0.5 < FAR
    assert z.square().mean().item() == pytest.approx(1, abs=FAR * (2 / z.numel()) ** 0.5)


@pytest.mark.parametrize("method", ["della", "della_linear"])
def test_merged_deltas_are_of_one_size(method: str, mine: Found, theirs: Found) -> None:
    """Means of |Δ|: other factors, but near 1/density both, so a quarter apart at most."""
    sizes = [together(found, method).abs().mean().item() for found in (mine, theirs)]
    assert max(sizes) / min(sizes) < 1.25, sizes


@shows("della-rescale")
def test_what_is_kept_is_rescaled_differently(mine: Found, theirs: Found) -> None:
    """Ours by each entry's own probability; mergekit's by one factor, to the tensor's old L1 norm."""
    whole = delta(ROWS, WIDTH)
    their, our = theirs["rescaled"], mine["rescaled"]
    assert isinstance(their, Tensor)
    assert isinstance(our, Tensor)
    factors = (their / whole)[their != 0]
    assert torch.allclose(factors, factors[:1], rtol=1e-5)
    assert their.abs().sum().item() == pytest.approx(whole.abs().sum().item(), rel=1e-5)
    kept = our != 0
    assert torch.allclose((whole / our)[kept], probabilities(whole)[kept].float(), rtol=1e-4)


@shows("della-one-column")
def test_rows_of_one_entry(mine: Found, theirs: Found) -> None:
    """Kept with the density itself; mergekit divides 0 by 0 in the ranks."""
    assert "p_in" in str(theirs["one-column"])
    kept = mine["one-column"]
    assert isinstance(kept, Tensor)
    assert abs((kept != 0).double().mean().item() - DENSITY) < FAR * (DENSITY * (1 - DENSITY) / 40) ** 0.5


@shows("della-kernels")
def test_rows_of_more_than_two_axes(mine: Found, theirs: Found) -> None:
    """A row of ours is all that one output unit has; mergekit ranks along the second axis alone."""
    whole = delta(6, 64, 5)
    flat = shares_by_rank(together(mine, "kernel").flatten(2), whole.flatten(1))
    assert far_off(flat, law(64 * 5), 6 * SEEDS) < FAR
    lanes = together(theirs, "kernel").transpose(2, 3).flatten(1, 2)
    assert far_off(shares_by_rank(lanes, whole.transpose(1, 2).flatten(0, 1)), law(64), 6 * 5 * SEEDS) < FAR


def test_a_window_upside_down_is_refused(theirs: Found) -> None:
    """mergekit then keeps the small entries; that it does is seen in the share of its row's larger half."""
    with pytest.raises(CuveeError) as caught:
        combined(named("upside-down"))
    assert caught.value.codes == ("out-of-range",)
    answer = theirs["upside-down"]
    assert isinstance(answer, Tensor)
    shares = shares_by_rank(answer[None], delta(ROWS, WIDTH))
    assert shares[: WIDTH // 2].mean() > shares[WIDTH // 2 :].mean() + 0.1
