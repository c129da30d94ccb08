"""Tiny language models that write: tokenizers trained here, weights from seeds."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

TEXTS = (
    "the cat sat on the mat and the dog ran to the house",
    "a small model writes a small text, and a large one writes on",
    "one two three four five six seven eight nine ten",
    "naïve café in Zürich costs 12 £, über 30 € and more 🎉",
)
PIECES = (
    *(
        "▁",
        "e",
        "t",
        "l",
        "s",
        "d",
        "r",
        "o",
        "a",
        "n",
        "i",
        "h",
        "g",
        "w",
        "c",
        "m",
        "u",
        "v",
        "f",
        "x",
        "ü",
        "é",
        ",",
    ),
    *("▁the", "▁cat", "▁on", "▁s", "▁a", "▁m", "▁to", "an", "ma", "ve", "ri", "ou", "th", "▁small", "▁one", "▁three"),
)
PROMPTS = ("the cat", "one two three", "a", "naïve café über all of the small models here")


@cache
def byte_level(size: int = 320, texts: tuple[str, ...] = TEXTS) -> PreTrainedTokenizerFast:
    """A byte-level BPE with `<s>`, `</s>` and `<pad>`."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(list(texts), trainer)
    return wrapped(made)


@cache
def pieces(words: tuple[str, ...] = PIECES) -> PreTrainedTokenizerFast:
    """A Unigram model as SentencePiece has it: `▁` for spaces, bytes as `<0x0A>` for what it has no piece for.

    Written out and not trained: the trainer does not give the same pieces twice.
    """
    vocabulary = [(word, -1.0 - len(word) ** 0.5) for word in words] + [
        (f"<0x{byte:02X}>", -20.0) for byte in range(256)
    ]
    special = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("<pad>", 0.0)]
    made = Tokenizer(models.Unigram([*special, *vocabulary], unk_id=0, byte_fallback=True))
    made.add_special_tokens([name for name, _ in special])
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    return wrapped(made, unk_token="<unk>")


def wrapped(made: Tokenizer, **more: str | None) -> PreTrainedTokenizerFast:
    given = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"} | more
    return PreTrainedTokenizerFast(tokenizer_object=made, **given)


def permuted(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """The same tokens under other ids; old id → new id."""
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    order = torch.randperm(len(tokenizer), generator=torch.Generator().manual_seed(seed)).tolist()
    told["model"]["vocab"] = {token: order[number] for token, number in told["model"]["vocab"].items()}
    for token in told["added_tokens"]:
        token["id"] = order[token["id"]]
    told["added_tokens"].sort(key=lambda token: token["id"])
    return wrapped(Tokenizer.from_str(json.dumps(told))), order


def causal(kind: str, vocabulary: int, seed: int = 0, **more: Any) -> Any:
    """A tiny causal language model; logits are made sharp enough to have opinions.

    Args:
        kind: `llama`, `qwen2`, `gpt2` (learned positions), `mistral` (sees five tokens back), `mamba` (no attention).
    """
    torch.manual_seed(seed)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    common = {"vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": None, "pad_token_id": None}
    config = {
        "llama": lambda: LlamaConfig(**common, **small | {"num_key_value_heads": 2} | more),
        "qwen2": lambda: Qwen2Config(**common, **small | {"num_key_value_heads": 2} | more),
        "mistral": lambda: MistralConfig(**common, **small | {"num_key_value_heads": 2, "sliding_window": 5} | more),
        "mamba": lambda: MambaConfig(**common, hidden_size=32, num_hidden_layers=2, state_size=4, **more),
        "gpt2": lambda: GPT2Config(**common, n_embd=32, n_layer=2, n_head=4, **more),
    }[kind]()
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    return model.eval()


def reordered(model: Any, order: Sequence[int]) -> Any:
    """The same model for a vocabulary in another order; old id → new id in `order`."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for found in {id(one.weight): one.weight for one in ends_of(other)}.values():
            found[torch.tensor(order)] = found.clone()
    return other


def ends_of(model: Any) -> tuple[Any, Any]:
    return model.get_input_embeddings(), model.get_output_embeddings()


def own_greedy(model: Any, tokenizer: Any, prompt: str, most: int) -> list[int]:
    """What transformers itself writes, the likeliest token each time; of one prompt without padding."""
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    made = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False, pad_token_id=2
    )
    return [int(one) for one in made[0, ids.shape[1] :]]
