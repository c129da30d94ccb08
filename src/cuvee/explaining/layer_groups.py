"""The tensors of a model by groups: runs of consecutive layers, what stands before them, and what stands behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cuvee.errors import Fault, UsageError
from cuvee.families import Stack, study
from cuvee.families.names import is_before_layers, role_of, spot_of
from cuvee.types import TensorSpec

EMBEDDINGS = "embeddings"


def layer_groups(
    specs: Mapping[str, TensorSpec], config: Mapping[str, Any] | None, count: int
) -> dict[str, tuple[str, ...]]:
    """Groups of a model's tensors, in the order in which they work.

    Args:
        specs: the tensors.
        config: the model's configuration.
        count: groups of layers in each stack, 1 to the number of its layers.

    Returns:
        Name of the group → names of its tensors: `embeddings`, `layers 0-3` and so on, `head and rest`; those without
        a tensor are left out.

    Raises:
        UsageError: there is no stack of layers, or none of as many layers.
    """
    stacks = study(specs, config).stacks
    most = max((stack.count for stack in stacks), default=0)
    if not 1 <= count <= most:
        message = f"`layers` should be 1 to {most}, the number of layers; found {count}"
        none = "groups of layers should be told apart; no stack of layers was found in the model"
        raise UsageError(Fault("bad-argument", message if most else none, subject="layers"))
    names = [EMBEDDINGS, *(name for stack in stacks for name in _runs(stack, count, len(stacks)).values())]
    rest = "head and rest" if any(role_of(name) == "head" for name in specs) else "rest"
    found: dict[str, list[str]] = {name: [] for name in dict.fromkeys([*names, rest])}
    runs = {stack.prefix: _runs(stack, count, len(stacks)) for stack in stacks}
    for name in specs:
        spot = spot_of(name)
        if spot is not None and spot.prefix in runs:
            found[runs[spot.prefix][spot.index]].append(name)
        else:
            found[EMBEDDINGS if is_before_layers(name) else rest].append(name)
    return {name: tuple(tensors) for name, tensors in found.items() if tensors}


def _runs(stack: Stack, count: int, stacks: int) -> dict[int, str]:
    """Number of a layer → name of its run; runs are as even as can be, the longer ones first."""
    count = min(count, stack.count)
    size, longer = divmod(stack.count, count)
    what = "layers" if stacks == 1 else stack.prefix
    found: dict[int, str] = {}
    start = 0
    for number in range(count):
        stop = start + size + (number < longer)
        name = f"{what} {start}" if stop - start == 1 else f"{what} {start}-{stop - 1}"
        found |= dict.fromkeys(range(start, stop), name)
        start = stop
    return found
