"""A recipe written to another folder still finds its models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cuvee import methods
from cuvee.planning import referenced
from cuvee.planning.moving import moved
from cuvee.recipe import from_data, to_data

INNER = {"merge_method": "linear", "name": "both", "models": [{"model": "a", "parameters": {"weight": 1}}] * 1}
SLICES = [
    {"sources": [{"model": "models/a", "layer_range": [0, 2]}]},
    {"sources": [{"model": "/b", "layer_range": [0, 2]}]},
]


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ({"merge_method": "passthrough", "slices": SLICES}, ["../models/a", "/b"]),
        ({"merge_method": "linear", "models": [{"model": "models/a", "parameters": {"weight": 1}}]}, ["../models/a"]),
        ({"merge_method": "linear", "models": [{"model": "org/name", "parameters": {"weight": 1}}]}, ["org/name"]),
    ],
)
def test_paths_of_models_that_are_there_lead_on(data: dict[str, Any], wanted: list[str], tmp_path: Path) -> None:
    (tmp_path / "models" / "a").mkdir(parents=True)
    recipe = moved(from_data(data, methods.specs(), tmp_path), tmp_path / "out")
    assert [str(ref) for ref in referenced(recipe)] == wanted
    assert recipe.root == tmp_path / "out"


def test_a_recipe_within_a_recipe_keeps_its_folder(tmp_path: Path) -> None:
    (tmp_path / "models" / "a").mkdir(parents=True)
    inner = {**INNER, "folder": "models"}
    entry = {"model": inner, "parameters": {"weight": 1}}
    recipe = from_data({"merge_method": "linear", "models": [entry]}, methods.specs(), tmp_path)
    again = from_data(to_data(moved(recipe, tmp_path / "out")), methods.specs(), tmp_path / "out")
    (one,) = again.nested.values()
    assert one.root is not None
    assert (one.root / "a").resolve() == (tmp_path / "models" / "a").resolve()


def test_models_that_tokens_and_tokenizers_come_from_lead_on(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    tokens = {
        "x": {"source": "b"},
        "y": {"source": {"kind": "model_token", "model": "b", "token_id": 3}, "force": True},
        "z": {"source": {"kind": "zero"}},
    }
    data = {"merge_method": "linear", "models": [{"model": one, "parameters": {"weight": 1}} for one in "ab"]}
    long = from_data({**data, "tokenizer": {"source": "b", "tokens": tokens}}, methods.specs(), tmp_path)
    led = to_data(moved(long, tmp_path / "out"))["tokenizer"]
    assert led["source"] == led["tokens"]["x"]["source"] == led["tokens"]["y"]["source"]["model"] == "../b"
    assert led["tokens"]["z"] == tokens["z"]
    assert led["tokens"]["y"]["force"]
    short = from_data({**data, "tokenizer_source": "b"}, methods.specs(), tmp_path)
    assert to_data(moved(short, tmp_path / "out"))["tokenizer_source"] == "../b"
    for word in ("union", "base"):
        same = from_data({**data, "tokenizer_source": word}, methods.specs(), tmp_path)
        assert to_data(moved(same, tmp_path / "out"))["tokenizer_source"] == word
