"""What a partial model says that does not fit: what has no place, what is there instead, and where in the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers

import cuvee
from cuvee.errors import Fault, InputError
from tests.support.zoo import Cellar


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Cellar:
    return Cellar(tmp_path_factory.mktemp("cellar"))


def fault_of(recipe: Any) -> Fault:
    with pytest.raises(InputError) as caught:
        cuvee.plan(recipe)
    (fault,) = caught.value.faults
    assert fault.code == "part-mismatch"
    return fault


def half(whole: Path, small: Path, **told: Any) -> dict[str, Any]:
    models = [{"model": str(whole)}, {"model": {"model": str(small), **told}}]
    return {"merge_method": "linear", "models": models, "parameters": {"weight": 0.5}}


def test_a_deeper_model_is_told_from_a_misspelt_part(cellar: Cellar) -> None:
    fault = fault_of(half(cellar.model("llava", 1), cellar.model("llama", 2, 4), **{"as": "language_model"}))
    assert "18 of its 38 tensors have no place there" in fault.message
    assert "there is no language_model.model.layers.2.input_layernorm.weight" in fault.message
    assert "nearest there is language_model.model.layers.1.input_layernorm.weight" in fault.message
    assert "it has 4 layers, and the part 2" in fault.message
    assert "did you mean" not in (fault.hint or "")


def test_a_model_that_fits_another_part_is_told_which(cellar: Cellar) -> None:
    fault = fault_of(half(cellar.model("llava", 1), cellar.model("llama", 2), **{"as": "vision_tower"}))
    assert "21 of its 21 tensors have no place there" not in fault.message
    assert "it fits `language_model`" in (fault.hint or "")


def test_names_of_another_kind_are_told_with_what_is_there(cellar: Cellar) -> None:
    fault = fault_of(half(cellar.model("llava", 1), cellar.model("gpt2", 2), **{"as": "language_model"}))
    assert "no layer of it begins there as its own do" in fault.message
    assert "transformer.h.0." in fault.message
    assert "language_model.model.layers.0." in fault.message


def test_shapes_that_differ_are_told(cellar: Cellar) -> None:
    told = {"part": "vision_tower", "as": "vision_tower"}
    fault = fault_of(half(cellar.model("llava", 1), cellar.model("gemma3", 2), **told))
    assert "2 tensors have another shape: " in fault.message
    assert "embeddings.patch_embedding.weight [32, 3, 4, 4]: vision_tower." in fault.message
    assert "did you mean" not in (fault.hint or "")


def test_one_is_one_tensor(cellar: Cellar, tmp_path: Path) -> None:
    config = transformers.AutoConfig.from_pretrained(cellar.model("llama", 2))
    transformers.LlamaForSequenceClassification(config).save_pretrained(tmp_path / "small")
    fault = fault_of(half(cellar.model("llava", 1), tmp_path / "small", **{"as": "language_model"}))
    assert "1 tensor has no place in" in fault.message
    assert "score.weight" in fault.message


WRONG = {
    "as": ("{model: small, as: languge_model}", "as", "languge_model", "did you mean `language_model`"),
    "part": ("{model: vlm, part: vison_tower, as: vision_tower}", "part", "vison_tower", "did you mean `vision_tower`"),
    "other": ("{model: small, as: vision_tower}", "as", "vision_tower", "it fits `language_model`"),
    "rename": ("{model: small, rename: {'': 'x.'}}", "rename", "have no place", "without: vocabulary"),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_fault_stands_at_its_key_in_the_file(
    case: str, cellar: Cellar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vlm").symlink_to(cellar.model("llava", 1))
    Path("small").symlink_to(cellar.model("llama", 2))
    model, key, found, hint = WRONG[case]
    text = f"merge_method: linear\nmodels:\n  - model: vlm\n  - model: {model}\nparameters: {{weight: 0.5}}\n"
    Path("recipe.yml").write_text(text, "utf-8")
    fault = fault_of("recipe.yml")
    assert found in fault.message
    assert hint in (fault.hint or "")
    assert fault.place is not None
    assert (fault.place.line, fault.place.column) == (4, text.splitlines()[3].index(f"{key}: ") + len(key) + 3)


def test_a_place_is_told_in_a_recipe_inside_too(cellar: Cellar, tmp_path: Path) -> None:
    small, vlm = cellar.model("llama", 2), cellar.model("llava", 1)
    lines = [
        "merge_method: linear",
        "parameters: {weight: 0.5}",
        "models:",
        f"  - model: {small}",
        "  - model:",
        "      merge_method: passthrough",
        "      models:",
        f"        - model: {{model: {vlm}, part: langage_model}}",
    ]
    (tmp_path / "recipe.yml").write_text("\n".join(lines), "utf-8")
    fault = fault_of(str(tmp_path / "recipe.yml"))
    assert fault.place is not None
    assert fault.place.line == 8
