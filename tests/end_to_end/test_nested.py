"""Recipes inside recipes: evaluated while they are read, the bytes are those of merging one after the other by hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import cuvee
from cuvee.errors import CuveeError, InputError, UsageError
from tests.support.command_line import call
from tests.support.merging import METHODS, decoder, files, hidden, recipe, write
from tests.support.peaks import MIB, peak_of, write_recipe, write_tunes
from tests.support.yard import Yard

SIZES = {"width": 48, "vocabulary": 150, "layers": 3}
CONFIG = {"model_type": "small", "num_hidden_layers": 3, "hidden_size": 48, "dtype": "float32"}
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    for seed, name in enumerate(("base", "a", "b")):
        dtype = torch.bfloat16 if name == "b" else torch.float32
        tensors = {key: value.to(dtype) for key, value in decoder(seed, **SIZES).items()}
        write(tmp_path / name, {**tensors, "counts": torch.arange(3)}, CONFIG, shards=2)
    return Yard(tmp_path)


def several(yard: Yard, *documents: dict[str, Any], name: str = "several.yml") -> Path:
    return yard.file("\n---\n".join(map(json.dumps, documents)), name)


def by_hand(yard: Yard, *documents: dict[str, Any], **options: Any) -> Path:
    """One merge after the other, each named one into the folder of its name."""
    for document in documents:
        out = yard.root / str(document.get("name", "by-hand"))
        cuvee.merge(yard.file(document, "one.yml"), out, **options)
    return out


def same(a: Path, b: Path) -> None:
    """The same tensors, bit for bit, and the same files but for recipe and record."""
    own = {"cuvee.json", "cuvee_recipe.yml"}
    first, second = ({n: raw for n, raw in files(folder).items() if n not in own} for folder in (a, b))
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


STACK = {
    "merge_method": "passthrough",
    "slices": [
        {"sources": [{"model": "a", "layer_range": [0, 2]}]},
        {"sources": [{"model": "base", "layer_range": [0, 1]}]},
    ],
}
INNER = {**{method: recipe(method, "base", "a", "b") for method in METHODS}, "a stack": STACK}
WAYS: list[dict[str, Any]] = [
    {"threads": 1, "tile": 1024},
    {"threads": 3, "tile": 2000, "kernels": "fused"},
    {"runner": "plain"},
]


@pytest.mark.parametrize(
    ("inner", "outer"),
    [*((inner, "linear") for inner in INNER), *(("ties", outer) for outer in METHODS[1:]), ("dare_ties", "dare_ties")],
)
def test_nested_is_staged_by_hand(yard, inner, outer) -> None:
    documents = {"name": "first", **INNER[inner]}, recipe(outer, "base", "first", "b")
    cuvee.merge(several(yard, *reversed(documents)), yard.out, seed=5, **WAYS[0 if "ties" in inner else 2])
    assert not (yard.root / "first").exists(), "nothing but the output is written"
    assert hidden(yard.root) == []
    same(yard.out, by_hand(yard, *documents, seed=5))


@pytest.mark.parametrize("dtype", [{"out_dtype": "float16"}, {"dtype": "bfloat16"}, {"out_dtype": "float64"}])
def test_an_inner_result_is_rounded_as_if_it_had_been_written(yard, dtype) -> None:
    documents = {"name": "first", **recipe("ties", "base", "a", "b", **dtype)}, recipe("linear", "", "first", "b")
    cuvee.merge(several(yard, *documents), yard.out)
    same(yard.out, by_hand(yard, *documents))


def chain(levels: int) -> list[dict[str, Any]]:
    """Recipes that are each other's base, and models of one another twice over."""
    made: list[dict[str, Any]] = []
    before = "base"
    for level in range(levels):
        made.append({"name": f"stage{level}", **recipe("dare_ties" if level % 2 else "ties", before, "a", "b")})
        before = f"stage{level}"
    return [*made, recipe("slerp", before, "stage0" if levels > 1 else "b", "")]


@pytest.mark.slow
def test_several_levels_with_any_number_of_threads_and_tiles(yard) -> None:
    documents = chain(3)
    expected = by_hand(yard, *documents)
    for document in documents[:-1]:
        (yard.root / document["name"]).rename(yard.root / f"away-{document['name']}")
    asked = several(yard, *documents)
    for number, way in enumerate(WAYS):
        out = yard.root / f"out{number}"
        cuvee.merge(asked, out, **way)
        same(out, expected)


@pytest.mark.parametrize("method", ["ties", "linear", "slerp"])
def test_golden_recipes_as_inner_ones(tmp_path, method) -> None:
    asked = min((GOLDEN / "recipes").glob(f"{method}*.yml"))
    data = {"merge_method": "passthrough", "models": [{"model": str(asked), "parameters": {"scale": 1.0}}]}
    yard = Yard(tmp_path)
    cuvee.merge(asked, tmp_path / "whole")
    cuvee.merge(yard.file(data), yard.out)
    assert files(yard.out)["model.safetensors"] == files(tmp_path / "whole")["model.safetensors"]


