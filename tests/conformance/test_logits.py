"""A merged checkpoint answers as one merged by hand does, formula by formula, on stored tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import cuvee
from tests.support.lanes import every_other
from tests.support.zoo import ZOO, Cellar, stored, write_by_hand

MODELS = ["llama", "qwen2", "gpt2", "bert", "bert masked", "vit", "clip"]
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A recipe, and its arithmetic written out: from the base's, A's and B's tensor to the merged one."""

    name: str
    recipe: Callable[[str, str, str], dict[str, Any]]
    by_hand: Callable[[Tensor, Tensor, Tensor], Tensor]


def both(a: str, b: str, **of_each: float) -> list[dict[str, Any]]:
    """Two models with the same parameters."""
    return [{"model": a, "parameters": of_each}, {"model": b, "parameters": of_each}]


def weighted(a: str, b: str, first: dict[str, float], second: dict[str, float]) -> list[dict[str, Any]]:
    """Two models, each with parameters of its own."""
    return [{"model": a, "parameters": first}, {"model": b, "parameters": second}]


def slerp(base: Tensor, a: Tensor, b: Tensor, t: float = 0.4) -> Tensor:
    """From A towards B along the great circle between them, each tensor one vector."""
    x, y = a.double().flatten(), b.double().flatten()
    cos = (x / x.norm()) @ (y / y.norm())
    if cos.abs() > 0.9995:
        return torch.lerp(a, b, t)
    angle = math.acos(cos)
    blend = (math.sin((1 - t) * angle) * x + math.sin(t * angle) * y) / math.sin(angle)
    return blend.reshape(a.shape).float()


def trim(delta: Tensor, density: float) -> Tensor:
    """The largest entries of a delta, in magnitude; the others zero. At least one stays."""
    keep = max(1, int(density * delta.numel()))
    kept = torch.zeros(delta.numel())
    place = delta.abs().flatten().argsort(descending=True)[:keep]
    kept[place] = delta.flatten()[place]
    return kept.reshape(delta.shape)


def ties(base: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Trim to half, let the weighted sum elect each sign, average what agrees by weight, scale by 0.8."""
    deltas = [(0.6, trim(a - base, 0.5)), (0.4, trim(b - base, 0.5))]
    elected = torch.where(sum(w * d for w, d in deltas) >= 0, 1.0, -1.0)
    agrees = [(w, d, torch.sign(d) == elected) for w, d in deltas]
    total = sum(w * ok for w, _, ok in agrees)
    voted = sum(w * d * ok for w, d, ok in agrees) / torch.where(total == 0, 1.0, total)
    return base + 0.8 * voted


CASES = [
    Case(
        "linear",
        lambda base, a, b: {"merge_method": "linear", "models": both(a, b, weight=0.5)},
        lambda base, a, b: 0.5 * a + 0.5 * b,
    ),
    Case(
        "linear with weights that are divided by their sum",
        lambda base, a, b: {"merge_method": "linear", "models": weighted(a, b, {"weight": 3}, {"weight": 1})},
        lambda base, a, b: (3 * a + b) / 4,
    ),
    Case(
        "slerp",
        lambda base, a, b: {
            "merge_method": "slerp",
            "base_model": a,
            "models": [{"model": a}, {"model": b}],
            "parameters": {"t": 0.4},
        },
        slerp,
    ),
    Case(
        "task_arithmetic",
        lambda base, a, b: {
            "merge_method": "task_arithmetic",
            "base_model": base,
            "models": weighted(a, b, {"weight": 0.7}, {"weight": -0.2}),
            "parameters": {"lambda": 0.9},
        },
        lambda base, a, b: base + 0.9 * (0.7 * (a - base) - 0.2 * (b - base)),
    ),
    Case(
        "ties",
        lambda base, a, b: {
            "merge_method": "ties",
            "base_model": base,
            "models": weighted(a, b, {"weight": 0.6, "density": 0.5}, {"weight": 0.4, "density": 0.5}),
            "parameters": {"lambda": 0.8},
        },
        ties,
    ),
    Case(
        "passthrough",
        lambda base, a, b: {"merge_method": "passthrough", "models": [{"model": b}]},
        lambda base, a, b: b,
    ),
    Case(
        "passthrough with a scale",
        lambda base, a, b: {"merge_method": "passthrough", "models": [{"model": b}], "parameters": {"scale": 0.5}},
        lambda base, a, b: 0.5 * b,
    ),
]


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Cellar:
    return Cellar(tmp_path_factory.mktemp("logits"))


def answers(name: str, folder: Path) -> tuple[Tensor, ...]:
    """What a stored model says; no tensor of it may be missing or left over."""
    model, account = ZOO[name].load(folder)
    assert not {key: value for key, value in account.items() if value}
    return ZOO[name].logits(model)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("name", every_other(MODELS))
def test_logits_are_those_of_a_merge_by_hand(name: str, case: Case, cellar: Cellar, tmp_path: Path) -> None:
    base, a, b = (cellar.model(name, seed) for seed in (0, 1, 2))
    tensors: list[Tensors] = [stored(path) for path in (base, a, b)]
    expected = {key: case.by_hand(*(t[key] for t in tensors)) for key in tensors[0]}
    cuvee.merge(case.recipe(str(base), str(a), str(b)), tmp_path / "merged")
    write_by_hand(a, expected, tmp_path / "by hand")
    found, wanted = answers(name, tmp_path / "merged"), answers(name, tmp_path / "by hand")
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_cases_give_different_models(name: str, cellar: Cellar, tmp_path: Path) -> None:
    """Were two cases to give the same logits, one could stand in for the other unnoticed."""
    tensors: list[Tensors] = [stored(cellar.model(name, seed)) for seed in (0, 1, 2)]
    said = []
    for number, case in enumerate(CASES):
        by_hand = {key: case.by_hand(*(t[key] for t in tensors)) for key in tensors[0]}
        said.append(answers(name, write_by_hand(cellar.model(name, 1), by_hand, tmp_path / str(number)))[0])
    assert all(not torch.allclose(x, y, atol=1e-3) for i, x in enumerate(said) for y in said[:i])
