"""What the calls that merge, extract and apply adapters take: mistakes are told as such, all at once, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cuvee import api
from cuvee.errors import UsageError
from tests.support.adapters import load_base, train_adapter, unwarned, write_base

SETTINGS: dict[str, Any] = {"r": 2, "target_modules": ["q_proj"]}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, adapters `a` and `b` of it, and a model that was tuned from it in two kinds of layers."""
    folder = tmp_path_factory.mktemp("arguments")
    base = write_base("llama", folder / "base")
    for seed, name in enumerate("ab", 1):
        train_adapter(base, folder / name, seed=seed, **SETTINGS)
    model = load_base(base)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("q_proj.weight", "v_proj.weight")):
                parameter.add_(torch.randn_like(parameter) * 0.05)
    with unwarned():
        model.save_pretrained(str(folder / "tuned"))
    return folder


@pytest.mark.parametrize(
    ("given", "subjects"),
    [
        ({"weights": 0.5}, ["weights"]),
        ({"weights": [1, "x"]}, ["weights"]),
        ({"weights": "12"}, ["weights"]),
        ({"method": None}, ["method"]),
        ({"method": "svd", "rank": "3"}, ["rank"]),
        ({"method": "svd", "rank": 2.5}, ["rank"]),
        ({"method": "svd", "energy": "a"}, ["energy"]),
        ({"method": "svd", "energy": True}, ["energy"]),
        ({"method": "knots", "inner": 3}, ["inner"]),
        ({"weights": 1, "rank": "2", "energy": [], "seed": "x"}, ["rank", "energy", "seed", "weights"]),
    ],
)
def test_arguments_of_merges_are_checked(
    yard: Path, tmp_path: Path, given: dict[str, Any], subjects: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        api.merge_adapters([yard / "a", yard / "b"], tmp_path / "out", **given)
    assert [fault.subject for fault in caught.value.faults] == subjects
    assert set(caught.value.codes) == {"bad-argument"}


def test_adapters_must_be_several_paths(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`adapters` must be"):
        api.merge_adapters(5, tmp_path / "out")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "subjects"),
    [
        ({"rank": "4"}, ["rank"]),
        ({"energy": "4"}, ["energy"]),
        ({"rank": 4, "only": 3}, ["only"]),
        ({"rank": 4, "leave": ["x", 3]}, ["leave"]),
        ({"rank": 4, "seed": "x", "embed_lora": "no", "save_bias": 1}, ["seed", "embed_lora", "save_bias"]),
        ({"rank": 0}, ["rank"]),
    ],
)
def test_arguments_of_extractions_are_checked(
    yard: Path, tmp_path: Path, given: dict[str, Any], subjects: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        api.extract_adapter(yard / "tuned", yard / "base", tmp_path / "out", **given)
    assert [fault.subject for fault in caught.value.faults] == subjects


def test_a_text_is_one_pattern(yard: Path, tmp_path: Path) -> None:
    found = api.extract_adapter(yard / "tuned", yard / "base", tmp_path / "out", rank=2, only="q_proj")
    assert {one.module.rpartition(".")[2] for one in found.modules} == {"q_proj"}
    found = api.extract_adapter(yard / "tuned", yard / "base", tmp_path / "two", rank=2, leave="q_proj")
    assert {one.module.rpartition(".")[2] for one in found.modules} == {"v_proj"}
    record = json.loads((tmp_path / "out" / "cuvee.json").read_text())
    assert record["settings"]["only"] == ["q_proj"]