def test_an_inner_recipe_in_a_file_finds_its_models_where_it_stands(yard) -> None:
    (yard.root / "sub").mkdir()
    inner = recipe("dare_ties", "../base", "../a", "../b")
    yard.file(inner, "sub/inner.yml")
    cuvee.merge(yard.root / "sub" / "inner.yml", yard.root / "first")
    asked = yard.file(recipe("linear", "", "sub/inner.yml", "b"))
    result = cuvee.merge(asked, yard.out)
    same(yard.out, by_hand(yard, recipe("linear", "", "first", "b")))
    (yard.root / "again.yml").write_bytes((yard.out / "cuvee_recipe.yml").read_bytes())
    cuvee.merge(yard.root / "again.yml", yard.root / "again")
    assert files(yard.root / "again") == files(yard.out), "the recipe that is kept says it all"
    assert result.record["recipe"]["models"][0]["model"]["folder"] == "sub"


def test_the_record_names_every_leaf_and_the_output_verifies(yard) -> None:
    documents = {"name": "first", **recipe("ties", "base", "a", "b")}, recipe("linear", "", "first", "b")
    result = cuvee.merge(several(yard, *documents), yard.out)
    first, b = result.record["inputs"]
    direct = cuvee.merge(several(yard, documents[0]), yard.root / "direct").record
    assert first["inputs"] == direct["inputs"], "leaves are hashed as if they were merged by hand"
    assert first["content"] == direct["output"]["content"], "and the result as if it had been written"
    assert "inputs" not in b
    assert any("1306.01708" in c.get("arxiv", "") or "Yadav" in c["text"] for c in result.record["citations"])
    assert cuvee.verify(yard.out).ok


def test_the_same_merge_again_is_complete_and_a_changed_leaf_is_noticed(yard) -> None:
    documents = {"name": "first", **recipe("ties", "base", "a", "b")}, recipe("linear", "", "first", "b")
    asked = several(yard, *documents)
    cuvee.merge(asked, yard.out)
    assert cuvee.merge(asked, yard.out, resume=True).was_complete
    write(yard.root / "a2", {**decoder(9, **SIZES), "counts": torch.arange(3)}, CONFIG)
    (yard.root / "a").rename(yard.root / "old")
    (yard.root / "a2").rename(yard.root / "a")
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(asked, yard.out, resume=True)
    assert caught.value.code == "output-exists"


def test_an_interrupted_run_is_gone_on_with(yard) -> None:
    documents = {"name": "first", **recipe("dare_ties", "base", "a", "b")}, recipe("ties", "base", "first", "b")
    asked = several(yard, *documents)
    how: dict[str, Any] = {"tile": 1024, "threads": 1}

    def stop(progress: Any) -> None:
        if progress.done > progress.total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cuvee.merge(asked, yard.out, progress=stop, resume=True, **how)
    result = cuvee.merge(asked, yard.out, resume=True, **how)
    assert result.resumed_bytes > 0
    cuvee.merge(asked, yard.root / "whole", **how)
    assert files(yard.out) == files(yard.root / "whole")


def test_a_leaf_that_changed_since_the_interrupt_is_noticed(yard) -> None:
    documents = {"name": "first", **recipe("linear", "", "a", "b")}, recipe("linear", "", "first", "base")
    asked = several(yard, *documents)

    def stop(progress: Any) -> None:
        if progress.done > progress.total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cuvee.merge(asked, yard.out, progress=stop, resume=True, tile=1024, threads=1)
    leaf = next((yard.root / "a").glob("*.safetensors"))
    leaf.write_bytes(leaf.read_bytes()[:-1] + b"?")
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(asked, yard.out, resume=True, tile=1024, threads=1)
    assert caught.value.code == "resume-mismatch"


def test_integers_that_differ_inside_are_refused_as_if_merged_by_hand(yard) -> None:
    yard.model("c", {**decoder(4, **SIZES), "counts": torch.arange(3) + 1}, config=CONFIG)
    documents = {"name": "first", **recipe("linear", "", "a", "c")}, recipe("passthrough", "", "first", "")
    with pytest.raises(InputError, match="first: tensor counts") as caught:
        cuvee.merge(several(yard, *documents), yard.out)
    assert caught.value.code == "unmergeable-dtype"


def test_a_leaf_that_changes_meanwhile_is_an_error(yard) -> None:
    documents = {"name": "first", **recipe("linear", "", "a", "b")}, recipe("linear", "", "first", "base")
    leaf = next((yard.root / "a").glob("*.safetensors"))

    def touch(_: Any) -> None:
        os.utime(leaf)

    with pytest.raises(InputError, match="has changed") as caught:
        cuvee.merge(several(yard, *documents), yard.out, progress=touch)
    assert caught.value.code == "io-error"
    assert not yard.out.exists()


