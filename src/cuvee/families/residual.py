"""Which tensors of a layer write to the residual stream: with these at zero, the layer passes on what it is given.

    h ← h + A(norm(h)),  h ← h + F(norm(h))        A, F end in the tensors named here; zero there makes both sums h

It holds for layers that add before they normalise. One whose norm stands behind the sum (BERT) changes what passes
through it whatever its weights are, and so do layers that scale the whole sum.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_WRITERS: Final = (
    ("self_attn.o_proj.", "mlp.down_proj."),
    ("self_attn.o_proj.", "down_proj"),
    ("self_attn.o_proj.", ".w2."),
    ("self_attn.dense.", "mlp.fc2."),
    ("attn.c_proj.", "mlp.c_proj."),
    ("attention.dense.", "mlp.dense_4h_to_h."),
    ("self_attention.dense.", "mlp.dense_4h_to_h."),
    ("attention.output.dense.", "output.dense."),
    ("SelfAttention.o.", "EncDecAttention.o.", "DenseReluDense.wo."),
    ("SelfAttention.o.", "DenseReluDense.wo."),
)
"""Parts of tensor names, those of attention first; every tensor with one of them in its name is meant."""

_NEVER: Final = re.compile(r"output\.LayerNorm|_scal(ar|e)\b|altup|laurel|per_layer|linear_attn|mamba|cross_attn")
"""Signs that a layer does more than add to what passes through it."""


def residual_writers(names: Collection[str]) -> tuple[str, ...] | None:
    """The parts of tensor names that tell what a layer writes to the residual stream with.

    Args:
        names: the tensors of one layer, without prefix and number.

    Returns:
        The parts; `None` where zeros there would not make a layer that changes nothing, as far as its names tell.

    Example:
        >>> residual_writers(["self_attn.o_proj.weight", "mlp.down_proj.weight", "input_layernorm.weight"])
        ('self_attn.o_proj.', 'mlp.down_proj.')
    """
    if any(_NEVER.search(name) for name in names):
        return None
    return next((parts for parts in _WRITERS if all(any(part in name for name in names) for part in parts)), None)
