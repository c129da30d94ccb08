"""Random tiny Llama checkpoints: a base and three fine-tunes whose deltas hold no two equal magnitudes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

LAYERS, HIDDEN, INNER, HEADS, KEY_HEADS, VOCABULARY = 4, 32, 48, 4, 2, 64
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dtype": "float32",
    "eos_token_id": 1,
    "head_dim": HIDDEN // HEADS,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": INNER,
    "max_position_embeddings": 64,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": KEY_HEADS,
    "pad_token_id": None,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "tie_word_embeddings": False,
    "transformers_version": "5.23.0",
    "use_cache": True,
    "vocab_size": VOCABULARY,
}
"""A configuration as transformers 5 writes it, so that writing it again changes nothing."""


@dataclass(frozen=True)
class Family:
    """A base and its fine-tunes, by folder."""

    base: str
    tunes: tuple[str, str, str]

    @property
    def everyone(self) -> tuple[str, ...]:
        return (self.base, *self.tunes)


def shapes(layers: int = LAYERS) -> dict[str, tuple[int, ...]]:
    """Every tensor of the model."""
    wide, keys = HIDDEN, HIDDEN // HEADS * KEY_HEADS
    of_layer = {
        "input_layernorm.weight": (wide,),
        "mlp.down_proj.weight": (wide, INNER),
        "mlp.gate_proj.weight": (INNER, wide),
        "mlp.up_proj.weight": (INNER, wide),
        "post_attention_layernorm.weight": (wide,),
        "self_attn.k_proj.weight": (keys, wide),
        "self_attn.o_proj.weight": (wide, wide),
        "self_attn.q_proj.weight": (wide, wide),
        "self_attn.v_proj.weight": (keys, wide),
    }
    stacked = {f"model.layers.{i}.{name}": shape for i in range(layers) for name, shape in of_layer.items()}
    outside = {"model.embed_tokens.weight": (VOCABULARY, wide), "model.norm.weight": (wide,)}
    return {**outside, **stacked, "lm_head.weight": (VOCABULARY, wide)}


def draw(seed: int, layers: int = LAYERS) -> dict[str, Tensor]:
    """A random model: norms around 1, everything else around 0."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) * 0.05 + (1.0 if "norm" in name else 0.0)
        for name, shape in shapes(layers).items()
    }


def tune(base: Mapping[str, Tensor], seed: int, size: float = 0.02) -> dict[str, Tensor]:
    """A fine-tune: the base and a random delta without two entries of equal magnitude."""
    generator = torch.Generator().manual_seed(seed)
    return {name: _moved(tensor, generator, size) for name, tensor in base.items()}


def _moved(tensor: Tensor, generator: torch.Generator, size: float) -> Tensor:
    moved = tensor + torch.randn(tensor.shape, generator=generator) * size
    while bool((again := _repeated((moved - tensor).abs())).any()):
        moved[again] = tensor[again] + torch.randn(int(again.sum()), generator=generator) * size
    return moved


def _repeated(magnitudes: Tensor) -> Tensor:
    """Which entries have a magnitude that another entry has too, or none at all."""
    _, inverse, counts = magnitudes.flatten().unique(return_inverse=True, return_counts=True)
    return (counts[inverse] > 1).reshape(magnitudes.shape) | (magnitudes == 0)


def write(folder: Path, tensors: Mapping[str, Tensor], **config: object) -> str:
    """Store a model as one file; returns its path."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | config, indent=2) + "\n", "utf-8")
    save_file({k: t.contiguous() for k, t in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def make_family(root: Path, seed: int) -> Family:
    """Draw and store a base and three fine-tunes."""
    base = draw(seed)
    tunes = [write(root / name, tune(base, 1000 * seed + i)) for i, name in enumerate("abc")]
    return Family(write(root / "base", base), (tunes[0], tunes[1], tunes[2]))
