"""Partial merges on real checkpoints of transformers: one tower of a model with another model, and a tower alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

import cuvee
from cuvee import methods
from cuvee.errors import CuveeError, InputError, RecipeError
from cuvee.recipe import from_data, recipe_hash, to_data, to_yaml
from tests.support.command_line import call
from tests.support.zoo import ZOO, Cellar

PAIRS = {
    "llava": ("llama", "language_model", "language_model.", ""),
    "qwen2-vl": ("qwen2", "language_model", "", ""),
    "qwen2.5-vl": ("qwen2", "language_model", "", ""),
    "gemma3": ("gemma3 text", "language_model", "language_model.", ""),
    "bert classifier": ("bert", "bert", "bert.", ""),
}
"""A model, one that stands for a part of it, the part, and the prefix that the latter's names get."""


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Cellar:
    return Cellar(tmp_path_factory.mktemp("cellar"))


def tensors(folder: Path) -> Mapping[str, Tensor]:
    return load_file(folder / "model.safetensors")


def half(whole: Path, small: Path, **told: Any) -> dict[str, Any]:
    models = [{"model": str(whole)}, {"model": {"model": str(small), **told}}]
    return {"merge_method": "linear", "models": models, "parameters": {"weight": 0.5}}


def taken(model: Path, part: str) -> dict[str, Any]:
    return {"merge_method": "passthrough", "models": [{"model": {"model": str(model), "part": part}}]}


def notes(folder: Path) -> str:
    return "\n".join(json.loads((folder / "cuvee.json").read_text("utf-8"))["notes"])


def loads(kind: str, folder: Path) -> None:
    model, account = ZOO[kind].load(folder)
    assert not any(account.values()), account
    assert all(output.isfinite().all() for output in ZOO[kind].logits(model))


@pytest.mark.parametrize("kind", PAIRS)
def test_a_tower_is_merged_as_the_towers_are_and_the_rest_is_the_whole_models(
    kind: str, cellar: Cellar, tmp_path: Path
) -> None:
    other, part, prefix, _ = PAIRS[kind]
    whole, small = cellar.model(kind, 1), cellar.model(other, 2)
    cuvee.merge(half(whole, small, **{"as": part}), tmp_path / "out")
    a, b, out = tensors(whole), tensors(small), tensors(tmp_path / "out")
    assert out.keys() == a.keys()
    for name, found in out.items():
        own = b.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if name == "lm_head.weight":  # the small model ties its head
            own = b["model.embed_tokens.weight"]
        wanted = a[name] if own is None else 0.5 * a[name] + 0.5 * own
        assert torch.equal(found, wanted) if own is None else torch.allclose(found, wanted, atol=1e-7), name
    loads(kind, tmp_path / "out")
    assert "copied from" in notes(tmp_path / "out")


def test_the_merged_tower_is_the_merge_of_the_towers(cellar: Cellar, tmp_path: Path) -> None:
    vlm, text = cellar.model("llava", 1), cellar.model("llama", 2)
    cuvee.merge(half(vlm, text, **{"as": "language_model"}), tmp_path / "out")
    cuvee.merge(taken(tmp_path / "out", "language_model"), tmp_path / "tower")
    cuvee.merge(taken(vlm, "language_model"), tmp_path / "before")
    cuvee.merge(half(tmp_path / "before", text), tmp_path / "plain")
    tower, plain = tensors(tmp_path / "tower"), tensors(tmp_path / "plain")
    assert tower.keys() == plain.keys()
    assert all(torch.equal(tower[name], plain[name]) for name in plain)


def test_a_merged_vlm_answers_text_alone(cellar: Cellar, tmp_path: Path) -> None:
    cuvee.merge(half(cellar.model("llava", 1), cellar.model("llama", 2), **{"as": "language_model"}), tmp_path / "out")
    model, _ = ZOO["llava"].load(tmp_path / "out")
    logits = model(input_ids=torch.tensor([[1, 5, 9]])).logits
    cuvee.merge(taken(tmp_path / "out", "language_model"), tmp_path / "tower")
    alone = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "tower")
    assert torch.allclose(logits, alone(input_ids=torch.tensor([[1, 5, 9]])).logits, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "alone"), [("llava", "llama"), ("qwen2-vl", "qwen2"), ("qwen2.5-vl", "qwen2"), ("gemma3", "gemma3 text")]
)
def test_a_text_tower_is_a_model_of_its_own(kind: str, alone: str, cellar: Cellar, tmp_path: Path) -> None:
    cuvee.merge(taken(cellar.model(kind, 1), "language_model"), tmp_path / "tower")
    loads(alone, tmp_path / "tower")
    model, account = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "tower", output_loading_info=True)
    assert not any(account.values())
    whole, _ = ZOO[kind].load(cellar.model(kind, 1))
    words = torch.tensor([[1, 5, 9]])
    assert torch.allclose(model(input_ids=words).logits, whole(input_ids=words).logits, atol=1e-5)


