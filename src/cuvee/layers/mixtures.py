"""The layouts that mixtures of experts have on disk, as data: names, what they have a place for, how they route.

Names are those of the hub, one tensor for every expert and matrix, which every loader reads; never the fused ones that
transformers has in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PARTS: Final = ("gate_proj", "up_proj", "down_proj")
"""The matrices of a gated MLP, as dense models call them: `mlp.{part}.weight`."""


@dataclass(frozen=True, slots=True)
class MixtureLayout:
    """Where everything of a mixture stands, by names inside a layer.

    Attributes:
        name: its `model_type`.
        architecture: its class.
        members: the `model_type`s of dense models that it can be made of.
        router: the router, `[experts, hidden]`.
        expert: one matrix of one expert, with `{expert}` and `{part}`.
        parts: a dense model's name of a matrix → the one it has here.
        keeps: what else of a dense layer it has a place for; every layer must have those of `needs`.
        needs: what every layer must have.
        shared: a matrix of the expert that every token passes through, with `{part}`; `None` where there is no such
            place. Where there is one the class always has it: a silent one, of zeros, stands for none.
        shared_gate: the gate of that expert, `[1, hidden]`: its output is multiplied by sigmoid(gate · x).
        correction: what is added to the scores before experts are chosen, `[experts]`, float32.
        least: fewest experts that its class can route among.
        renormalises: whether the chosen experts' weights are made to sum to 1, so that equal experts are one dense MLP.
    """

    name: str
    architecture: str
    members: tuple[str, ...]
    router: str
    expert: str
    keeps: frozenset[str]
    needs: frozenset[str]
    parts: Mapping[str, str]
    shared: str | None = None
    shared_gate: str | None = None
    correction: str | None = None
    least: int = 1
    renormalises: bool = True


_NORMS: Final = frozenset({"input_layernorm.weight", "post_attention_layernorm.weight"})
_WEIGHTS: Final = frozenset(f"self_attn.{part}_proj.weight" for part in "qkvo")
_QKV: Final = frozenset(f"self_attn.{part}_proj.bias" for part in "qkv")
_NORMED: Final = frozenset({"self_attn.q_norm.weight", "self_attn.k_norm.weight"})
_SAME: Final = {part: part for part in PARTS}
_LATENT: Final = frozenset(
    f"self_attn.{part}.weight" for part in ("kv_a_proj_with_mqa", "kv_a_layernorm", "kv_b_proj", "o_proj")
)
_QUERIES: Final = frozenset(
    f"self_attn.{part}.weight" for part in ("q_proj", "q_a_proj", "q_a_layernorm", "q_b_proj")
) | frozenset(f"self_attn.{part}.bias" for part in ("q_a_proj", "kv_a_proj_with_mqa", "o_proj"))


def _deepseek(name: str, architecture: str, *, correction: str | None, least: int, renormalises: bool) -> MixtureLayout:
    return MixtureLayout(
        name,
        architecture,
        members=(name,),
        router="mlp.gate.weight",
        expert="mlp.experts.{expert}.{part}.weight",
        keeps=_NORMS | _LATENT | _QUERIES,
        needs=_NORMS | _LATENT,
        parts=_SAME,
        shared="mlp.shared_experts.{part}.weight",
        correction=correction,
        least=least,
        renormalises=renormalises,
    )


LAYOUTS: Final[Mapping[str, MixtureLayout]] = {
    layout.name: layout
    for layout in (
        MixtureLayout(
            "mixtral",
            "MixtralForCausalLM",
            members=("llama", "mistral"),
            router="block_sparse_moe.gate.weight",
            expert="block_sparse_moe.experts.{expert}.{part}.weight",
            keeps=_NORMS | _WEIGHTS,
            needs=_NORMS | _WEIGHTS,
            parts={"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"},
        ),
        MixtureLayout(
            "qwen2_moe",
            "Qwen2MoeForCausalLM",
            members=("qwen2", "llama", "mistral"),
            router="mlp.gate.weight",
            expert="mlp.experts.{expert}.{part}.weight",
            keeps=_NORMS | _WEIGHTS | _QKV,
            needs=_NORMS | _WEIGHTS,
            parts=_SAME,
            shared="mlp.shared_expert.{part}.weight",
            shared_gate="mlp.shared_expert_gate.weight",
        ),
        MixtureLayout(
            "qwen3_moe",
            "Qwen3MoeForCausalLM",
            members=("qwen3",),
            router="mlp.gate.weight",
            expert="mlp.experts.{expert}.{part}.weight",
            keeps=_NORMS | _WEIGHTS | _NORMED | _QKV | {"self_attn.o_proj.bias"},
            needs=_NORMS | _WEIGHTS | _NORMED,
            parts=_SAME,
        ),
        _deepseek("deepseek_v2", "DeepseekV2ForCausalLM", correction=None, least=1, renormalises=False),
        _deepseek(
            "deepseek_v3",
            "DeepseekV3ForCausalLM",
            correction="mlp.gate.e_score_correction_bias",
            least=2,  # groups of experts are judged by their two best
            renormalises=True,
        ),
    )
}
"""The layouts by name. The first DeepSeek-MoE is not among them: transformers has no class of its own for it."""

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "qwen": ("qwen2_moe",),
    "qwen2": ("qwen2_moe",),
    "qwen3": ("qwen3_moe",),
    "deepseek": ("deepseek_v2", "deepseek_v3"),
}
"""Other names that a description may have for layouts, mergekit's among them."""

OUTSIDE: Final = frozenset({"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"})
"""What every one of these models has outside its layers."""


def named_layouts(name: str) -> tuple[MixtureLayout, ...]:
    """The layouts that a name may mean; none for an unknown one."""
    return tuple(LAYOUTS[one] for one in ALIASES.get(name, (name,)) if one in LAYOUTS)


def layouts_of(model_type: str) -> tuple[MixtureLayout, ...]:
    """The layouts that can be made of a kind of dense model, the usual one first."""
    return tuple(layout for layout in LAYOUTS.values() if model_type in layout.members)
