"""Making packs: the same bytes however it is done, nothing but what belongs there, and clear refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import cuvee
from cuvee.errors import CuveeError, InputError, OutputExists, RecipeError, UsageError
from cuvee.packs.tasks import task_names
from cuvee.types import ModelRef
from tests.support.merging import cast, decoder, files, hidden, read, write
from tests.support.packing import TASKS, expert, family, recipe


@pytest.mark.parametrize("method", ["emr", "ties", "dare_linear", "task_arithmetic"])
def test_threads_and_tiles_change_no_byte(tmp_path: Path, method: str) -> None:
    extra = {"model.layers.0.big.weight": torch.randn(5, 1029, generator=torch.Generator().manual_seed(9))}
    family(tmp_path, torch.float32, extra)
    for seed, task in enumerate(TASKS, 1):
        tensors = read(tmp_path / task)
        tensors["model.layers.0.big.weight"] += torch.randn(5, 1029, generator=torch.Generator().manual_seed(seed))
        shutil.rmtree(tmp_path / task)
        write(tmp_path / task, tensors)
    data = recipe(tmp_path, method)
    for entry in data["models"]:
        if method in ("ties", "dare_linear"):
            entry["parameters"]["density"] = 0.4
    found = []
    for number, (threads, tile) in enumerate([(1, None), (3, 1024), (2, 2048), (2, 1)]):
        cuvee.pack(data, tmp_path / f"pack-{number}", threads=threads, tile=tile, masks="agree", seed=5)
        found.append(files(tmp_path / f"pack-{number}"))
    assert all(pack == found[0] for pack in found[1:])


def test_a_pack_holds_the_delta_masks_recipe_and_pack_json_and_nothing_else(tmp_path: Path) -> None:
    made = cuvee.pack(family(tmp_path), tmp_path / "pack")
    assert sorted(files(tmp_path / "pack")) == [
        "cuvee_recipe.yml",
        "model.safetensors",
        "pack.json",
        "task-cars.safetensors",
        "task-pets.safetensors",
    ]
    base = load_file(tmp_path / "base/model.safetensors")
    delta = load_file(tmp_path / "pack/model.safetensors")
    assert {n: t.shape for n, t in delta.items()} == {n: t.shape for n, t in base.items()}
    assert {t.dtype for t in delta.values()} == {torch.float32}
    masks = load_file(tmp_path / "pack/task-cars.safetensors")
    assert {n: (t.dtype, len(t)) for n, t in masks.items()} == {
        f"{n}@cars": (torch.uint8, -(-t.numel() // 8)) for n, t in base.items()
    }
    assert made.facts.mask_bytes == sum((tmp_path / f"pack/task-{t}.safetensors").stat().st_size for t in TASKS)
    assert made.models_bytes == 2 * sum(t.numel() * t.element_size() for t in base.values())
    assert hidden(tmp_path) == []


def test_the_delta_is_that_of_an_ordinary_merge(tmp_path: Path) -> None:
    data = family(tmp_path, torch.float32)
    cuvee.pack(data, tmp_path / "pack")
    cuvee.merge(data, tmp_path / "merged")
    delta, base = load_file(tmp_path / "pack/model.safetensors"), read(tmp_path / "base")
    for name, tensor in read(tmp_path / "merged").items():
        assert torch.equal(tensor, base[name] + delta[name]), name


def test_integers_and_buffers_come_from_the_base(tmp_path: Path) -> None:
    extra = {"model.layers.0.count": torch.tensor([3, 4]), "model.rotary_emb.inv_freq": torch.rand(4)}
    made = cuvee.pack(family(tmp_path, extra=extra), tmp_path / "pack")
    assert made.copied == 2
    assert not set(load_file(tmp_path / "pack/model.safetensors")) & set(extra)
    cuvee.unpack(tmp_path / "pack", tmp_path / "out", task="pets")
    out = read(tmp_path / "out")
    for name, tensor in extra.items():
        assert torch.equal(out[name], tensor)


def test_a_large_delta_is_sharded(tmp_path: Path) -> None:
    cuvee.pack(family(tmp_path), tmp_path / "one")
    cuvee.pack(recipe(tmp_path), tmp_path / "many", shard_size=900)
    assert len(list((tmp_path / "many").glob("model-*-of-*.safetensors"))) > 1
    for name in ("one", "many"):
        cuvee.unpack(tmp_path / name, tmp_path / f"out-{name}", task="cars")
    assert files(tmp_path / "out-one")["model.safetensors"] == files(tmp_path / "out-many")["model.safetensors"]


def test_a_narrow_delta_is_what_masks_and_rescalers_are_made_for(tmp_path: Path) -> None:
    """What is stored is what is applied, so the rescaler must belong to the rounded delta."""
    made = cuvee.pack(family(tmp_path), tmp_path / "pack", dtype="bfloat16")
    delta, base, own = (read(tmp_path / n) for n in ("pack", "base", "cars"))
    assert delta["model.norm.weight"].dtype == torch.bfloat16
    moved = {n: own[n].double() - base[n].double() for n in base}
    kept = {n: torch.where(moved[n] * delta[n].double() > 0, delta[n].double(), 0.0) for n in base}
    wanted = sum(t.abs().sum() for t in moved.values()) / sum(t.abs().sum() for t in kept.values())
    assert abs(made.facts.tasks[0].rescaler - float(wanted)) < 1e-6
    assert made.facts.dtypes == ("bfloat16",)


def test_float64_is_kept(tmp_path: Path) -> None:
    cuvee.pack(family(tmp_path, torch.float64), tmp_path / "pack")
    assert read(tmp_path / "pack")["model.norm.weight"].dtype == torch.float64


def test_out_dtype_is_that_of_the_tasks_models_and_their_configuration(tmp_path: Path) -> None:
    cuvee.pack(family(tmp_path) | {"out_dtype": "float16"}, tmp_path / "pack")
    cuvee.unpack(tmp_path / "pack", tmp_path / "out", task="cars")
    assert {t.dtype for t in read(tmp_path / "out").values()} == {torch.float16}
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == "float16"


def test_layer_scaling_is_in_the_delta(tmp_path: Path) -> None:
    data = family(tmp_path, torch.float32)
    cuvee.pack(data, tmp_path / "plain")
    cuvee.pack(data | {"layer_scaling": {"policy": "lines", "alpha": 0.5, "beta": 0.0}}, tmp_path / "half")
    plain, half = (load_file(tmp_path / n / "model.safetensors") for n in ("plain", "half"))
    assert all(torch.equal(half[name], 0.5 * tensor) for name, tensor in plain.items())


@pytest.mark.parametrize("change", [{"merge_method": "linear"}, {"merge_method": "slerp", "parameters": {"t": 0.5}}])
def test_methods_that_work_on_weights_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    data = family(tmp_path) | change
    if change["merge_method"] == "linear":
        del data["base_model"]
        data["parameters"] = {"weight": 1.0}
    else:
        del data["models"][1]
    with pytest.raises(RecipeError) as caught:
        cuvee.pack(data, tmp_path / "pack")
    assert caught.value.codes == ("wrong-value",)
    assert change["merge_method"] in str(caught.value)
    assert not (tmp_path / "pack").exists()


def test_slices_are_refused(tmp_path: Path) -> None:
    data = family(tmp_path)
    sources = [{"model": entry["model"], "layer_range": [0, 2]} for entry in data.pop("models")]
    with pytest.raises(RecipeError) as caught:
        cuvee.pack(data | {"slices": [{"sources": sources}]}, tmp_path / "pack")
    assert caught.value.code == "not-yet"
    assert "slices" in str(caught.value)


def test_a_tensor_that_is_not_in_the_base_is_refused(tmp_path: Path) -> None:
    data = family(tmp_path)
    tensors = read(tmp_path / "cars") | {"extra.weight": torch.ones(3)}
    shutil.rmtree(tmp_path / "cars")
    write(tmp_path / "cars", tensors)
    with pytest.raises(RecipeError) as caught:
        cuvee.pack(data | {"missing": "copy"}, tmp_path / "pack")
    assert caught.value.codes == ("missing-tensor",)
    assert "extra.weight" in str(caught.value)


def test_an_output_that_is_there_is_refused_before_any_work(tmp_path: Path) -> None:
    data = family(tmp_path)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/mine").write_text("x")
    with pytest.raises(OutputExists):
        cuvee.pack(data, tmp_path / "pack")
    assert files(tmp_path / "pack") == {"mine": b"x"}


def test_a_delta_too_large_for_its_dtype_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path / "base", {"w": torch.zeros(9)})
    write(tmp_path / "cars", {"w": torch.full((9,), 1e6)})
    write(tmp_path / "pets", {"w": torch.ones(9)})
    with pytest.raises(InputError) as caught:
        cuvee.pack(recipe(tmp_path), tmp_path / "pack", dtype="float16")
    assert caught.value.code == "non-finite"
    assert "float16" in str(caught.value)
    assert hidden(tmp_path) == []
    assert not (tmp_path / "pack").exists()


def test_a_model_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    data = family(tmp_path, torch.float32)
    tensors = read(tmp_path / "pets")
    tensors["model.norm.weight"][3] = float("nan")
    shutil.rmtree(tmp_path / "pets")
    write(tmp_path / "pets", tensors)
    with pytest.raises(InputError) as caught:
        cuvee.pack(data, tmp_path / "pack")
    assert caught.value.code == "non-finite"


@pytest.mark.parametrize(
    "settings",
    [{"masks": "both"}, {"tall_lambda": -1.0}, {"tall_lambda": float("nan")}, {"tall_lambda": True}, {"dtype": "int8"}],
)
def test_bad_settings_are_refused_before_anything_is_opened(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        cuvee.pack(tmp_path / "no-such.yml", tmp_path / "pack", **settings)
    assert caught.value.code == "bad-argument"


def test_progress_goes_up_to_all_bytes(tmp_path: Path) -> None:
    told = []
    cuvee.pack(family(tmp_path), tmp_path / "pack", progress=told.append)
    assert told[-1].done == told[-1].total == sum(p.done - q.done for p, q in zip(told[1:], told)) + told[0].done


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["models/cars", "models/pets"], ["cars", "pets"]),
        (["a/final", "b/final"], ["a-final", "b-final"]),
        (["a/Final", "b/final"], ["a-Final", "b-final"]),
        (["a/b", "x/a/b", "a-b"], ["a-b", "a-b-2", "a-b-3"]),
        (["one.safetensors", "../..", "org/näme+x"], ["one", "task", "n-me-x"]),
        ([".", "./"], ["task", "task-2"]),
    ],
)
def test_tasks_are_called_after_their_models_and_never_alike(paths: list[str], names: list[str]) -> None:
    assert task_names([ModelRef(path) for path in paths]) == names


def test_models_of_one_name_become_tasks_of_two(tmp_path: Path) -> None:
    base = cast(decoder(0, vocabulary=21), torch.bfloat16)
    write(tmp_path / "base", base)
    for seed, run in enumerate(("a", "b"), 1):
        write(tmp_path / run / "final", expert(base, seed))
    models = [{"model": str(tmp_path / run / "final")} for run in ("a", "b")]
    data = {"merge_method": "emr", "base_model": str(tmp_path / "base"), "models": models}
    made = cuvee.pack(data, tmp_path / "pack")
    assert [task.name for task in made.facts.tasks] == ["a-final", "b-final"]


def test_a_tensor_called_as_a_mask_would_be_is_refused(tmp_path: Path) -> None:
    for seed, name in enumerate(("base", *TASKS)):
        write(tmp_path / name, {"w": torch.full((3,), float(seed)), "w@cars": torch.full((3,), float(seed))})
    with pytest.raises(CuveeError) as caught:
        cuvee.pack(recipe(tmp_path), tmp_path / "pack")
    assert caught.value.code == "not-yet"
    assert not (tmp_path / "pack").exists()