@pytest.mark.parametrize(
    ("part", "generates"), [("language_model", True), ("text_model", True), ("vision_tower", False)]
)
def test_how_text_is_generated_is_no_matter_of_a_vision_tower(
    part: str, generates: bool, cellar: Cellar, tmp_path: Path
) -> None:
    cuvee.merge(taken(cellar.model("llava", 1), part), tmp_path / "tower")
    assert (tmp_path / "tower" / "generation_config.json").exists() == generates
    assert ("generation_config.json not carried over" in notes(tmp_path / "tower")) == (not generates)


@pytest.mark.parametrize(("kind", "part"), [("llava", "language_model"), ("gemma3", "language_model")])
def test_there_and_back_is_the_model(kind: str, part: str, cellar: Cellar, tmp_path: Path) -> None:
    whole = cellar.model(kind, 1)
    cuvee.merge(taken(whole, part), tmp_path / "tower")
    cuvee.merge(half(whole, tmp_path / "tower", **{"as": part}), tmp_path / "out")
    before, after = tensors(whole), tensors(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("kind", PAIRS)
def test_explicit_is_automatic(kind: str, cellar: Cellar, tmp_path: Path) -> None:
    other, part, prefix, cut = PAIRS[kind]
    whole, small = cellar.model(kind, 1), cellar.model(other, 2)
    cuvee.merge(half(whole, small, **{"as": part}), tmp_path / "found")
    cuvee.merge(half(whole, small, rename={cut: prefix}), tmp_path / "told")
    found, told = tensors(tmp_path / "found"), tensors(tmp_path / "told")
    assert all(torch.equal(found[name], told[name]) for name in found)


def test_the_vision_tower_of_two(cellar: Cellar, tmp_path: Path) -> None:
    first, second = cellar.model("clip", 1), cellar.model("clip", 2)
    cuvee.merge(half(first, second, part="vision_model", **{"as": "vision_model"}), tmp_path / "out")
    a, b, out = tensors(first), tensors(second), tensors(tmp_path / "out")
    for name, found in out.items():
        if name.startswith("vision_model."):
            assert torch.allclose(found, 0.5 * a[name] + 0.5 * b[name], atol=1e-7), name
        else:
            assert torch.equal(found, a[name]), name
    loads("clip", tmp_path / "out")


def test_the_vocabulary_of_the_vlm_is_kept(cellar: Cellar, tmp_path: Path) -> None:
    vlm = cellar.model("llava", 1)
    config = transformers.AutoConfig.from_pretrained(cellar.model("llama", 2))
    config.vocab_size = 70
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "small")
    with pytest.raises(InputError) as caught:
        cuvee.merge(half(vlm, tmp_path / "small", **{"as": "language_model"}), tmp_path / "no")
    assert "without: vocabulary" in str(caught.value)
    assert not (tmp_path / "no").exists()
    recipe = half(vlm, tmp_path / "small", **{"as": "language_model", "without": "vocabulary"})
    cuvee.merge(recipe, tmp_path / "out")
    before, out = tensors(vlm), tensors(tmp_path / "out")
    for name in ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"):
        assert torch.equal(before[name], out[name])
    assert not torch.equal(before["language_model.model.norm.weight"], out["language_model.model.norm.weight"])
    loads("llava", tmp_path / "out")


