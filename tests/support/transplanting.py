"""Two tiny models with tokenizers of other kinds, whose tokens and rows are known, and so what a transplant makes.

The model's tokenizer is a byte-level BPE, the donor's a Unigram with blanks as `▁`. Both have ` red`, ` blue`, ` green`
and the letters; the donor alone has ` purple`, ` violet` and a user token, and its special tokens have other names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from cuvee.families import pretrained

LETTERS = list("bdeglnoprtuv")
SHARED = ["red", "blue", "green"]
NEW = ["purple", "violet"]
MODEL_TOKENS = ["<s>", "</s>", "<pad>", *LETTERS, "Ġ", *[f"Ġ{word}" for word in SHARED]]
DONOR_TOKENS = ["<unk>", "[BEGIN]", "[END]", "[PAD]", *[f"▁{w}" for w in (*NEW, *SHARED)], "▁", *LETTERS, "<|user|>"]
MODEL_ROLES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
DONOR_ROLES = {"bos_token": "[BEGIN]", "eos_token": "[END]", "pad_token": "[PAD]", "unk_token": "<unk>"}


def byte_level(tokens: Sequence[str] = MODEL_TOKENS, roles: Mapping[str, str] = MODEL_ROLES) -> Any:
    """A BPE without merges whose words are found whole."""
    bpe = tokenizers.models.BPE({token: i for i, token in enumerate(tokens)}, [], ignore_merges=True)
    made = tokenizers.Tokenizer(bpe)
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **roles)


def unigram(tokens: Sequence[str] = DONOR_TOKENS, roles: Mapping[str, str] = DONOR_ROLES) -> Any:
    """A Unigram in which longer tokens are likelier."""
    scores = [(token, -10.0 + len(token)) for token in tokens if token != "<|user|>"]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(scores, unk_id=0))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="never")
    made.decoder = tokenizers.decoders.Metaspace(prepend_scheme="never")
    if "<|user|>" in tokens:
        made.add_special_tokens(["<|user|>"])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **roles)


def model_of(vocabulary: int, *, width: int = 8, seed: int = 0, **settings: Any) -> Any:
    """A Llama as its seed draws it."""
    torch.manual_seed(seed)
    config = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        **settings,
    }
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))


def write(folder: Path, model: Any, tokenizer: Any) -> Path:
    """A model's folder."""
    pretrained.save(model, folder)
    tokenizer.save_pretrained(str(folder))
    return folder


def write_pair(folder: Path, **settings: Any) -> tuple[Path, Path]:
    """`model`, with three rows of padding, and `donor`, which is wider.

    The donor's rows of new tokens are sums of its rows of shared ones: ` purple` = ` red` + ` blue` and ` violet` =
    2·` blue` − ½·` green`, in embedding and head.
    """
    model = model_of(len(MODEL_TOKENS) + 3, **settings)
    donor = model_of(len(DONOR_TOKENS), width=24, seed=1, bos_token_id=1, eos_token_id=2, pad_token_id=3)
    at = {word: DONOR_TOKENS.index(f"▁{word}") for word in (*SHARED, *NEW)}
    with torch.no_grad():
        for rows in (donor.model.embed_tokens.weight, donor.lm_head.weight):
            rows[at["purple"]] = rows[at["red"]] + rows[at["blue"]]
            rows[at["violet"]] = 2 * rows[at["blue"]] - 0.5 * rows[at["green"]]
    return write(folder / "model", model, byte_level()), write(folder / "donor", donor, unigram())


def rows_of(folder: Path, name: str, tokens: Sequence[str]) -> dict[str, Tensor]:
    """A tensor's rows by the tokens of a vocabulary."""
    values = load_file(folder / "model.safetensors")[name]
    return {token: values[i] for i, token in enumerate(tokens)}


def change(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}, indent=2), "utf-8")
