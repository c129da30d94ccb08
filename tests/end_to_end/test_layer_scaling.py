"""LiNeS: layers scaled by their depth, with a first factor that is given or found from the models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import cuvee
from tests.reference.robust_formulas import lines_alpha, lines_factors

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
LAYERS = 4


def recipe(method: str = "task_arithmetic", models: str = "abc", **more: object) -> dict[str, object]:
    own = {"weight": 1.0, **({"density": 0.5} if method == "ties" else {})}
    return {
        "merge_method": method,
        "base_model": str(GOLDEN / "base"),
        "models": [{"model": str(GOLDEN / name), "parameters": own} for name in models],
        **more,
    }


def merged(asked: dict[str, object], out: Path, **way: object) -> dict[str, torch.Tensor]:
    cuvee.merge(cuvee.recipe_from(asked), out, **way)
    return load_file(out / "model.safetensors")


def layer_of(name: str) -> int | None:
    parts = name.split(".")
    return int(parts[2]) if parts[1] == "layers" else None


def test_every_layer_has_its_factor(tmp_path: Path) -> None:
    plain = merged(recipe(), tmp_path / "plain")
    base = load_file(GOLDEN / "base" / "model.safetensors")
    scaling = {"policy": "lines", "alpha": 0.25, "beta": 0.5}
    found = merged(recipe(layer_scaling=scaling), tmp_path / "scaled")
    factors = lines_factors(LAYERS, 0.25, 0.5)
    for name, tensor in found.items():
        layer = layer_of(name)
        factor = 0.25 if layer is None else factors[layer]
        want = base[name] + factor * (plain[name] - base[name])
        assert torch.allclose(tensor, want, atol=2e-6), name


def test_the_first_factor_is_found_from_the_models(tmp_path: Path) -> None:
    models = {name: load_file(GOLDEN / name / "model.safetensors") for name in ("a", "b", "c", "base")}
    plain = merged(recipe("ties"), tmp_path / "plain")

    def flat(tensors: dict[str, torch.Tensor]) -> list[float]:
        return [x for name in plain for x in (tensors[name] - models["base"][name]).reshape(-1).tolist()]

    want = lines_alpha([flat(models[name]) for name in "abc"], flat(plain))
    result = cuvee.merge(
        cuvee.recipe_from(recipe("ties", layer_scaling={"policy": "lines", "beta": 0.5})), tmp_path / "out"
    )
    assert not any("before they are merged" in note for note in result.notes)
    asked = recipe("ties", layer_scaling={"policy": "lines", "beta": 0.5})
    assert any("before they are merged" in note for note in cuvee.plan(asked).notes)
    said = next(note for note in result.notes if "alpha was found" in note)
    assert float(said.split()[-1]) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("way", [{"threads": 2, "tile": 1024}, {"runner": "plain"}, {"threads": 1}])
def test_whatever_the_workers_the_bytes_are_the_same(way: dict[str, object], tmp_path: Path) -> None:
    asked = recipe("ties", layer_scaling={"policy": "lines", "beta": 0.3})
    first = merged(asked, tmp_path / "first", threads=2, tile=4096)
    again = merged(asked, tmp_path / "again", **way)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_of_task_arithmetic_it_is_one_over_the_number_of_models(tmp_path: Path) -> None:
    given = merged(recipe(layer_scaling={"policy": "lines", "alpha": 1 / 3, "beta": 0.5}), tmp_path / "given")
    found = merged(recipe(layer_scaling={"policy": "lines", "beta": 0.5}), tmp_path / "found")
    assert all(torch.allclose(given[name], found[name], atol=1e-6) for name in given)


def test_what_is_wrong_is_told_before_anything_is_read(tmp_path: Path) -> None:
    text = """merge_method: linear
models:
  - {model: a, parameters: {weight: 1}}
layer_scaling: {policy: lines, beta: .inf}
"""
    (tmp_path / "r.yml").write_text(text)
    with pytest.raises(cuvee.RecipeError) as caught:
        cuvee.load_recipe(tmp_path / "r.yml")
    assert set(caught.value.codes) == {"ill-placed-parameter", "out-of-range"}
    assert all(fault.place and fault.place.line == 4 for fault in caught.value.faults)
    with pytest.raises(cuvee.RecipeError, match="policy"):
        cuvee.recipe_from(recipe(layer_scaling={"policy": "lineal", "beta": 1}))


@pytest.mark.parametrize("wrong", ["x", [0.1, 0.2], True, {"value": 1.0}])
def test_factors_are_numbers_and_all_that_is_wrong_is_told(wrong: object) -> None:
    scaling = {"policy": "linse", "alpha": wrong, "beta": wrong}
    with pytest.raises(cuvee.RecipeError, match="should be lines, found") as caught:
        cuvee.recipe_from(recipe(layer_scaling=scaling))
    assert sorted(caught.value.codes) == ["wrong-type", "wrong-type", "wrong-value"]


def test_of_a_recipe_inside_another_it_is_found_too(tmp_path: Path) -> None:
    inner = recipe(layer_scaling={"policy": "lines", "beta": 0.5}, dtype="float32")
    by_hand = merged(inner, tmp_path / "inner")
    outer = {"merge_method": "passthrough", "models": [{"model": inner}]}
    found = merged(outer, tmp_path / "outer")
    assert all(torch.equal(found[name], by_hand[name]) for name in by_hand)
