"""Data-flow search: which layer follows which, as switches that become the slices of a recipe.

    candidates   layers 0 … n−1 of the first model, of the second, …; all of it `repeats` times over
    a switch     for every candidate: it is in the stack or not; the order is that of the candidates

After Akiba et al. 2024, arXiv:2403.13187, section 3.2, without their scaling between layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cuvee.searching.holes import Hole, Values


@dataclass(frozen=True, slots=True)
class Flow:
    """The layers that a stack may be made of.

    Attributes:
        models: as the recipe names them.
        layers: number of layers of each.
        repeats: how often the row of all layers is gone through.
    """

    models: tuple[Any, ...]
    layers: int
    repeats: int = 1

    @property
    def candidates(self) -> Iterator[tuple[int, int, int]]:
        """Repeat, number of the model and layer of every candidate, in order."""
        for repeat in range(self.repeats):
            for model in range(len(self.models)):
                yield from ((repeat, model, layer) for layer in range(self.layers))

    @property
    def holes(self) -> tuple[Hole, ...]:
        """A switch for every candidate; what it starts from is the first model as it is."""
        return tuple(
            Hole(_name(candidate), "choice", options=(False, True), start=candidate[:2] == (0, 0))
            for candidate in self.candidates
        )

    def slices(self, values: Values) -> list[dict[str, Any]]:
        """The slices of a recipe; layers that follow each other in their model stand in one."""
        runs: list[tuple[int, int, list[int]]] = []
        for repeat, model, layer in (c for c in self.candidates if values[_name(c)]):
            if runs and runs[-1][:2] == (repeat, model) and runs[-1][2][1] == layer:
                runs[-1][2][1] = layer + 1
            else:
                runs.append((repeat, model, [layer, layer + 1]))
        return [{"sources": [{"model": self.models[model], "layer_range": bounds}]} for _, model, bounds in runs]


def _name(candidate: tuple[int, int, int]) -> str:
    repeat, model, layer = candidate
    return f"flow[{repeat}].models[{model}].layer[{layer}]"


def flow_faults(asked: Any) -> Iterator[tuple[str, str]]:
    """What is wrong with the mapping under `flow`: the key, empty for the mapping itself, and what it should be."""
    if not isinstance(asked, Mapping):
        yield "", "`flow` should be a mapping with `models` and `layers`"
        return
    models = asked.get("models")
    if not isinstance(models, Sequence) or isinstance(models, str) or not models:
        yield "models", "`models` should be a list of one model or more"
    for key, needed in (("layers", True), ("repeats", False)):
        if (needed or key in asked) and (type(asked.get(key)) is not int or asked[key] < 1):
            yield key, f"`{key}` should be an integer of 1 or more"
    for key in asked:
        if key not in ("models", "layers", "repeats"):
            yield key, f"`flow` has the keys models, layers and repeats, and no `{key}`"
