"""Methods that look at whole models first: what they make of a checkpoint of several tensors, by any workers."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import cuvee
from cuvee import methods
from cuvee.checkpoint import MemoryReader, MemoryWriter, plan_layout
from cuvee.errors import CuveeError
from cuvee.execute import Digests, execute
from cuvee.methods.trim_whole import keep_whole
from cuvee.planning import Plan, bind
from cuvee.recipe import from_data
from cuvee.tensors import Cut
from tests.support.lanes import rarely
from tests.support.merging import decoder, read, write

SHAPES = {"embed": (300, 96), "a": (1024, 70), "b": (33,), "c": (1,), "d": (60_001,), "none": (0, 3)}
SCALES = {"embed": 0.5, "a": 2.0, "b": 8.0, "c": 1.0, "d": 0.25, "none": 1.0}
"""How far fine-tunes are from the base: not the same in every tensor, so that a trim by tensor is another."""
GIVEN: dict[str, dict[str, Any]] = {
    "ties_global": {"density": 0.3, "lambda": 0.8},
    "krum": {"f": 1},
    "multi_krum": {"f": 0, "m": 3},
    "compose": {"sparsify": "magnitude_of_model", "density": 0.3, "rescale": "norm", "weight": 0.4},
}
NEEDS_BASE = {"ties_global", "compose"}


def model(number: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """The base, or a fine-tune of it; on a coarse grid, so that many deltas are alike."""
    found = {}
    for i, (name, shape) in enumerate(SHAPES.items()):
        base = torch.randn(shape, generator=torch.Generator().manual_seed(i))
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(100 * number + i))
        found[name] = (base + (noise * 64 * SCALES[name]).round() / 4096 * (number > 0)).to(dtype)
    return found


def readers_of(dtype: torch.dtype) -> list[MemoryReader]:
    return [MemoryReader("oabcde"[i], model(i, dtype)) for i in range(6)]


def plan_of(method: str, readers: list[MemoryReader]) -> tuple[Plan, list[MemoryReader]]:
    used = readers if method in NEEDS_BASE else readers[1:]
    data = {
        "merge_method": method,
        "models": [{"model": name} for name in "abcde"],
        "parameters": GIVEN[method],
        **({"base_model": "o"} if method in NEEDS_BASE else {}),
    }
    return bind(from_data(data, methods.specs()), used, methods.get(method).spec), used


def merged(method: str, dtype: torch.dtype, order: random.Random | None = None, **how: Any) -> tuple[dict, Digests]:
    plan, used = plan_of(method, readers_of(dtype))
    layout = plan_layout([step.out for step in plan.steps], 1 << 40)
    if order is not None:
        plan = replace(plan, steps=tuple(order.sample(plan.steps, len(plan.steps))))
    with MemoryWriter(layout) as writer:
        digests = execute(plan, used, writer, methods.get(method), seed=7, **how)
        writer.publish()
    return writer.tensors, digests


def as_one(tensors: dict[str, Tensor]) -> Tensor:
    """All entries of a model as one tensor."""
    return torch.cat([tensors[name].reshape(-1) for name in SHAPES])


@pytest.mark.parametrize("dtype", [torch.float32, *rarely(torch.bfloat16, torch.float64)], ids=str)
@pytest.mark.parametrize("method", GIVEN)
def test_any_workers_tiles_and_order_give_the_same_bytes(method: str, dtype: torch.dtype) -> None:
    want, marks = merged(method, dtype, runner="plain")
    chance = random.Random(f"{method}{dtype}")
    for threads, tile in ((1, 1024), (2, 5000), (4, 1 << 20)):
        found, digests = merged(method, dtype, chance, threads=threads, tile=tile)
        assert all(torch.equal(found[name], tensor) for name, tensor in want.items())
        assert digests.outputs == marks.outputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("method", ["ties_global", "krum", "multi_krum"])
def test_a_checkpoint_is_merged_like_all_its_entries_in_one_tensor(method: str, dtype: torch.dtype) -> None:
    found, _ = merged(method, dtype, threads=2, tile=4096)
    readers = [as_one(model(i, dtype)) for i in range(6)]
    settings = {("lambda_" if k == "lambda" else k): v for k, v in GIVEN[method].items()}
    base = readers[0] if method in NEEDS_BASE else None
    assert torch.equal(as_one(found), methods.get(method)(readers[1:], base=base, **settings))


def test_the_trim_is_not_that_of_each_tensor() -> None:
    found, _ = merged("ties_global", torch.float32, threads=1, tile=4096)
    base = model(0, torch.float32)
    kept = {name: float((found[name] != base[name]).float().mean()) for name in ("b", "d")}
    assert kept["b"] > 0.8 > 0.2 > kept["d"]


def test_tensors_of_several_widths_have_one_threshold() -> None:
    """A float64 tensor makes the threshold a float64 that no float32 is; the others are compared with it as it is."""
    exact = [{k: (v * 64).round().double() / 64 for k, v in model(i, torch.float32).items()} for i in range(6)]
    exact = [one | {"a": one["a"] * (1 + 2.0**-30 * (i > 0))} for i, one in enumerate(exact)]
    mixed = [{k: v if k == "a" else v.float() for k, v in one.items()} for one in exact]
    found = []
    for models in (exact, mixed):
        readers = [MemoryReader("oabcde"[i], one) for i, one in enumerate(models)]
        plan, used = plan_of("ties_global", readers)
        with MemoryWriter(plan_layout([step.out for step in plan.steps], 1 << 40)) as writer:
            execute(plan, used, writer, methods.get("ties_global"), seed=0, threads=2, tile=4096)
            writer.publish()
        found.append(writer.tensors)
    for name in SHAPES:
        moved = [one[name].double() != exact[0][name] for one in found]
        assert torch.equal(*moved), name
        assert name in ("none", "c") or moved[0].any()


def test_a_threshold_is_not_rounded_to_what_it_is_compared_with() -> None:
    cut = Cut(torch.tensor([1.0 + 2.0**-40], dtype=torch.float64))
    deltas = torch.tensor([[1.0, -1.0, 1.0 + 2.0**-23, 0.5]])
    assert keep_whole(deltas, cut).tolist() == [[0.0, 0.0, 1.0 + 2.0**-23, 0.0]]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / str(i), decoder(i)) for i in range(4)]


def codes(data: dict[str, Any], out: Path) -> set[str]:
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(data, out)
    assert not out.exists()
    return set(caught.value.codes)


def recipe(files: list[Path], method: str = "ties_global", **more: Any) -> dict[str, Any]:
    return {
        "merge_method": method,
        "base_model": str(files[0]),
        "models": [{"model": str(f)} for f in files[1:]],
        **more,
    }


def test_slices_are_refused(files: list[Path], tmp_path: Path) -> None:
    sources = [{"model": str(f), "layer_range": [0, 1]} for f in files[1:]]
    others = [{"model": str(f), "layer_range": [1, 2]} for f in files[1:3]]
    data = {
        "merge_method": "ties_global",
        "base_model": str(files[0]),
        "slices": [{"sources": sources}, {"sources": others}],
    }
    assert codes(data, tmp_path / "out") == {"ill-placed-parameter"}


@pytest.mark.parametrize(
    "density", [[0.1, 0.9], [{"filter": "mlp", "value": 0.5}, {"value": 0.1}]], ids=["gradient", "filter"]
)
def test_densities_by_tensor_are_refused(density: Any, files: list[Path], tmp_path: Path) -> None:
    assert codes(recipe(files, parameters={"density": density}), tmp_path / "out") == {"ill-placed-parameter"}


def test_a_density_for_each_model_is_not(files: list[Path], tmp_path: Path) -> None:
    data = recipe(files)
    for entry, density in zip(data["models"], (0.1, 0.5, 1.0), strict=True):
        entry["parameters"] = {"density": density}
    cuvee.merge(data, tmp_path / "out")
    assert read(tmp_path / "out").keys() == decoder(0).keys()


@pytest.mark.parametrize(("method", "given"), [("krum", {"f": 1}), ("multi_krum", {"m": 4})])
def test_too_few_models_are_refused(method: str, given: dict[str, int], files: list[Path], tmp_path: Path) -> None:
    data = {"merge_method": method, "models": [{"model": str(f)} for f in files[1:]], "parameters": given}
    assert codes(data, tmp_path / "out") == {"out-of-range"}


def faults(data: dict[str, Any], folder: Path) -> list[cuvee.Fault]:
    """What is wrong with a recipe in a file."""
    (folder / "r.yml").write_text(json.dumps(data))
    with pytest.raises(cuvee.RecipeError) as caught:
        cuvee.plan(folder / "r.yml")
    return list(caught.value.faults)


def test_settings_that_do_not_fit_are_told_once_and_not_once_per_tensor(files: list[Path], tmp_path: Path) -> None:
    data = {"merge_method": "krum", "models": [{"model": str(f)} for f in files[1:]], "parameters": {"f": 1}}
    (fault,) = faults(data, tmp_path)
    assert fault.place is not None
    assert (fault.place.line, fault.place.column) == (1, 18)  # `{"merge_method": ` stands before the name
    assert fault.message.startswith("krum: f = 1 needs 5 models at least; found 3 (tensors ")
    assert f"and {len(decoder(0)) - 3} more)" in fault.message


def test_a_setting_of_whole_models_is_called_as_the_recipe_calls_it(files: list[Path], tmp_path: Path) -> None:
    (fault,) = faults(recipe(files, parameters={"lambda": [0.5, 1.0]}), tmp_path)
    assert "`lambda` must be the same" in fault.message
    assert fault.place is not None


def test_compose_surveys_only_where_it_trims_whole_models(files: list[Path], tmp_path: Path) -> None:
    """A recipe may thin some tensors by another density; over the whole model it may not."""
    data = recipe(files, "compose", parameters={"weight": 1.0, "density": [0.2, 0.6]})
    cuvee.merge(data, tmp_path / "by tensor")
    data["parameters"]["sparsify"] = "magnitude_of_model"
    assert codes(data, tmp_path / "out") == {"ill-placed-parameter"}
