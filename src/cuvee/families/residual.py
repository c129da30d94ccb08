"""Which tensors of a layer write to the residual stream: with these at zero, the layer passes on what it is given.

    h ← h + A(norm(h)),  h ← h + F(norm(h))        A, F end in the tensors named here; zero there makes both sums h

It holds for layers that add before they normalise. One whose norm stands behind the sum (BERT) changes what passes
through it whatever its weights are, and so do layers that scale the whole sum.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

_WRITERS: Final = (
    ("self_attn.o_proj.", "mlp.down_proj."),
    ("self_attn.o_proj.", "down_proj"),
    ("self_attn.o_proj.", ".w2."),
    ("self_attn.dense.", "mlp.fc2."),
    ("attn.c_proj.", "mlp.c_proj."),
    ("attention.dense.", "mlp.dense_4h_to_h."),
    ("self_attention.dense.", "mlp.dense_4h_to_h."),
    ("self_attn.o_proj.", "mlp.c_proj."),
    ("attn.out_proj.", "ffn.down_proj."),
    ("attention.output.dense.", "mlp.fc2."),
    ("attention.output.dense.", "output.dense."),
    ("SelfAttention.o.", "EncDecAttention.o.", "DenseReluDense.wo."),
    ("SelfAttention.o.", "DenseReluDense.wo."),
)
"""Parts of tensor names, those of attention first; every tensor with one of them in its name is meant."""

_NEVER: Final = re.compile(
    r"output\.LayerNorm|_scal(ar|e)\b|altup|laurel|per_layer|linear_attn|mamba|cross_attn|_residual\b"
)
"""Signs that a layer does more than add to what passes through it."""
_NORMED: Final = ("apply_residual_connection_post_layernorm",)
"""Keys of a configuration that, if true, let the sum start from what is normalised."""
_SCALED: Final = ("minimax",)
"""Kinds of models whose layers multiply what passes through them by numbers that no tensor holds."""

TRIED: Final = frozenset(
    {
        "beit",
        "bloom",
        "cohere",
        "deit",
        "dinov2",
        "dinov2_with_registers",
        "exaone4",
        "gemma2",
        "gemma3_text",
        "glm4",
        "gpt2",
        "gpt_neox",
        "granite",
        "hunyuan_v1_dense",
        "llama",
        "llama4_text",
        "mixtral",
        "mpt",
        "olmo2",
        "phi",
        "phimoe",
        "qwen2",
        "qwen3",
        "smollm3",
        "stablelm",
        "starcoder2",
        "t5",
        "vit",
        "vit_msn",
    }
)
"""Kinds of models whose answers with silent layers were compared with those before, and were equal to the bit."""


def residual_writers(names: Collection[str], config: Mapping[str, Any] | None = None) -> tuple[str, ...] | None:
    """The parts of tensor names that tell what a layer writes to the residual stream with.

    Args:
        names: the tensors of one layer, without prefix and number.
        config: the section of the configuration that describes it.

    Returns:
        The parts; `None` where zeros there would not make a layer that changes nothing, as far as its names tell.

    Example:
        >>> residual_writers(["self_attn.o_proj.weight", "mlp.down_proj.weight", "input_layernorm.weight"])
        ('self_attn.o_proj.', 'mlp.down_proj.')
    """
    if says_no(names, config):
        return None
    return next((parts for parts in _WRITERS if _has_all(parts, names)), None)


def says_no(names: Collection[str], config: Mapping[str, Any] | None = None) -> str | None:
    """Why zeros cannot silence a layer, where its names or its configuration show that; `None` where they do not.

    Example:
        >>> says_no(["attention.output.LayerNorm.weight"])
        'attention.output.LayerNorm.weight is of a layer that does more than add'
    """
    said = config or {}
    if said.get("model_type") in _SCALED:
        return f"layers of `{said['model_type']}` scale what passes through them"
    if key := next((key for key in _NORMED if said.get(key)), None):
        return f"with `{key}` a layer adds to what is normalised"
    more = next((name for name in names if _NEVER.search(name)), None)
    return more and f"{more} is of a layer that does more than add"


def _has_all(parts: tuple[str, ...], names: Collection[str]) -> bool:
    """Whether every part is in a name of its own: `output.dense.` is in `attention.output.dense.` as well."""
    left = set(names)
    for part in parts:
        found = {name for name in left if part in name}
        if not found:
            return False
        left -= found
    return True
