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
