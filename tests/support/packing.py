"""A base, two experts and packs of them, for tests of packs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import cuvee
from tests.support.merging import cast, decoder, write

TASKS = ("cars", "pets")


def expert(base: Mapping[str, Tensor], seed: int, scale: float = 0.1) -> dict[str, Tensor]:
    """A model near a base, in its dtypes."""
    moved = decoder(seed, vocabulary=21)
    return {
        name: (t.float() + scale * moved[name]).to(t.dtype) if t.is_floating_point() and name in moved else t
        for name, t in base.items()
    }


def family(
    root: Path, dtype: torch.dtype = torch.bfloat16, extra: Mapping[str, Tensor] | None = None
) -> dict[str, Any]:
    """Write `base` and the experts; gives an emr recipe of them."""
    base = {**cast(decoder(0, vocabulary=21), dtype), **(extra or {})}
    write(root / "base", base)
    for seed, task in enumerate(TASKS, 1):
        write(root / task, expert(base, seed))
    return recipe(root)


def recipe(root: Path, method: str = "emr", **more: Any) -> dict[str, Any]:
    """A recipe of the family."""
    parameters = {} if method == "emr" else {"parameters": {"weight": 0.7}}
    models = [{"model": str(root / task), **parameters} for task in TASKS]
    return {"merge_method": method, "base_model": str(root / "base"), "models": models, **more}


def packed(root: Path, **settings: Any) -> Path:
    """A pack of the family, beside it."""
    cuvee.pack(family(root), root / "pack", **settings)
    return root / "pack"
