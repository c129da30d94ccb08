"""How transformers names what lies on disk, and which kinds of modules hold it; no weight is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuvee.families.pretrained import library, quiet, refuse_unknown
from cuvee.families.running import (
    LOADING_AS_KNOWN,
    is_embedding,
    is_map,
    is_transposed,
    on_meta,
    renamed,
    transforms,
)


@dataclass(frozen=True, slots=True)
class Shown:
    """How a class of transformers names and builds what a checkpoint holds; all by names on disk.

    Attributes:
        cls: name of the class.
        names: name on disk → name in memory, of tensors that are one tensor there, as they stand.
        reworked: tensors that are stacked, fused or split on loading, and matrices of other modules than linear maps
            and embeddings, such as routers.
        unplaced: tensors that the class has no place for.
        embeddings: weights of `Embedding`s, which stand as tokens by width.
        transposed: weights of `Conv1D`s, which stand as inputs by outputs.
        others: name on disk → further names in memory of the same tensor, as a tied head's.
    """

    cls: str
    names: Mapping[str, str]
    reworked: frozenset[str]
    unplaced: frozenset[str]
    embeddings: frozenset[str]
    transposed: frozenset[str]
    others: Mapping[str, tuple[str, ...]]


def shown_as(label: str, settings: Mapping[str, Any], names: Iterable[str]) -> Shown:
    """Ask the class that a configuration names how it holds tensors of these names; no weight is read.

    Raises:
        UsageError: transformers 5.16 or newer is not installed.
        CannotJudge: it does not know the model type or the class, or cannot build it.
    """
    transformers = library(LOADING_AS_KNOWN)
    refuse_unknown(transformers, {**settings, "quantization_config": None}, Path(label))
    with quiet(transformers):
        model = on_meta(transformers, settings, Path(label))
        renamings, converters = transforms(model)
        model.tie_weights()
        held = model.state_dict(keep_vars=True)
        found = {name: renamed(model, name, renamings, converters, held) for name in names}
    same: dict[int, dict[str, None]] = defaultdict(dict)
    for memory, value in held.items():
        same[id(value)][memory] = None
    plain = {name: memory for name, (memory, pattern) in found.items() if memory in held and pattern is None}
    owner = {name: model.get_submodule(memory.rpartition(".")[0]) for name, memory in plain.items()}
    unplaced = frozenset(name for name, (memory, _) in found.items() if memory not in held)
    plain = {name: memory for name, memory in plain.items() if held[memory].ndim != 2 or is_map(owner[name])}
    return Shown(
        type(model).__name__,
        plain,
        frozenset(found) - unplaced - frozenset(plain),
        unplaced,
        frozenset(name for name, module in owner.items() if is_embedding(module)),
        frozenset(name for name, module in owner.items() if is_transposed(module)),
        {
            name: one
            for name, memory in plain.items()
            if (one := tuple(other for other in same[id(held[memory])] if other != memory))
        },
    )
