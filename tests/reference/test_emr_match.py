"""EMR and TALL masks equal their slow references: the unified model, and every task's model out of a pack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import cuvee
from cuvee import methods
from tests.reference import consensus_formulas as ref
from tests.support.merging import read, write

GRID = st.builds(lambda k, e: k * 2.0**e, st.integers(-255, 255), st.integers(-7, -5))
SIZES = {"a.weight": (3, 5), "b.weight": (17,), "c.weight": (8,), "d.weight": (2, 2, 3), "e.scale": ()}
TASKS = ("cars", "pets", "text")


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[float], list[list[float]]]:
    size, count = draw(st.integers(0, 20)), draw(st.integers(1, 5))
    entries = st.lists(st.one_of(GRID, st.sampled_from([0.0, -0.0])), min_size=size, max_size=size)
    return draw(entries), [draw(entries) for _ in range(count)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@given(rows())
@settings(max_examples=60, deadline=None)
def test_the_unified_model_is_that_of_the_reference(dtype: torch.dtype, given: tuple[list[float], list[list[float]]]):
    base, models = given
    deltas = [[x - b for x, b in zip(model, base)] for model in models]
    expected = [b + u for b, u in zip(base, ref.emr_unified(deltas, draw=1.0))]
    tensors = [torch.tensor(model, dtype=dtype) for model in models]
    assert methods.get("emr")(tensors, base=torch.tensor(base, dtype=dtype)).tolist() == expected


def test_a_sum_of_zero_counts_as_plus() -> None:
    deltas = [torch.tensor([0.5, -3.0, 0.0]), torch.tensor([-0.5, 1.0, 0.0])]
    assert methods.get("emr")(deltas, base=torch.zeros(3)).tolist() == [0.5, -3.0, 0.0]


def model(seed: int, base: Mapping[str, Tensor] | None, dtype: torch.dtype, scale: float = 0.25) -> dict[str, Tensor]:
    """A model of several tensors whose sizes are no multiples of 8, with entries that did not move."""
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in SIZES.items():
        moved = torch.randn(shape, generator=draw)
        if base is None:
            found[name] = moved.to(dtype)
        else:
            still = torch.rand(shape, generator=draw) < 0.2
            found[name] = torch.where(still, base[name].float(), base[name].float() + scale * moved).to(dtype)
    return found


@pytest.fixture(params=[torch.bfloat16, torch.float32], ids=["bfloat16", "float32"])
def zoo(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    base = model(0, None, request.param)
    write(tmp_path / "base", base, None)
    for seed, task in enumerate(TASKS, 1):
        write(tmp_path / task, model(seed, base, request.param), None)
    return tmp_path


def recipe(zoo: Path, method: str, tasks: tuple[str, ...] = TASKS, **more: object) -> dict[str, object]:
    parameters = {} if method == "emr" else {"parameters": {"weight": 1.0}}
    models = [{"model": str(zoo / task), **parameters} for task in tasks]
    return {"merge_method": method, "base_model": str(zoo / "base"), "models": models, **more}


def flat(tensors: Mapping[str, Tensor]) -> list[float]:
    """All entries of a model in one row, so that the sums of the rescaler are those of the whole model."""
    return [float(x) for name in SIZES for x in tensors[name].double().reshape(-1)]


def agrees(found: Mapping[str, Tensor], expected: list[float]) -> None:
    """Equal to the reference in float64, rounded once; by one unit of float32 where that is what is written."""
    dtype = found["a.weight"].dtype
    values = torch.tensor(flat(found), dtype=torch.float64)
    wanted = torch.tensor(expected, dtype=torch.float64)
    if dtype == torch.bfloat16:
        assert torch.equal(values, wanted.to(dtype).double())
    else:
        assert torch.allclose(values, wanted, rtol=1.2e-7, atol=1e-7)


def test_every_task_of_an_emr_pack_is_that_of_the_reference(zoo: Path) -> None:
    result = cuvee.pack(recipe(zoo, "emr"), zoo / "pack")
    base, models = flat(read(zoo / "base")), [flat(read(zoo / task)) for task in TASKS]
    deltas = [[x - b for x, b in zip(m, base)] for m in models]
    _, masks, rescalers = ref.emr(deltas, draw=1.0)
    for i, (task, facts) in enumerate(zip(TASKS, result.facts.tasks, strict=True)):
        assert facts.name == task
        assert math.isclose(facts.rescaler, rescalers[i], rel_tol=1e-6)
        assert facts.kept == sum(masks[i]) / len(masks[i])
        cuvee.unpack(zoo / "pack", zoo / f"out-{task}", task=task)
        agrees(read(zoo / f"out-{task}"), ref.emr_task(base, models, i, draw=1.0))


@pytest.mark.parametrize("lambda_", [0.0, 0.2, 0.4, 1.0])
def test_every_task_of_a_tall_pack_is_that_of_the_reference(zoo: Path, lambda_: float) -> None:
    cuvee.pack(recipe(zoo, "task_arithmetic"), zoo / "pack", tall_lambda=lambda_)
    base, models = flat(read(zoo / "base")), [flat(read(zoo / task)) for task in TASKS]
    for i, task in enumerate(TASKS):
        cuvee.unpack(zoo / "pack", zoo / f"out-{task}", task=task)
        agrees(read(zoo / f"out-{task}"), ref.tall_mask(base, models, [lambda_] * len(TASKS), i))


@pytest.mark.parametrize("method", ["emr", "task_arithmetic"])
@pytest.mark.parametrize("masks", ["agree", "tall"])
def test_a_lone_task_comes_back_as_it_was(zoo: Path, method: str, masks: str) -> None:
    cuvee.pack(recipe(zoo, method, ("pets",)), zoo / "pack", masks=masks, tall_lambda=0.0)
    cuvee.unpack(zoo / "pack", zoo / "out", task="pets")
    agrees(read(zoo / "out"), flat(read(zoo / "pets")))


def test_a_task_that_agrees_nowhere_is_the_base(tmp_path: Path) -> None:
    """The rescaler of an empty mask is 0, not a division by nought."""
    write(tmp_path / "base", {"w": torch.zeros(9)}, None)
    write(tmp_path / "up", {"w": torch.full((9,), 2.0)}, None)
    write(tmp_path / "down", {"w": torch.full((9,), -1.0)}, None)
    models = [{"model": str(tmp_path / name)} for name in ("up", "down")]
    data = {"merge_method": "emr", "base_model": str(tmp_path / "base"), "models": models}
    made = cuvee.pack(data, tmp_path / "pack")
    assert [(task.rescaler, task.kept) for task in made.facts.tasks] == [(1.0, 1.0), (0.0, 0.0)]
    cuvee.unpack(tmp_path / "pack", tmp_path / "out", task="down")
    assert read(tmp_path / "out")["w"].tolist() == [0.0] * 9
