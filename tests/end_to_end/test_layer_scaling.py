"""Layers scaled by their depth (LiNeS), or by how their changes lie to their weights (LARV)."""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import cuvee
from cuvee.execute import Progress
from cuvee.recipe import to_data
from tests.reference import larv_formulas
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
    with pytest.raises(cuvee.RecipeError, match="should be lines or larv, found") as caught:
        cuvee.recipe_from(recipe(layer_scaling=scaling))
    assert sorted(caught.value.codes) == ["wrong-type", "wrong-type", "wrong-value"]


def test_of_a_recipe_inside_another_it_is_found_too(tmp_path: Path) -> None:
    inner = recipe(layer_scaling={"policy": "lines", "beta": 0.5}, dtype="float32")
    by_hand = merged(inner, tmp_path / "inner")
    outer = {"merge_method": "passthrough", "models": [{"model": inner}]}
    found = merged(outer, tmp_path / "outer")
    assert all(torch.equal(found[name], by_hand[name]) for name in by_hand)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_has_no_say_in_the_first_factor(wrong: float, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "a", tmp_path / "a")
    weights = load_file(tmp_path / "a" / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    weights[name][0, 0] = wrong
    save_file(weights, tmp_path / "a" / "model.safetensors", {"format": "pt"})
    asked = recipe(models="b", layer_scaling={"policy": "lines", "beta": 0.5})
    asked["models"] = [*asked["models"], {"model": str(tmp_path / "a"), "parameters": {"weight": 1.0}}]  # type: ignore[misc]
    result = cuvee.merge(cuvee.recipe_from(asked), tmp_path / "out", allow_nonfinite=True)
    assert any("alpha was found to be 0.5" in note for note in result.notes)
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert [one for one, tensor in found.items() if not tensor.isfinite().all()] == [name]


@cache
def larv_pairs(models: str) -> tuple[list[float], list[float]]:
    """e and c of every layer of the golden models by the slow formulas: the means over its matrices."""
    base = load_file(GOLDEN / "base" / "model.safetensors")
    others = [load_file(GOLDEN / name / "model.safetensors") for name in models]
    matrices = [name for name, tensor in base.items() if layer_of(name) is not None and tensor.dim() == 2]
    contrasts, conflicts = [], []
    for layer in range(LAYERS):
        mine = [name for name in matrices if layer_of(name) == layer]
        of = larv_formulas.pairs([base[n].tolist() for n in mine], [[o[n].tolist() for n in mine] for o in others])
        contrasts.append(larv_formulas.mean([e for e, _ in of]))
        conflicts.append(larv_formulas.mean([c for _, c in of]))
    return contrasts, conflicts


def larv_factors(models: str, scaling: dict[str, object]) -> list[float]:
    contrasts, conflicts = larv_pairs(models)
    scores = larv_formulas.scores(contrasts, conflicts, scaling.get("eta", 1.0), scaling.get("rho", 0.5))  # type: ignore[arg-type]
    if scaling.get("mapping") == "continuous":
        return larv_formulas.continuous(scores, 3.0)
    return larv_formulas.tiers(scores, scaling.get("scales", [0.5, 1.0, 1.5]))  # type: ignore[arg-type]


LARV = [{}, {"mapping": "continuous"}, {"scales": [0.8, 1.2]}, {"mapping": "continuous", "eta": 0.5, "rho": 2}]
LARV_CASES = [
    pytest.param(method, asked, marks=[pytest.mark.slow] * (number > 1))
    for number, (method, asked) in enumerate(zip(["ties", "task_arithmetic"] * 2, LARV, strict=True))
]


@pytest.mark.parametrize(("method", "asked"), LARV_CASES, ids=str)
def test_larv_finds_the_factors_of_the_slow_formulas(method: str, asked: dict[str, object], tmp_path: Path) -> None:
    plain = merged(recipe(method), tmp_path / "plain")
    base = load_file(GOLDEN / "base" / "model.safetensors")
    found = merged(recipe(method, layer_scaling={"policy": "larv", **asked}), tmp_path / "scaled")
    factors = larv_factors("abc", asked)
    for name, tensor in found.items():
        layer = layer_of(name)
        want = base[name] + (1.0 if layer is None else factors[layer]) * (plain[name] - base[name])
        assert torch.allclose(tensor, want, atol=2e-6), name


def test_larv_tells_what_it_found_and_a_plan_that_it_will(tmp_path: Path) -> None:
    asked = recipe("ties", layer_scaling={"policy": "larv"})
    assert any("factors are found from the models before" in note for note in cuvee.plan(asked).notes)
    result = cuvee.merge(cuvee.recipe_from(asked), tmp_path / "out")
    (said,) = [note for note in result.notes if note.startswith("layer scaling")]
    assert (
        said
        == f"layer scaling: factors were found: model.layers {', '.join(f'{f:g}' for f in larv_factors('abc', {}))}"
    )


@pytest.mark.parametrize("way", [{"threads": 1}, {"runner": "plain"}, {"tile": 1024}])
def test_larv_has_the_same_bytes_whatever_the_workers(way: dict[str, object], tmp_path: Path) -> None:
    asked = recipe("ties", layer_scaling={"policy": "larv", "mapping": "continuous"})
    first = merged(asked, tmp_path / "first", threads=2, tile=4096)
    again = merged(asked, tmp_path / "again", **way)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_larv_of_a_recipe_inside_another_and_of_a_pack_and_in_memory(tmp_path: Path) -> None:
    inner = recipe(layer_scaling={"policy": "larv"}, dtype="float32")
    by_hand = merged(inner, tmp_path / "inner")
    found = merged({"merge_method": "passthrough", "models": [{"model": inner}]}, tmp_path / "outer")
    assert all(torch.equal(found[name], by_hand[name]) for name in by_hand)
    model = cuvee.load(cuvee.recipe_from(inner))
    assert all(torch.equal(tensor, by_hand[name]) for name, tensor in model.state_dict().items() if name in by_hand)
    cuvee.pack(inner | {"merge_method": "task_arithmetic"}, tmp_path / "pack")
    assert list((tmp_path / "pack").iterdir())


@pytest.mark.parametrize(
    ("scaling", "codes"),
    [
        ({"policy": "larv", "scales": [1.0]}, {"wrong-value"}),
        ({"policy": "larv", "scales": []}, {"wrong-value"}),
        ({"policy": "larv", "scales": [1, float("nan")], "eta": float("inf")}, {"out-of-range"}),
        ({"policy": "larv", "scales": ["a", 2]}, {"wrong-type"}),
        ({"policy": "larv", "mapping": "tier"}, {"wrong-value"}),
        ({"policy": "larv", "beta": 0.5}, {"unknown-key"}),
        ({"policy": "lines", "beta": 0.5, "gamma": 2}, {"unknown-key"}),
        ({"policy": "lines"}, {"missing-key"}),
        ({"policy": "larv", "gamma": 2.0}, {"ill-placed-parameter"}),
        ({"policy": "larv", "mapping": "continuous", "scales": [0.5, 1.5]}, {"ill-placed-parameter"}),
        ({"policy": "lrav", "eta": 2}, {"wrong-value"}),
        ({"polcy": "larv", "rho": 2}, {"unknown-key"}),
    ],
    ids=str,
)
def test_what_is_wrong_with_larv_is_told(scaling: dict[str, object], codes: set[str]) -> None:
    with pytest.raises(cuvee.RecipeError) as caught:
        cuvee.recipe_from(recipe(layer_scaling=scaling))
    assert set(caught.value.codes) == codes


def test_a_key_of_the_other_policy_is_told_as_that() -> None:
    with pytest.raises(cuvee.RecipeError, match="another kind of `layer_scaling` has it"):
        cuvee.recipe_from(recipe(layer_scaling={"policy": "larv", "beta": 0.5}))


def test_larv_refuses_what_is_no_number_and_lets_it_pass_where_it_may(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "a", tmp_path / "a")
    weights = load_file(tmp_path / "a" / "model.safetensors")
    name = next(name for name in weights if layer_of(name) == 1 and weights[name].dim() == 2)
    weights[name][0, 0] = float("nan")
    save_file(weights, tmp_path / "a" / "model.safetensors", {"format": "pt"})
    asked = recipe(models="b", layer_scaling={"policy": "larv"})
    asked["models"] = [*asked["models"], {"model": str(tmp_path / "a"), "parameters": {"weight": 1.0}}]  # type: ignore[misc]
    with pytest.raises(cuvee.InputError, match=re.escape(name)) as caught:
        cuvee.merge(cuvee.recipe_from(asked), tmp_path / "out")
    assert caught.value.codes == ("non-finite",)
    assert not (tmp_path / "out").exists()
    found = merged(asked, tmp_path / "out", allow_nonfinite=True)
    assert [one for one, tensor in found.items() if not tensor.isfinite().all()] == [name]


def test_larv_reads_back_as_it_was_written() -> None:
    for scaling in (
        {"policy": "larv"},
        {"policy": "larv", "mapping": "continuous", "gamma": 1},
        {"policy": "larv", "scales": [0.25, 2.0], "rho": 0},
    ):
        asked = cuvee.recipe_from(recipe(layer_scaling=scaling))
        assert cuvee.recipe_from(to_data(asked)) == asked


@pytest.mark.parametrize(
    ("scaling", "paper"), [({"policy": "larv"}, "2602.09413"), ({"policy": "lines", "beta": 1}, "2410.17146")]
)
def test_the_record_names_whose_idea_it_was(scaling: dict[str, object], paper: str, tmp_path: Path) -> None:
    record = cuvee.merge(cuvee.recipe_from(recipe(layer_scaling=scaling)), tmp_path / "out").record
    assert [one.get("arxiv") for one in record["citations"]] == ["2212.04089", paper]
    plain = cuvee.merge(cuvee.recipe_from(recipe()), tmp_path / "plain").record
    assert [one.get("arxiv") for one in plain["citations"]] == ["2212.04089"]


def test_what_is_looked_at_is_shown_and_an_interrupt_begins_nothing_more(tmp_path: Path) -> None:
    seen: list[str] = []

    def stop(news: Progress) -> None:
        seen.append(news.tensor)
        raise KeyboardInterrupt

    asked = cuvee.recipe_from(recipe(layer_scaling={"policy": "larv"}))
    with pytest.raises(KeyboardInterrupt):
        cuvee.merge(asked, tmp_path / "out", threads=1, progress=stop)
    assert len(seen) < 4
    assert all(name.startswith("its layer's factor: model.layers.") for name in seen)
    assert not (tmp_path / "out").exists()