def skill(cellar: Cellar) -> dict[str, Any]:
    """A VLM, plus what TIES makes of two text models, minus their base."""
    llama = [str(cellar.model("llama", seed)) for seed in (2, 3, 4)]
    ties = {
        "merge_method": "ties",
        "base_model": llama[0],
        "models": [{"model": llama[1]}, {"model": llama[2]}],
        "parameters": {"weight": 0.5, "density": 0.5},
    }
    return {
        "merge_method": "linear",
        "parameters": {"normalize": False},
        "models": [
            {"model": str(cellar.model("llava", 1)), "parameters": {"weight": 1}},
            {"model": {"model": ties, "as": "language_model"}, "parameters": {"weight": 1}},
            {"model": {"model": llama[0], "as": "language_model"}, "parameters": {"weight": -1}},
        ],
    }


def test_a_skill_of_text_models_is_added_to_the_tower(cellar: Cellar, tmp_path: Path) -> None:
    recipe = skill(cellar)
    cuvee.merge(recipe, tmp_path / "out")
    cuvee.merge(recipe["models"][1]["model"]["model"], tmp_path / "text")
    vlm, base = tensors(cellar.model("llava", 1)), tensors(cellar.model("llama", 2))
    text, out = tensors(tmp_path / "text"), tensors(tmp_path / "out")
    for name, found in out.items():
        own = name.removeprefix("language_model.")
        wanted = vlm[name] + text[own] - base[own] if own in base else vlm[name]
        assert torch.allclose(found, wanted, atol=1e-6), name
    loads("llava", tmp_path / "out")
    record = json.loads((tmp_path / "out" / "cuvee.json").read_text("utf-8"))
    assert any(len(one.get("inputs", ())) == 3 for one in record["inputs"])


def test_recipes_are_written_as_they_are_read(cellar: Cellar) -> None:
    specs = methods.specs()
    for data in (skill(cellar), half(Path("a"), Path("b"), rename={"model.": "x."}), taken(Path("a"), "vision")):
        recipe = from_data(data, specs)
        again = from_data(to_data(recipe), specs)
        assert again == recipe
        assert recipe_hash(again) == recipe_hash(recipe)
        assert to_yaml(again) == to_yaml(recipe)


def test_a_part_changes_the_hash() -> None:
    specs = methods.specs()
    one, other = (from_data(half(Path("a"), Path("b"), **{"as": part}), specs) for part in ("x", "y"))
    assert recipe_hash(one) != recipe_hash(other)


