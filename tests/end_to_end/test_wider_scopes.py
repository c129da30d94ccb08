"""Methods of rows, of matrices and with statistics, through whole merges: the same bytes however they are run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import cuvee
from cuvee import methods

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def statistics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Gram matrix for every linear map of the golden models, and a diagonal for every tensor."""
    folder = tmp_path_factory.mktemp("statistics")
    chance = torch.Generator().manual_seed(5)
    for name in "abc":
        tensors = load_file(GOLDEN / name / "model.safetensors")
        grams = {}
        for key, tensor in tensors.items():
            if "proj" in key:
                x = torch.randn(3 * tensor.shape[1], tensor.shape[1], generator=chance)
                grams[key] = x.T @ x / len(x)
        save_file(grams, folder / f"{name}.gram.safetensors")
        sure = {key: torch.rand(t.shape, generator=chance) + 0.01 for key, t in tensors.items()}
        save_file(sure, folder / f"{name}.fisher.safetensors")
    return folder


def recipe(method: str, statistics: Path, **more: Any) -> dict[str, Any]:
    spec = methods.get(method).spec
    own = {"weight": 0.7} if spec.param("weight") else {}
    own |= {"density": 0.6} if spec.param("density") else {}
    entries = []
    for name in "abc":
        entry: dict[str, Any] = {"model": str(GOLDEN / name)} | ({"parameters": own} if own else {})
        if spec.collected:
            entry["statistics"] = str(statistics / f"{name}.{spec.collected}.safetensors")
        entries.append(entry)
    base = {"base_model": str(GOLDEN / "base")} if spec.base == "required" else {}
    return {"merge_method": method, **base, "models": entries, **more}


def merged(asked: dict[str, Any], out: Path, **way: Any) -> Tensors:
    cuvee.merge(cuvee.recipe_from(asked), out, **way)
    return load_file(out / "model.safetensors")


WIDER = ("della", "della_linear", "wudi", "actmat", "regmean", "fisher")


@pytest.mark.parametrize("method", WIDER)
def test_the_bytes_are_the_same_however_it_is_run(method: str, statistics: Path, tmp_path: Path) -> None:
    asked = recipe(method, statistics)
    plain = merged(asked, tmp_path / "plain", runner="plain")
    for i, way in enumerate(({"threads": 1, "tile": 1024}, {"threads": 2, "tile": 4096}, {"threads": 3})):
        found = merged(asked, tmp_path / str(i), **way)
        assert all(torch.equal(found[name], plain[name]) for name in plain), way


@pytest.mark.parametrize("method", WIDER[2:])  # masks depend on the models' names, which a recipe writes as paths
def test_every_tensor_is_what_the_method_makes_of_it(method: str, statistics: Path, tmp_path: Path) -> None:
    found = merged(recipe(method, statistics), tmp_path / "out")
    spec = methods.get(method).spec
    models = [load_file(GOLDEN / name / "model.safetensors") for name in "abc"]
    base = load_file(GOLDEN / "base" / "model.safetensors")
    own = {name: load_file(statistics / f"{name}.{spec.collected}.safetensors") for name in "abc" if spec.collected}
    for name, tensor in found.items():
        beside = [own[m][name] for m in own if name in own[m]]
        call: dict[str, Any] = {"collected": beside} if beside else {}
        call |= {"base": base[name]} if spec.base == "required" else {}
        assert torch.equal(tensor, methods.get(method)([m[name] for m in models], weight=0.7, **call)), name


def test_the_record_names_what_was_collected_and_verifies(statistics: Path, tmp_path: Path) -> None:
    result = cuvee.merge(cuvee.recipe_from(recipe("regmean", statistics)), tmp_path / "out")
    record = json.loads((tmp_path / "out" / "cuvee.json").read_text())
    named = [entry["model"] for entry in record["inputs"]]
    assert [name.endswith("gram.safetensors") for name in named] == [False] * 3 + [True] * 3
    assert all(entry["tensors_read"] for entry in record["inputs"])
    assert result.lost == 0
    assert any("have no statistic (gram) and are averaged" in note for note in result.notes)
    assert cuvee.verify(tmp_path / "out").ok


def codes_of(asked: dict[str, Any], out: Path) -> tuple[str, ...]:
    with pytest.raises(cuvee.CuveeError) as caught:
        cuvee.merge(cuvee.recipe_from(asked), out)
    assert not out.exists()
    return caught.value.codes


def test_statistics_that_do_not_fit_are_told_by_name(statistics: Path, tmp_path: Path) -> None:
    asked = recipe("regmean", statistics)
    del asked["models"][1]["statistics"]
    assert codes_of(asked, tmp_path / "out") == ("missing-parameter",)
    asked = recipe("regmean", statistics)
    for entry, name in zip(asked["models"], "abc"):
        entry["statistics"] = str(statistics / f"{name}.fisher.safetensors")
    assert set(codes_of(asked, tmp_path / "out")) == {"bad-statistics"}
    asked = recipe("linear", statistics)
    asked["models"][0]["statistics"] = str(statistics / "a.gram.safetensors")
    assert codes_of(asked, tmp_path / "out") == ("ill-placed-parameter",)
    few = load_file(statistics / "a.gram.safetensors")
    few.pop(next(iter(few)))
    save_file(few, tmp_path / "few.safetensors")
    asked = recipe("regmean", statistics)
    asked["models"][0]["statistics"] = str(tmp_path / "few.safetensors")
    assert codes_of(asked, tmp_path / "out") == ("bad-statistics",)
    few[next(iter(few))][0, 0] = float("nan")
    save_file({**load_file(statistics / "a.gram.safetensors"), **few}, tmp_path / "nan.safetensors")
    asked["models"][0]["statistics"] = str(tmp_path / "nan.safetensors")
    assert codes_of(asked, tmp_path / "out") == ("non-finite",)