def test_intermediates_are_kept_where_asked_and_taken_as_they_are(yard) -> None:
    asked = several(yard, *chain(2))
    result = cuvee.merge(asked, yard.out, keep_intermediates=yard.root / "kept")
    cuvee.merge(asked, yard.root / "virtual")
    same(yard.out, yard.root / "virtual")
    assert sorted(p.name for p in (yard.root / "kept").iterdir()) == ["stage0", "stage1"]
    assert cuvee.verify(yard.root / "kept" / "stage1").ok
    before = (yard.root / "kept" / "stage1").stat().st_ino
    cuvee.merge(asked, yard.root / "more", keep_intermediates=yard.root / "kept")
    assert (yard.root / "kept" / "stage1").stat().st_ino == before, "not made again"
    assert result.record["recipe"] == json.loads((yard.root / "virtual" / "cuvee.json").read_text())["recipe"]


def test_an_edited_recipe_does_not_take_an_old_intermediate(yard) -> None:
    asked = several(yard, *chain(1))
    cuvee.merge(asked, yard.out, keep_intermediates=yard.root / "kept")
    edited = chain(1)
    edited[0]["models"][0]["parameters"]["weight"] = 0.1
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(several(yard, *edited), yard.root / "new", keep_intermediates=yard.root / "kept")
    assert caught.value.code == "output-exists"


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "."])
def test_an_intermediate_stays_in_its_folder(yard, name) -> None:
    documents = {"name": name, **recipe("linear", "", "a", "b")}, recipe("linear", "", name, "b")
    with pytest.raises(UsageError, match="cannot be the name of a folder"):
        cuvee.merge(several(yard, *documents), yard.out, keep_intermediates=yard.root / "kept")
    assert not (yard.root / "kept").exists()


def test_ray_is_refused_before_anything_is_begun(yard) -> None:
    documents = {"name": "first", **recipe("linear", "", "a", "b")}, recipe("linear", "", "first", "b")
    with pytest.raises(UsageError, match="found `first`") as caught:
        cuvee.merge(several(yard, *documents), yard.out, executor="ray")
    assert "--keep-intermediates" in str(caught.value)


def test_models_that_do_not_fit_inside_are_told_with_the_results_name(yard) -> None:
    yard.model("c", decoder(0, width=40, vocabulary=150, layers=3), config=CONFIG)
    documents = {"name": "first", **recipe("linear", "", "a", "c")}, recipe("linear", "", "first", "b")
    with pytest.raises(InputError, match="first: tensor"):
        cuvee.plan(several(yard, *documents))


def test_models_that_are_not_there_are_told_at_once(yard) -> None:
    inner = {"name": "first", **recipe("linear", "", "./x", "./y")}
    with pytest.raises(InputError) as caught:
        cuvee.plan(several(yard, inner, recipe("linear", "", "first", "./z")))
    assert [fault.subject for fault in caught.value.faults] == ["./x", "./y", "./z"]


def test_the_inner_folder_is_not_replaced_by_the_output(yard) -> None:
    documents = {"name": "first", **recipe("linear", "", "a", "b")}, recipe("linear", "", "first", "base")
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(several(yard, *documents), yard.root / "a", overwrite=True)
    assert caught.value.code == "unsafe-overwrite"


def test_plan_and_validate_show_the_stages(yard, capsys) -> None:
    asked = several(yard, *chain(2))
    found = call(capsys, "plan", asked, "--json").json
    assert [(s["name"], s["depth"], s["method"]) for s in found["stages"]] == [
        ("stage0", 2, "ties"),
        ("stage1", 1, "dare_ties"),
        ("stage0", 1, "ties"),
    ]
    assert found["stages"][0]["counts"]["merged"] == 12
    leaves = sum(file.stat().st_size for n in ("base", "a", "b") for file in (yard.root / n).glob("*.safetensors"))
    assert found["cost"]["read"] > leaves, "the models of every stage are read"
    text = call(capsys, "plan", asked).out
    assert "Evaluated while they are read" in text
    checked = call(capsys, "validate", asked, "--json").json
    assert {stage["name"] for stage in checked["stages"]} == {"stage0", "stage1"}
    assert call(capsys, "validate", several(yard, *chain(1)[:1])).out.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [("--threads", "2"), ("--threads", "8", "--tile", "8192"), ("--max-memory", str(800 * MIB))]
)
def test_the_peak_is_not_above_the_estimate(tmp_path, capsys, options) -> None:
    shapes = {"model.embed_tokens.weight": (4096, 1024), "lm_head.weight": (4096, 1024), "model.norm.weight": (1024,)}
    tunes = write_tunes(tmp_path, shapes, torch.bfloat16)
    write_recipe(tmp_path / "inner.yml", "dare_ties", tunes)
    asked = write_recipe(tmp_path / "outer.yml", "ties", [tunes[0], tmp_path / "inner.yml", *tunes[2:]])
    estimate = call(capsys, "plan", asked, "--json", *options).json["cost"]["memory"]
    peak = peak_of("merge", asked, "-o", tmp_path / "out", "--kernels", "plain", *options)
    assert peak <= estimate < 4 * peak, f"{peak / MIB:.0f} MiB were taken, {estimate / MIB:.0f} estimated"