BAD = {
    "no such part": (("llava", 2), ("llama", 2), {"as": "langage_model"}, "did you mean `language_model`"),
    "another part": (("llava", 2), ("llama", 2), {"as": "vision_tower"}, "fits no part `vision_tower`"),
    "deeper": (("llava", 2), ("llama", 3), {"as": "language_model"}, "there is no language_model.model.layers.2."),
    "shallower": (("llava", 3), ("llama", 2), {"as": "language_model"}, "9 tensors of the same layers"),
    "another kind": (("llava", 2), ("gpt2", 2), {"as": "language_model"}, "fits no part"),
    "no prefix": (("llava", 2), ("llama", 2), {"rename": {"nothing.": "x."}}, "no prefix of `rename` fits it"),
    "no place": (("llava", 2), ("llama", 2), {"rename": {"": "x."}}, "there is no x."),
    "no part to take": (("llava", 2), ("llama", 2), {"part": "visoin_tower"}, "no part called `visoin_tower`"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_named_before_anything_is_written(case: str, cellar: Cellar, tmp_path: Path) -> None:
    (kind, depth), (other, layers), told, message = BAD[case]
    recipe = half(cellar.model(kind, 1, depth), cellar.model(other, 2, layers), **told)
    with pytest.raises(InputError) as caught:
        cuvee.merge(recipe, tmp_path / "out")
    assert {fault.code for fault in caught.value.faults} == {"part-mismatch"}
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_another_shape_is_named(cellar: Cellar, tmp_path: Path) -> None:
    config = transformers.AutoConfig.from_pretrained(cellar.model("llama", 2))
    config.intermediate_size = 40
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "narrow")
    with pytest.raises(InputError, match=r"gate_proj.weight \[40, 32\]: language_model\S+ is \[48, 32\]"):
        cuvee.merge(half(cellar.model("llava", 1), tmp_path / "narrow", **{"as": "language_model"}), tmp_path / "out")


def test_a_base_must_be_whole_and_two_ways_are_one_too_many(cellar: Cellar, tmp_path: Path) -> None:
    vlm, text = str(cellar.model("llava", 1)), str(cellar.model("llama", 2))
    partial = {"model": text, "as": "language_model"}
    data = {"merge_method": "task_arithmetic", "base_model": partial, "models": [{"model": vlm}]}
    with pytest.raises(RecipeError, match="the base must be a whole model"):
        cuvee.merge({**data, "parameters": {"weight": 1}}, tmp_path / "out")
    with pytest.raises(RecipeError, match="`as` or `rename`, found both"):
        cuvee.merge(half(Path(vlm), Path(text), **{"as": "x", "rename": {"": "y."}}), tmp_path / "out")
    with pytest.raises(CuveeError, match="no whole model"):
        cuvee.merge({"merge_method": "passthrough", "models": [{"model": partial}]}, tmp_path / "out")


PAGE = (Path(__file__).parents[2] / "docs" / "partial.md").read_text("utf-8")
RECIPES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def yard(cellar: Cellar) -> Path:
    """The folders that the page's recipes name."""
    config = transformers.AutoConfig.from_pretrained(cellar.model("llama", 2))
    config.vocab_size = 70
    transformers.LlamaForCausalLM(config).save_pretrained(cellar.root / "small-vocabulary")
    names = {"vlm": ("llava", 1), "other-vlm": ("llava", 2), "text": ("llama", 2), "maths": ("llama", 3)}
    for name, (kind, seed) in {**names, "code": ("llama", 4)}.items():
        (cellar.root / name).symlink_to(cellar.model(kind, seed))
    return cellar.root


def test_the_page_has_its_recipes() -> None:
    assert len(RECIPES) == 6


@pytest.mark.parametrize("number", range(6))
def test_the_page_does_what_it_says(number: int, yard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(yard)
    recipe = yard / f"recipe-{number}.yml"
    recipe.write_text(RECIPES[number], "utf-8")
    cuvee.merge(str(recipe), tmp_path / "out")
    loads("llama" if "passthrough" in RECIPES[number] else "llava", tmp_path / "out")
    assert cuvee.verify(tmp_path / "out").ok


def test_the_command_line_plans_a_partial_merge(
    yard: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(yard)
    Path("plan.yml").write_text(RECIPES[0], "utf-8")
    done = call(capsys, "plan", "plan.yml")
    assert done.code == 0
    assert "21 tensors merged, 43 copied from vlm: multi_modal_projector, vision_tower" in " ".join(done.out.split())


def test_a_partial_merge_goes_on_after_an_interrupt(
    yard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(yard)
    Path("resume.yml").write_text(RECIPES[3], "utf-8")
    cuvee.merge("resume.yml", tmp_path / "whole", threads=1)
    seen = 0

    def stop(progress: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cuvee.merge("resume.yml", tmp_path / "out", threads=1, resume=True, progress=stop)
    cuvee.merge("resume.yml", tmp_path / "out", threads=1, resume=True)
    whole, out = tensors(tmp_path / "whole"), tensors(tmp_path / "out")
    assert all(torch.equal(whole[name], out[name]) for name in whole)


def test_a_misspelt_key_is_led_to_the_key_as_one_writes_it() -> None:
    with pytest.raises(RecipeError, match="did you mean `as`"):
        cuvee.plan(half(Path("a"), Path("b"), ass="language_model"))


def test_the_parts_of_a_model_whose_text_tower_has_no_prefix(cellar: Cellar) -> None:
    with pytest.raises(InputError, match="whose parts are language_model, visual"):
        cuvee.plan(half(cellar.model("qwen2-vl", 1), cellar.model("qwen2", 2), **{"as": "langage_model"}))


def test_partial_models_stand_for_nothing_in_ones_own_rest(cellar: Cellar, tmp_path: Path) -> None:
    """A delta method adds the tower's change, and leaves what is outside as it is."""
    vlm, text = cellar.model("llava", 1), cellar.model("llama", 2)
    recipe = half(vlm, text, **{"as": "language_model"})
    models, base = recipe["models"][1:], str(vlm)
    cuvee.merge({**recipe, "merge_method": "task_arithmetic", "base_model": base, "models": models}, tmp_path / "out")
    before, out = tensors(vlm), tensors(tmp_path / "out")
    assert all(torch.equal(out[name], before[name]) for name in out if not name.startswith("language_model."))
    assert not torch.equal(*(one["language_model.model.norm.weight"] for one in (before, out)))
