"""What the configuration of a mixture says that the dense model's does not, and what it must say aloud.

A class has defaults of its own: where a dense model's configuration leaves something unsaid, the mixture's must say
what the dense class took it for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_MIXTURE_ROPE: Final = 10_000.0
_DENSE: Final[Mapping[str, Any]] = {"hidden_act": "silu", "rms_norm_eps": 1e-6, "tie_word_embeddings": False}
DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "llama": {**_DENSE, "max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2},
    "mistral": {
        **_DENSE,
        "max_position_embeddings": 131_072,
        "num_key_value_heads": 8,
        "sliding_window": 4096,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "qwen2": {**_DENSE, "max_position_embeddings": 32_768, "num_key_value_heads": 32},
    "qwen3": {**_DENSE, "max_position_embeddings": 32_768, "num_key_value_heads": 32, "head_dim": 128},
}
"""What the classes of dense models take for true where the configuration does not say it, as far as classes differ."""


@dataclass(frozen=True, slots=True)
class MixtureSizes:
    """The numbers of a mixture: experts, those a token is sent to, layers, the widths of MLPs, biases of attention."""

    experts: int
    per_token: int
    layers: int
    intermediate: int
    shared: int
    has_biases: bool


def mixture_config(layout: str, architecture: str, dense: Mapping[str, Any], sizes: MixtureSizes) -> dict[str, Any]:
    """The new values, by key of `config.json`.

    Args:
        layout: name of the layout.
        architecture: its class.
        dense: the base model's configuration.
        sizes: the numbers.
    """
    said = {"model_type": layout, "architectures": [architecture]}
    return {**unsaid(dense), **said, **_SAID[layout](dense, sizes)}


def unsaid(dense: Mapping[str, Any]) -> dict[str, Any]:
    """What the dense class took for true, for the keys that its configuration does not have."""
    kind = str(dense.get("model_type"))
    found = {key: value for key, value in DEFAULTS.get(kind, {}).items() if key not in dense}
    if kind == "llama" and dense.get("num_key_value_heads") is None and "num_attention_heads" in dense:
        found["num_key_value_heads"] = dense["num_attention_heads"]
    rope = dense.get("rope_parameters")
    if isinstance(rope, Mapping) and rope and not any(isinstance(entry, Mapping) for entry in rope.values()):
        if "rope_theta" not in rope and "rope_theta" not in dense:
            found["rope_parameters"] = {**rope, "rope_theta": _MIXTURE_ROPE}
    elif not rope and dense.get("rope_theta") is None:
        found["rope_theta"] = _MIXTURE_ROPE
    return found


def window_of(dense: Mapping[str, Any], layers: int) -> list[bool]:
    """For every layer, whether its attention sees a sliding window only."""
    kind = dense.get("model_type")
    if kind == "mistral":
        return [dense.get("sliding_window", 4096) is not None] * layers
    if kind not in ("qwen2", "qwen3") or not dense.get("use_sliding_window"):
        return [False] * layers
    if isinstance(listed := dense.get("layer_types"), list):
        return [one == "sliding_attention" for one in listed]
    return [
        dense.get("sliding_window", 4096) is not None and i >= dense.get("max_window_layers", 28) for i in range(layers)
    ]


def _mixtral(dense: Mapping[str, Any], sizes: MixtureSizes) -> dict[str, Any]:
    window = dense.get("sliding_window", 4096) if dense.get("model_type") == "mistral" else None
    return {
        "num_local_experts": sizes.experts,
        "num_experts_per_tok": sizes.per_token,
        "sliding_window": window,
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    }


def _qwen(dense: Mapping[str, Any], sizes: MixtureSizes) -> dict[str, Any]:
    return {
        "num_experts": sizes.experts,
        "num_experts_per_tok": sizes.per_token,
        "moe_intermediate_size": sizes.intermediate,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
        "use_sliding_window": any(window_of(dense, sizes.layers)),
    }


def _qwen2(dense: Mapping[str, Any], sizes: MixtureSizes) -> dict[str, Any]:
    kinds = ["sliding_attention" if one else "full_attention" for one in window_of(dense, sizes.layers)]
    return {
        **_qwen(dense, sizes),
        "shared_expert_intermediate_size": sizes.shared,
        "qkv_bias": sizes.has_biases,
        # the mixture's class would alternate where the dense class begins at `max_window_layers`
        "layer_types": kinds,
    }


def _qwen3(dense: Mapping[str, Any], sizes: MixtureSizes) -> dict[str, Any]:
    return {**_qwen(dense, sizes), "attention_bias": sizes.has_biases}


def _deepseek(_: Mapping[str, Any], sizes: MixtureSizes) -> dict[str, Any]:
    return {
        "n_routed_experts": sizes.experts,
        "n_shared_experts": 1,
        "num_experts_per_tok": sizes.per_token,
        "moe_intermediate_size": sizes.intermediate,
        "first_k_dense_replace": 0,
        "moe_layer_freq": 1,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.0,
        "n_group": 1,
        "topk_group": 1,
    }


def _deepseek_v2(dense: Mapping[str, Any], sizes: MixtureSizes) -> dict[str, Any]:
    return {**_deepseek(dense, sizes), "topk_method": "greedy"}


_SAID: Final = {
    "mixtral": _mixtral,
    "qwen2_moe": _qwen2,
    "qwen3_moe": _qwen3,
    "deepseek_v2": _deepseek_v2,
    "deepseek_v3": _deepseek,
}
