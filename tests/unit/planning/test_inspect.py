"""What a model is, from its headers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cuvee.checkpoint import MemoryReader
from cuvee.planning.inspect import Inspection, inspect_reader
from tests.support.plans import stack, tensors


def look(model: dict[str, Tensor], config: dict[str, Any] | None = None) -> Inspection:
    return inspect_reader(MemoryReader("a", model, config))


def test_totals_are_those_of_the_headers() -> None:
    model = {"w": torch.zeros(3, 4), "b": torch.zeros(5).bfloat16(), "i": torch.tensor(1), "e": torch.zeros(0, 9)}
    found = look(model)
    assert (found.label, found.tensors, found.parameters, found.nbytes) == ("a", 4, 18, 48 + 10 + 8)
    assert list(found.dtypes.items()) == [("float32", 12), ("bfloat16", 5), ("int64", 1)]


def test_parameters_are_told_by_role() -> None:
    model = stack(3) | {
        "model.embed_tokens.weight": torch.zeros(10, 2),
        "lm_head.weight": torch.zeros(10, 2),
        "model.norm.weight": torch.zeros(4),
        "projector.0.weight": torch.zeros(7),
        "w": torch.zeros(1),
    }
    found = look(model, {"num_hidden_layers": 3})
    assert found.roles == {"embedding": 20, "head": 20, "other": 8, "layer": 6, "norm": 4}
    assert found.layers == {"model.layers": 3}
    assert sum(found.roles.values()) == found.parameters


@pytest.mark.parametrize(
    ("config", "architecture", "kind", "tied"),
    [
        (None, None, None, False),
        ({}, None, None, False),
        ({"architectures": ["Llama"], "model_type": "llama"}, "Llama", "llama", False),
        ({"architectures": [], "tie_word_embeddings": True}, None, None, True),
        ({"architectures": None}, None, None, False),
    ],
)
def test_the_configuration_names_the_class(
    config: dict[str, Any] | None, architecture: str | None, kind: str | None, tied: bool
) -> None:
    found = look(stack(2), config)
    assert (found.architecture, found.model_type, found.tied) == (architecture, kind, tied)


def test_the_vocabulary_is_the_rows_of_the_embedding() -> None:
    tables = {"embed.position.weight": torch.zeros(50, 2), "embed_tokens.weight": torch.zeros(30, 2)}
    assert look(tables, {"vocab_size": 30}).vocabulary == 30
    assert look(tables, {"vocab_size": 31}).vocabulary == 50
    assert look(tensors("w", "embed.norm.weight")).vocabulary is None


def test_a_model_of_nothing_is_told_as_such() -> None:
    found = look({})
    assert (found.tensors, found.parameters, found.layers, found.vocabulary) == (0, 0, {}, None)


@pytest.mark.parametrize("value", [5, {"a": 1}, "LlamaForCausalLM", [7], True])
def test_architectures_that_are_no_list_of_names_name_none(value: object) -> None:
    assert look(stack(1), {"architectures": value}).architecture in (None, "LlamaForCausalLM")
