"""What a partial model lacks of its part, outside the layers, is told by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import cuvee
from tests.support.zoo import Cellar

LEFT_OUT = ("model.norm.weight", "model.embed_tokens.weight", "lm_head.weight")


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Cellar:
    return Cellar(tmp_path_factory.mktemp("cellar"))


def bare(source: Path, folder: Path) -> Path:
    """A copy of a text model that is layers and nothing else."""
    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if name not in LEFT_OUT}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    return folder


def told(whole: Path, small: Path, **placing: Any) -> list[str]:
    models = [{"model": str(whole)}, {"model": {"model": str(small), **placing}}]
    plan = cuvee.plan({"merge_method": "linear", "models": models, "parameters": {"weight": 0.5}})
    return [note for note in plan.notes if "has no say in" in note]


@pytest.mark.parametrize(
    "placing", [{"as": "language_model"}, {"rename": {"": "language_model."}}], ids=["as", "rename"]
)
def test_a_norm_and_a_vocabulary_that_are_missing_are_named(
    placing: dict[str, Any], cellar: Cellar, tmp_path: Path
) -> None:
    (note,) = told(cellar.model("llava", 1), bare(cellar.model("llama", 2), tmp_path / "bare"), **placing)
    found = LEFT_OUT if "as" in placing else LEFT_OUT[:2]  # a head may stand anywhere
    assert all(f"language_model.{name}" in note for name in found)
    assert "vision_tower" not in note


def test_what_the_recipe_leaves_out_is_not_missing(cellar: Cellar, tmp_path: Path) -> None:
    small = bare(cellar.model("llama", 2), tmp_path / "bare")
    (note,) = told(cellar.model("llava", 1), small, **{"as": "language_model", "without": "vocabulary"})
    assert "language_model.model.norm.weight" in note
    assert "embed_tokens" not in note


@pytest.mark.parametrize("kind", [("llava", "llama", "language_model"), ("gemma3", "gemma3 text", "language_model")])
def test_a_model_with_all_of_its_part_lacks_nothing(kind: tuple[str, str, str], cellar: Cellar) -> None:
    """One that ties its head lends its embedding, and has a say in the head too."""
    whole, small, part = kind
    assert told(cellar.model(whole, 1), cellar.model(small, 2), **{"as": part}) == []
