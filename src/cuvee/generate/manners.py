"""What a model can be trusted with while it writes: found by trying, because models do not say.

Some models take an attention mask and pay no heed to it, count positions over padding, or measure distances in places
of the cache. Their answers are numbers like any other, so nothing but a comparison shows it: what a model says of a
text beside a longer one is held against what it says of the text alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from cuvee.generate.writer import Manners, Writer, resting

_SIZES: Final = (14, 3)
"""Tokens of the texts that are tried: far enough apart for padding to matter."""
_EXACT: Final = (torch.float32, torch.float64)
_NEAR: Final = {True: 1e-3, False: 0.03}
"""Difference between logits that is rounding, the root of its mean square over the logits' standard deviation: of exact
dtypes, and of those of 16 bits, where rounding alone is 0.003 in two layers and grows with their root."""


def manners_of(model: Any, width: int, limit: int | None = None) -> Manners:
    """Try a model on a short text beside a long one: as they are, a token further, and with the end of one changed.

    Args:
        model: a causal language model of transformers.
        width: entries of its logits.
        limit: most tokens that it has positions for; with too few to try it is trusted.
    """
    size = _SIZES[0] if limit is None else min(_SIZES[0], limit - 3)
    if size <= _SIZES[1]:
        return Manners()
    long, short = (_tokens(model, width, one) for one in (size, _SIZES[1]))
    steps = [
        [long, short],
        [[*long, long[0]], [*short, long[1]]],
        [[*long, long[0], long[2], long[3]], [*short[:-1], long[4], long[5]]],
    ]
    writer, kept = Writer(model), []
    for rows in steps:
        kept.append(_alike(model, rows[1], writer.next_logits(rows)[1]))
        if not kept[-1]:
            break
    return Manners(beside=kept[0], further=kept[:2] == [True, True], changed=kept == [True, True, True])


def _tokens(model: Any, width: int, size: int) -> list[int]:
    """Different tokens, as far as there are enough; not the padding's, which some models count positions by."""
    unused = getattr(model.config.get_text_config(), "pad_token_id", None)
    known = [token for token in range(min(width, 2 * size + 2)) if token != unused]
    return [known[(3 * i + size) % len(known)] for i in range(size)]


def _alike(model: Any, row: Sequence[int], found: Tensor) -> bool:
    with resting(model):
        alone = model(input_ids=torch.tensor([list(row)], device=model.device)).logits[0, -1].double()
    if not alone.isfinite().all():  # it says nothing to anybody, which is told elsewhere
        return True
    spread = float(alone.std()) or 1.0
    far = float((found.to(alone.device).double() - alone).square().mean().sqrt()) / spread
    return far <= _NEAR[model.dtype in _EXACT]
