"""Let language models write together.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cuvee.generate import Generated
    from cuvee.generate.aligning import Align
    from cuvee.generate.settings import Gate, Space


def generate(
    models: Sequence[str | os.PathLike[str] | tuple[Any, Any]] | Mapping[str, Any],
    prompts: Sequence[Any],
    *,
    weights: Sequence[float] | None = None,
    space: Space = "prob",
    alpha: float = 1.0,
    align: Align = "auto",
    gate: Gate = None,
    dtype: str | None = None,
    device: str = "cpu",
    show: Callable[[int, str], None] | None = None,
    **how: Any,
) -> Generated:
    """Go on with prompts, several language models writing each text together.

    Args:
        models: model folders, or pairs (model, tokenizer), in a list or by name.
        prompts: texts, or conversations: lists of `role` and `content`.
        weights: one per model, 0 or more; all the same without them.
        space: `prob`, `log` or `contrastive`; docs/token-ensembles.md has the formulas.
        alpha: of `contrastive`.
        align: how vocabularies are compared; the most exact way that fits by default.
        gate: fuse only where the likeliest tokens differ (`disagree`), or where the first model's entropy is at least
            so many nats.
        dtype: torch name of the dtype that folders are loaded in; their own without it.
        device: torch name of the device that they are loaded on.
        show: called with the number of a text and what is new of it, as it is written.
        **how: what `TokenEnsemble.generate` takes: `max_new_tokens`, `temperature`, `top_k`, `top_p`, `seed`, `stop` …

    Raises:
        UsageError, InputError: as `cuvee.generate.TokenEnsemble` and its `generate`.
    """
    from cuvee.api.loading import device_faults, dtype_faults
    from cuvee.errors import refuse
    from cuvee.generate import TokenEnsemble

    refuse([*dtype_faults(dtype), *device_faults(device)])
    made = {"weights": weights, "space": space, "alpha": alpha, "align": align, "gate": gate}
    ensemble = TokenEnsemble(models, **made, dtype=dtype, device=device)  # type: ignore[arg-type]
    return ensemble.generate(prompts, show=show, **how)
