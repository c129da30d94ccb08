"""What layers write to the residual stream with, read off names."""

from __future__ import annotations

import pytest

from cuvee.families.residual import residual_writers

LLAMA = ["self_attn.q_proj.weight", "self_attn.o_proj.weight", "mlp.down_proj.weight", "input_layernorm.weight"]


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (LLAMA, ("self_attn.o_proj.", "mlp.down_proj.")),
        (["self_attn.o_proj.weight", "mlp.experts.0.down_proj.weight"], ("self_attn.o_proj.", "down_proj")),
        (["self_attn.o_proj.weight", "mlp.experts.down_proj_bias"], ("self_attn.o_proj.", "down_proj")),
        (["attn.c_proj.weight", "attn.c_attn.weight", "mlp.c_proj.bias"], ("attn.c_proj.", "mlp.c_proj.")),
        (
            ["layer.0.SelfAttention.o.weight", "layer.1.EncDecAttention.o.weight", "layer.2.DenseReluDense.wo.weight"],
            ("SelfAttention.o.", "EncDecAttention.o.", "DenseReluDense.wo."),
        ),
    ],
)
def test_they_are_found(names, parts) -> None:
    assert residual_writers(names) == parts


@pytest.mark.parametrize(
    "more", ["output.LayerNorm.weight", "layer_scalar", "per_layer_projection.weight", "linear_attn.out_proj.weight"]
)
def test_a_sign_of_something_else_in_the_layer_forbids_it(more: str) -> None:
    assert residual_writers([*LLAMA, more]) is None


@pytest.mark.parametrize("names", [[], LLAMA[:2], ["q.weight"]])
def test_half_a_layer_is_none(names) -> None:
    assert residual_writers(names) is None
