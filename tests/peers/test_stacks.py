"""Stacks of one model's layers through both tools: the recipes that `cuvee stack` writes are mergekit's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import cuvee
from cuvee.recipe import to_data
from tests.peers.rival import Job, Outcome, Rival, ours
from tests.support.zoo import ZOO, Cellar

pytestmark = pytest.mark.peers

FORMS: Mapping[str, dict[str, Any]] = {
    "deeper": {"depth_upscale": 1},
    "expanded": {"expand": 2},
    "first": {"drop": "2-3"},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Cellar(tmp_path_factory.mktemp("stacks")).model("llama", 1, 4)


@pytest.fixture(scope="module")
def theirs(rival: Rival, source: Path) -> Mapping[str, Outcome]:
    return rival.merge([job(form, source) for form in FORMS])


def job(form: str, source: Path) -> Job:
    return Job(form, {**to_data(cuvee.stack_recipe(source, **FORMS[form]).recipe), "dtype": "float32"})


@pytest.mark.parametrize("form", FORMS)
def test_both_stack_the_same(form: str, source: Path, theirs: Mapping[str, Outcome], tmp_path: Path) -> None:
    mine, other = ours(job(form, source), tmp_path), theirs[form]
    assert mine.tensors.keys() == other.tensors.keys()
    assert [name for name, tensor in mine.tensors.items() if not torch.equal(tensor, other.tensors[name])] == []
    assert mine.config["num_hidden_layers"] == other.config["num_hidden_layers"]
    answers = [ZOO["llama"].logits(ZOO["llama"].load(outcome.folder)[0])[0] for outcome in (mine, other)]
    assert torch.equal(*answers)
