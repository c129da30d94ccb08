"""How a change lies to the weight that it changes: against definitions, and where the answer is known."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator

import pytest
import torch

from cuvee.tensors import contrast_and_conflict, operators
from tests.reference import larv_formulas as ref

SHAPES = [(5, 5), (7, 3), (3, 7), (2, 30), (64, 2)]


def drawn(shape: tuple[int, int], seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def of(base: torch.Tensor, delta: torch.Tensor) -> tuple[float, float]:
    (pair,) = contrast_and_conflict(base, [delta])
    return pair


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_what_the_definitions_say(shape, dtype, monkeypatch) -> None:
    monkeypatch.setattr(operators, "AT_A_TIME", 11)
    base, deltas = drawn(shape, 1, dtype), [drawn(shape, seed, dtype) for seed in (2, 3, 4)]
    found = list(contrast_and_conflict(base, deltas))
    for delta, (contrast, conflict) in zip(deltas, found, strict=True):
        b, d = base.double().tolist(), delta.double().tolist()
        assert contrast == pytest.approx(ref.effective_rank(b) / ref.effective_rank(d), rel=1e-9)
        assert conflict == pytest.approx(ref.conflict(b, d), rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_transposes_say_the_same_and_lengths_say_nothing(shape) -> None:
    base, delta = drawn(shape, 5), drawn(shape, 6)
    plain = of(base, delta)
    assert of(base.T, delta.T) == pytest.approx(plain, rel=1e-12)
    assert of(base * 1e-3, delta * -1e4) == pytest.approx(plain, rel=1e-9)


def test_a_change_along_the_weight_does_not_conflict() -> None:
    base = drawn((6, 4), 7)
    contrast, conflict = of(base, 0.25 * base)
    assert contrast == pytest.approx(1.0)
    assert conflict < 1e-7


def test_a_rotation_by_a_right_angle_conflicts_as_much_as_can_be() -> None:
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    assert of(torch.eye(2), turn) == pytest.approx((1.0, math.sqrt(2)))


@pytest.mark.parametrize("wrong", [0.0, math.nan, math.inf])
def test_of_nothing_and_of_what_is_no_number_nothing_is_said(wrong) -> None:
    good, bad = drawn((4, 3), 8), torch.full((4, 3), wrong)
    assert all(map(math.isnan, (*of(good, bad), *of(bad, good))))


def test_one_direction_has_rank_one_and_all_alike_have_full_rank() -> None:
    line = torch.outer(torch.arange(1.0, 6.0), torch.arange(1.0, 4.0))
    assert of(torch.eye(5, 3), line)[0] == pytest.approx(3.0)


@pytest.mark.parametrize("length", [1e-300, 1e-90, 1e-80, 1e90, 1e300])
def test_lengths_near_the_ends_of_float64_say_nothing_either(length) -> None:
    base, delta = drawn((6, 4), 9), drawn((6, 4), 10)
    assert of(base * length, delta * length) == pytest.approx(of(base, delta), rel=1e-9)


def test_one_change_is_held_at_a_time() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def changes() -> Iterator[torch.Tensor]:
        for seed in (2, 3, 4):
            assert all(one() is None for one in held)
            delta = drawn((4, 3), seed)
            held.append(weakref.ref(delta))
            yield delta
            del delta

    assert len(list(contrast_and_conflict(drawn((4, 3), 1), changes()))) == 3
