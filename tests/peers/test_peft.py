"""PEFT's own merging of adapters' deltas, as far as it computes what one of ours computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cuvee import methods

merge_utils = pytest.importorskip("peft.utils.merge_utils")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:The density")]

WEIGHTS = [0.5, 0.3, 0.4]


def deltas() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(40, 50, generator=generator) for _ in range(3)]


def ours(method: str, **settings: object) -> Tensor:
    """A method's merged delta."""
    return methods.get(method)(deltas(), base=torch.zeros(40, 50), **settings)


def test_task_arithmetic_is_the_same() -> None:
    found = merge_utils.task_arithmetic(deltas(), torch.tensor(WEIGHTS))
    assert torch.allclose(found, ours("task_arithmetic", weight=WEIGHTS), atol=1e-6)


def test_ties_of_equal_weights_one_is_the_same() -> None:
    found = merge_utils.ties(deltas(), torch.ones(3), 0.4)
    assert torch.allclose(found, ours("ties", weight=1.0, density=0.4), atol=1e-6)


def test_ties_divides_by_the_number_of_models_that_agree() -> None:
    """Not by their weights: at equal weights w, PEFT's delta is w times ours."""
    found = merge_utils.ties(deltas(), torch.full((3,), 0.5), 0.4)
    assert torch.allclose(found, 0.5 * ours("ties", weight=0.5, density=0.4), atol=1e-6)
    assert not torch.allclose(found, ours("ties", weight=0.5, density=0.4), atol=1e-2)


COMPOSED = pytest.mark.skipif("compose" not in methods.names(), reason="the method compose does not exist yet")
ELECTIONS = {"total": "sum", "frequency": "count"}
"""PEFT's name for how a sign is elected, and ours."""


@COMPOSED
@pytest.mark.parametrize("election", ELECTIONS)
@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_ties_with_a_count_as_divisor_is_pefts(weight: float, density: float, election: str) -> None:
    found = merge_utils.ties(deltas(), torch.full((3,), weight), density, election)
    settings = {"sparsify": "magnitude", "elect": ELECTIONS[election], "combine": "count"}
    assert torch.allclose(found, ours("compose", weight=weight, density=density, **settings), atol=1e-6)


@COMPOSED
def test_peft_elects_before_it_weighs() -> None:
    """So that unequal weights have no say in the sign; they have in ours and in mergekit."""
    found = merge_utils.ties(deltas(), torch.tensor(WEIGHTS), 1.0)
    composed = ours("compose", sparsify="none", elect="sum", combine="count", weight=WEIGHTS)
    stack, weights = torch.stack(deltas()), torch.tensor(WEIGHTS)[:, None, None]
    same_vote = stack.sum(0).sign() == (weights * stack).sum(0).sign()
    assert torch.allclose(found[same_vote], composed[same_vote], atol=1e-6)
    assert 0 < int((~same_vote).sum()) == int((found.sign() != composed.sign()).sum())


@COMPOSED
@pytest.mark.parametrize("density", [0.2, 1.0])
def test_magnitude_prune_is_a_trim_and_a_sum(density: float) -> None:
    found = merge_utils.magnitude_prune(deltas(), torch.tensor(WEIGHTS), density)
    settings = {"sparsify": "magnitude", "elect": "none", "combine": "sum"}
    assert torch.allclose(found, ours("compose", weight=WEIGHTS, density=density, **settings), atol=1e-6)


@COMPOSED
def test_dare_ties_with_a_count_as_divisor_is_pefts_at_density_one() -> None:
    found = merge_utils.dare_ties(deltas(), torch.full((3,), 0.4), 1.0)
    composed = ours("compose", sparsify="none", elect="sum", combine="count", weight=0.4)
    assert torch.allclose(found, composed, atol=1e-6)


@pytest.mark.skipif("breadcrumbs" not in methods.names(), reason="the method breadcrumbs does not exist yet")
@pytest.mark.parametrize("density", [0.2, 0.75])
def test_breadcrumbs_that_remove_no_large_entry_are_magnitude_prune(density: float) -> None:
    found = merge_utils.magnitude_prune(deltas(), torch.tensor(WEIGHTS), density)
    assert torch.allclose(found, ours("breadcrumbs", weight=WEIGHTS, density=density, gamma=0.0), atol=1e-6)


def test_dare_ties_divides_too() -> None:
    """mergekit's and our dare_ties do not, unless `normalize: true`, and then by the weights."""
    found = merge_utils.dare_ties(deltas(), torch.ones(3), 1.0)
    assert torch.allclose(found, ours("dare_ties", weight=1.0, normalize=True), atol=1e-6)
    assert not torch.allclose(found, ours("dare_ties", weight=1.0), atol=1e-2)


def test_dare_divides_what_it_keeps_by_the_density() -> None:
    one = deltas()[:1]
    torch.manual_seed(0)
    theirs = merge_utils.dare_linear(one, torch.ones(1), 0.3)
    mine = methods.get("dare_linear")(one, base=torch.zeros(40, 50), weight=1.0, density=0.3)
    for found in (theirs, mine):
        kept = found != 0
        assert torch.allclose(found[kept], one[0][kept] / 0.3)
        assert abs(kept.double().mean().item() - 0.3) < 5 * (0.21 / 2000) ** 0.5
