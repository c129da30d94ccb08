"""The arithmetic of several distributions, against the formulas in plain floats."""

from __future__ import annotations

import math
import random

import pytest
import torch

from cuvee.generate.fusing import contrastive, entropy, log_pool, logs_of, prob_mean
from cuvee.generate.settings import Fusion

LOGITS = [[1.0, -0.5, 0.25, 2.0], [0.0, 3.0, -1.0, 0.5], [-2.0, 0.1, 0.2, 0.3]]
WEIGHTS = [0.5, 0.2, 0.3]


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(one) for one in values]
    return [one / sum(powers) for one in powers]


def slow_prob(logits: list[list[float]], weights: list[float]) -> list[float]:
    each = [softmax(one) for one in logits]
    return [sum(w * p[c] for w, p in zip(weights, each, strict=True)) for c in range(len(logits[0]))]


def slow_log(logits: list[list[float]], weights: list[float]) -> list[float]:
    each = [softmax(one) for one in logits]
    products = [math.prod(p[c] ** w for w, p in zip(weights, each, strict=True)) for c in range(len(logits[0]))]
    return [one / sum(products) for one in products]


def slow_contrastive(base: list[float], expert: list[float], anti: list[float], alpha: float) -> list[float]:
    return softmax([b + alpha * (e - a) for b, e, a in zip(base, expert, anti, strict=True)])


def stack(logits: list[list[float]]) -> torch.Tensor:
    return torch.stack([logs_of(torch.tensor([one])) for one in logits])


def test_means_of_probabilities_and_of_logarithms() -> None:
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    assert prob_mean(stack(LOGITS), weights).exp()[0].tolist() == pytest.approx(slow_prob(LOGITS, WEIGHTS), abs=1e-8)
    assert log_pool(stack(LOGITS), weights).exp()[0].tolist() == pytest.approx(slow_log(LOGITS, WEIGHTS), abs=1e-8)


def test_contrastive_arithmetic_is_on_logits() -> None:
    for alpha in (0.0, 0.7, 2.0, -1.0):
        found = contrastive(stack(LOGITS), alpha).exp()[0].tolist()
        assert found == pytest.approx(slow_contrastive(*LOGITS, alpha), abs=1e-8)


def test_a_hand_worked_contrast() -> None:
    """Base even, expert 3 : 1, anti-expert 1 : 3, α = 1: odds 9 : 1."""
    three = torch.tensor([[[0.5, 0.5]], [[0.75, 0.25]], [[0.25, 0.75]]], dtype=torch.float64).log()
    assert contrastive(three, 1.0).exp()[0].tolist() == pytest.approx([0.9, 0.1])


def test_what_the_base_finds_implausible_is_left_out() -> None:
    base = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64).log()
    other = torch.tensor([[0.1, 0.1, 0.8]], dtype=torch.float64).log()
    three = torch.stack([base, other, base])
    free, masked = contrastive(three, 1.0).exp()[0].tolist(), contrastive(three, 1.0, 0.4).exp()[0].tolist()
    assert free[2] == pytest.approx(0.8)
    assert masked == pytest.approx([0.5, 0.5, 0.0])  # 0.3 ≥ 0.4 · 0.6 stays, 0.1 goes


def test_candidates_that_nobody_has_stay_out_and_make_no_nan() -> None:
    logs = torch.stack([logs_of(torch.tensor([[1.0, 2.0, -math.inf]])) for _ in range(3)])
    for space in ("prob", "log", "contrastive"):
        fused, _ = Fusion(space, (0.5, 0.25, 0.25))(logs)  # type: ignore[arg-type]
        assert fused[0, 2] == -math.inf
        assert fused.exp().sum() == pytest.approx(1)


def test_a_model_without_weight_counts_for_nothing() -> None:
    logs = stack(LOGITS[:2])
    logs[1, 0, 2] = -math.inf
    for space in ("prob", "log"):
        fused, _ = Fusion(space, (1.0, 0.0))(logs)  # type: ignore[arg-type]
        assert torch.equal(fused, logs[0]) or torch.allclose(fused, logs[0], atol=1e-14)


def test_a_gate_fuses_only_where_models_differ() -> None:
    one = logs_of(torch.tensor([[3.0, 0.0], [3.0, 0.0]]))
    two = logs_of(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    fused, where = Fusion("prob", (0.5, 0.5), gate="disagree")(torch.stack([one, two]))
    assert where.tolist() == [False, True]
    assert torch.equal(fused[0], one[0])
    assert fused[1].exp().tolist() == pytest.approx([0.5, 0.5])


def test_a_gate_fuses_only_where_the_first_is_unsure() -> None:
    one = logs_of(torch.tensor([[9.0, 0.0], [0.1, 0.0]]))
    _, where = Fusion("prob", (0.5, 0.5), gate=0.5)(torch.stack([one, one]))
    assert where.tolist() == [False, True]
    assert entropy(one).tolist() == pytest.approx([-sum(p * math.log(p) for p in row) for row in one.exp().tolist()])


def test_the_temperature_of_a_model_is_before_the_mean() -> None:
    found = logs_of(torch.tensor([[1.0, 3.0]]), 2.0).exp()[0].tolist()
    assert found == pytest.approx(softmax([0.5, 1.5]), abs=1e-8)


def test_the_mean_of_copies_is_the_model() -> None:
    rng = random.Random(0)
    logits = torch.tensor([[rng.gauss(0, 3) for _ in range(50)] for _ in range(20)])
    copies = torch.stack([logs_of(logits)] * 3)
    for space in ("prob", "log"):
        fused, _ = Fusion(space, (0.2, 0.3, 0.5))(copies)  # type: ignore[arg-type]
        assert torch.allclose(fused, copies[0], atol=1e-12)


def test_what_one_of_three_cannot_write_is_left_out() -> None:
    """And not infinitely preferred: base, expert and anti-expert, each without a candidate of its own."""
    p = torch.tensor([[[0.5, 0.3, 0.2, 0.0]], [[0.6, 0.4, 0.0, 0.0]], [[0.3, 0.0, 0.7, 0.0]]], dtype=torch.float64)
    assert contrastive(p.log(), 1.0).exp().tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_where_nothing_is_left_the_first_model_stands() -> None:
    p = torch.tensor([[[0.7, 0.3, 0.0]], [[0.0, 0.0, 1.0]]], dtype=torch.float64)
    for space in ("log", "contrastive"):
        logs, fused = Fusion(space, (0.5, 0.5))(p.log())  # type: ignore[arg-type]
        assert (logs.exp().tolist(), fused.tolist()) == (p[0].tolist(), [False])
