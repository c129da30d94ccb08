"""Tiny dense models of every kind that mixtures are made of, as transformers writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from tests.support.zoo import seeded

LAYERS = 2
IDS = torch.arange(3, 19).view(2, 8)
_SIZES: Mapping[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
_LATENT: Mapping[str, Any] = {
    **_SIZES,
    "num_key_value_heads": 4,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 4,
    "v_head_dim": 4,
    "first_k_dense_replace": LAYERS,
    "n_routed_experts": 4,
    "moe_intermediate_size": 24,
    "n_group": 1,
    "topk_group": 1,
}
KINDS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", _SIZES),
    "mistral": ("MistralForCausalLM", "MistralConfig", {**_SIZES, "sliding_window": 4}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {**_SIZES, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {**_SIZES, "head_dim": 8}),
    "deepseek_v2": ("DeepseekV2ForCausalLM", "DeepseekV2Config", _LATENT),
    "deepseek_v3": ("DeepseekV3ForCausalLM", "DeepseekV3Config", _LATENT),
    "biased llama": ("LlamaForCausalLM", "LlamaConfig", {**_SIZES, "mlp_bias": True}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"vocab_size": 40, "n_embd": 16, "n_layer": LAYERS, "n_head": 4}),
}
"""Class, configuration and settings of every kind."""


def build(kind: str, seed: int, **changes: Any) -> Any:
    """A model of a kind, every tensor of it random."""
    name, config, settings = KINDS[kind]
    make = lambda: getattr(transformers, name)(getattr(transformers, config)(**{**settings, **changes}))  # noqa: E731
    return seeded(make, seed)


def write(kind: str, seed: int, folder: Path, **changes: Any) -> Path:
    """The same, stored."""
    build(kind, seed, **changes).save_pretrained(folder)
    return folder


def loaded(folder: Path) -> Any:
    """A model of which transformers makes nothing up and leaves nothing out."""
    model, account = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not {key: value for key, value in account.items() if value}
    return model.eval()


def logits(model: nn.Module) -> Tensor:
    """What a model answers the fixed texts with."""
    with torch.inference_mode():
        answer: Tensor = model(IDS).logits
    return answer