@pytest.mark.parametrize(("method", "kind"), [("regmean", "gram"), ("fisher", "fisher")])
@pytest.mark.parametrize("way", [{"threads": 1, "tile": 1024}, {"runner": "plain"}])
def test_means_of_squares_below_zero_are_refused(
    method: str, kind: str, way: dict[str, Any], statistics: Path, tmp_path: Path
) -> None:
    """A negative Fisher would count against its model, and weights that sum to nearly 0 would blow entries up."""
    wrong = load_file(statistics / f"a.{kind}.safetensors")
    name = next(name for name, values in wrong.items() if values.dim() == 2)
    wrong[name][1, 1] = -2.0
    save_file(wrong, tmp_path / "wrong.safetensors")
    asked = recipe(method, statistics)
    asked["models"][0]["statistics"] = str(tmp_path / "wrong.safetensors")
    with pytest.raises(cuvee.InputError, match=f"{re.escape(name)}.* must not be negative; found -2") as caught:
        cuvee.merge(cuvee.recipe_from(asked), tmp_path / "out", **way)
    assert caught.value.code == "bad-statistics"


@pytest.mark.parametrize("method", ["regmean", "fisher"])
def test_statistics_of_another_architecture_are_refused(method: str, statistics: Path, tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.ones(3, 3)}, tmp_path / "other.safetensors")
    asked = recipe(method, statistics)
    for entry in asked["models"]:
        entry["statistics"] = str(tmp_path / "other.safetensors")
    assert codes_of(asked, tmp_path / "out") == ("bad-statistics",) * 3


def test_a_window_that_leaves_the_range_is_refused(statistics: Path, tmp_path: Path) -> None:
    asked = recipe("della", statistics, parameters={"epsilon": 0.45})
    assert set(codes_of(asked, tmp_path / "out")) == {"out-of-range"}


def test_the_memory_bound_knows_whole_matrices(statistics: Path) -> None:
    from cuvee.planning import Workers
    from cuvee.planning.room import peak_memory

    small, large = Workers(1, 1 << 13), Workers(2, 1 << 13)
    by_rows, by_matrix = (cuvee.plan(recipe(name, statistics)) for name in ("median", "wudi"))
    assert peak_memory(by_matrix, small) > peak_memory(by_rows, small)
    assert peak_memory(by_matrix, large) > peak_memory(by_matrix, small)


def test_what_was_collected_is_merged_with(tmp_path: Path) -> None:
    """`cuvee collect` and `cuvee merge` understand each other, also of weights that stand as inputs by outputs."""
    from transformers import GPT2Config, GPT2LMHeadModel

    ids = [{"input_ids": [(7 * i + j) % 50 for j in range(12)]} for i in range(40)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, ids)) + "\n")
    for seed in range(2):
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=8, n_layer=2, n_head=2))
        model.save_pretrained(tmp_path / str(seed))
    for kind in ("gram", "fisher"):
        for seed in range(2):
            out = tmp_path / f"{seed}.{kind}.safetensors"
            cuvee.collect(tmp_path / str(seed), data=tmp_path / "data.jsonl", kind=kind, out=out)
    method = {"gram": "regmean", "fisher": "fisher"}
    for kind, name in method.items():
        entries = [
            {"model": str(tmp_path / str(i)), "statistics": str(tmp_path / f"{i}.{kind}.safetensors")} for i in range(2)
        ]
        found = merged({"merge_method": name, "models": entries}, tmp_path / name)
        models = [load_file(tmp_path / str(i) / "model.safetensors") for i in range(2)]
        key = next(key for key in found if key.endswith("h.0.mlp.c_fc.weight"))
        beside = [load_file(tmp_path / f"{i}.{kind}.safetensors")[key] for i in range(2)]
        if kind == "gram":  # inputs by outputs
            assert beside[0].shape == (models[0][key].shape[0],) * 2
            beside = [one[None] for one in beside]
        want = methods.get(name)([m[key] for m in models], collected=beside)
        assert torch.equal(found[key], want)
        mean = (models[0][key] + models[1][key]) / 2
        assert not torch.allclose(found[key], mean, atol=1e-4)
    for order in ("01", "10"):
        entries = [
            {"model": str(tmp_path / str(i)), "statistics": str(tmp_path / f"{number}.gram.safetensors")}
            for i, number in enumerate(order)
        ]
        made = cuvee.merge({"merge_method": "regmean", "models": entries}, tmp_path / order)
        told = [note for note in made.notes if "was collected of other weights than those of" in note]
        assert [Path(note.split()[-1]).name for note in told] == ([] if order == "01" else ["0", "1"])
        assert made.record["notes"] == list(made.notes)
    entries = [{"model": str(tmp_path / "0"), "statistics": str(tmp_path / "0.fisher.safetensors")}]
    assert set(codes_of({"merge_method": "regmean", "models": entries}, tmp_path / "x")) == {"bad-statistics"}
    as_model = {"merge_method": "linear", "models": [{"model": str(tmp_path / "0.gram.safetensors")}]}
    as_model["parameters"] = {"weight": 1}
    assert set(codes_of(as_model, tmp_path / "x")) == {"bad-statistics"}
