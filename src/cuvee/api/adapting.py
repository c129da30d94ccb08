"""LoRA adapters: looked at, and applied to their base.

Nothing heavy is imported until a call needs it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cuvee.api.arguments import as_model, callback_faults, refuse, unfit
from cuvee.api.lora_arguments import as_adapter
from cuvee.api.merging import MergeResult, merge
from cuvee.errors import Fault, UsageError
from cuvee.recipe import ModelEntry, Recipe
from cuvee.types import ModelRef

if TYPE_CHECKING:
    from cuvee.adapters.info import AdapterFacts

AnyPath = str | os.PathLike[str]


def lora_info(adapter: AnyPath, *, progress: Callable[[int, int], None] | None = None) -> AdapterFacts:
    """Say what an adapter is, and how large each module's change is.

    Args:
        adapter: a folder as PEFT writes one, or a hub id with or without `@revision`.
        progress: called with modules looked at and their number.

    Raises:
        UsageError: `adapter` is empty or no path.
        InputError: it is missing, damaged, or of a kind that is not read.
    """
    from cuvee.adapters.info import facts_of
    from cuvee.checkpoint.adapter import open_adapter

    refuse(callback_faults(progress))
    with closing(open_adapter(as_adapter(adapter))) as opened:
        return facts_of(opened, progress)


def lora_apply(
    model: AnyPath, adapters: AnyPath | Sequence[AnyPath], out: AnyPath, *, weight: float = 1.0, **how: Any
) -> MergeResult:
    """Apply adapters to a model, one after the other, and write the result out as a model folder.

    Args:
        model: the base; where it has an adapter itself (`base+first`), that one is applied before.
        adapters: one adapter or several.
        out: the folder to make.
        weight: how much of all that changes: base + weight · (result − base).
        **how: what `merge` takes: `overwrite`, `resume`, `threads`, `max_memory`, `shard_size`, `progress` …

    Returns:
        As `merge`: it is a merge of `base+adapter` alone.

    Raises:
        UsageError: no adapter, or a weight that is no finite number.
        InputError: base or adapter are missing or damaged, or do not fit each other.
    """
    return merge(applied(model, adapters, weight), out, **how)


def applied(model: AnyPath, adapters: AnyPath | Sequence[AnyPath], weight: float = 1.0) -> Recipe:
    """The recipe of a model with adapters applied."""
    named = [adapters] if isinstance(adapters, str | os.PathLike) else list(adapters)
    if not named:
        raise UsageError(Fault("bad-argument", "name one adapter or more behind the model", subject="adapters"))
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
        raise UsageError(unfit("weight", "a finite number", weight))
    chain: ModelRef | None = None
    for one in reversed(named):
        chain = _and_then(as_model(one), chain)
    base = as_model(model)
    whole = _and_then(base, chain)
    if weight == 1:
        return Recipe("passthrough", (ModelEntry(whole),))
    return Recipe("task_arithmetic", (ModelEntry(whole, {"weight": float(weight)}),), base_model=base)


def _and_then(ref: ModelRef, adapter: ModelRef | None) -> ModelRef:
    """A reference with one more adapter behind those that it has."""
    return replace(ref, adapter=adapter if ref.adapter is None else _and_then(ref.adapter, adapter))


def touched_by(model: AnyPath, adapters: AnyPath | Sequence[AnyPath]) -> frozenset[str]:
    """The tensors of a model that adapters change, replace or add; headers are read, and the adapters.

    Raises:
        InputError: as `lora_apply`.
    """
    from cuvee.checkpoint import open_checkpoint
    from cuvee.checkpoint.adapted import Adapted

    found: frozenset[str] = frozenset()
    with closing(open_checkpoint(applied(model, adapters).models[0].model)) as opened:
        reader: object = opened
        while isinstance(reader, Adapted):
            found |= reader.fit.touched
            reader = reader.inner
    return found
