"""`tokenizer:` beside mergekit: the same tokens, and for every token the same rows, whatever numbers they have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

import cuvee
from tests.peers.rival import Job, Rival
from tests.support.tokenizers import CODE, ENGLISH, GERMAN, byte_level, save

pytestmark = pytest.mark.peers

NAMES = ("model.embed_tokens.weight", "lm_head.weight")
PARTS = (("a", ENGLISH, 320, 5), ("b", CODE, 330, 0), ("c", GERMAN, 310, 0))
WEIGHTS = (0.2, 0.3, 0.5)
ASKED: Mapping[str, Mapping[str, Any]] = {
    "union": {"tokenizer_source": "union"},
    "union-with-a-base": {"tokenizer_source": "union", "base_model": "c"},
    "base": {"tokenizer_source": "base", "base_model": "c"},
    "a-model": {"tokenizer_source": "b"},
    "padded": {"tokenizer": {"source": "union", "pad_to_multiple_of": 32}},
    "tokens": {
        "tokenizer": {
            "source": "union",
            "tokens": {
                "Ġthe": {"source": {"kind": "model_token", "model": "c", "token_id": 300}, "force": True},
                "Ġriver": {"source": {"kind": "model_token", "model": "b", "token": "e"}},
                "<|new|>": {"source": {"kind": "model_token", "model": "a", "token": "Ġriver"}},
            },
        }
    },
}


def in_folder(value: Any, root: Path) -> Any:
    """What is asked, with models by their paths."""
    if isinstance(value, Mapping):
        return {key: in_folder(one, root) for key, one in value.items()}
    return str(root / value) if value in [name for name, *_ in PARTS] else value


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tiny models, each with a tokenizer of its own."""
    root = tmp_path_factory.mktemp("vocabularies")
    for seed, (name, texts, size, pad) in enumerate(PARTS):
        torch.manual_seed(seed)
        tokenizer = byte_level(texts, size)
        sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = transformers.LlamaConfig(vocab_size=tokenizer.get_vocab_size() + pad, **sizes)
        transformers.LlamaForCausalLM(config).save_pretrained(root / name)
        save(root / name, tokenizer, eos_token="<|end|>")
    return root


def numbers(folder: Path) -> dict[str, int]:
    """Token → number."""
    data = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    return {**data["model"]["vocab"], **{token["content"]: token["id"] for token in data["added_tokens"]}}


def by_token(rows: Tensor, known: Mapping[str, int]) -> Tensor:
    """Rows in the order of the tokens' texts."""
    return rows[[known[token] for token in sorted(known)]]


def test_rows_are_those_of_mergekit_token_by_token(models: Path, rival: Rival, tmp_path: Path) -> None:
    entries = [
        {"model": str(models / name), "parameters": {"weight": weight}}
        for (name, *_), weight in zip(PARTS, WEIGHTS, strict=True)
    ]
    plain = {"merge_method": "linear", "models": entries, "dtype": "float32"}
    recipes = {name: {**plain, **in_folder(asked, models)} for name, asked in ASKED.items()}
    theirs = rival.merge([Job(name, recipe) for name, recipe in recipes.items()])
    for name, recipe in recipes.items():
        cuvee.merge(recipe, tmp_path / name)
        ours, others = load_file(tmp_path / name / "model.safetensors"), theirs[name].tensors
        known, other = numbers(tmp_path / name), numbers(theirs[name].folder)
        assert known.keys() == other.keys(), name
        for tensor in NAMES:
            mine, rows = ours[tensor], others[tensor]
            assert mine.shape == rows.shape, name
            torch.testing.assert_close(by_token(mine, known), by_token(rows, other), rtol=0, atol=1e-7)
            torch.testing.assert_close(mine[len(known) :], rows[len(other) :], rtol=0, atol=1e-7)
