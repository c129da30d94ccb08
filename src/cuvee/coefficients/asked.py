"""What is to be learned, and everything that is wrong with asking for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from cuvee.errors import Fault, integer_faults
from cuvee.recipe import ModelEntry, Recipe
from cuvee.types import MethodSpec

Objective = Literal["entropy", "cross-entropy", "kl"]
Per = Literal["model", "layer"]

STARTS: Final[Mapping[str, float]] = {"task_arithmetic": 0.3, "linear": 1.0}
"""The methods whose weights can be learned, and the weight that a model starts with where the recipe gives none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How to learn.

    Attributes:
        objective: what is minimised.
        per: one coefficient per model, or per model and layer.
        steps: steps of Adam, 0 or more.
        rate: Adam's learning rate.
        batch_size: rows of each data set in a step.
        seed: of the order of the rows.
        max_length: most tokens of a row; what is longer is cut.
    """

    objective: Objective = "entropy"
    per: Per = "layer"
    steps: int = 500
    rate: float = 1e-3
    batch_size: int = 16
    seed: int = 0
    max_length: int = 512

    def faults(self) -> Iterator[Fault]:
        """What is wrong with it."""
        for name, value, known in (
            ("objective", self.objective, get_args(Objective)),
            ("per", self.per, get_args(Per)),
        ):
            if value not in known:
                message = f"`{name}` must be one of {', '.join(known)}; found {value!r}"
                yield Fault("bad-argument", message, subject=name)
        yield from integer_faults("steps", self.steps, least=0)
        yield from integer_faults("batch_size", self.batch_size, least=1)
        yield from integer_faults("seed", self.seed)
        yield from integer_faults("max_length", self.max_length, least=1)
        number = isinstance(self.rate, int | float) and not isinstance(self.rate, bool)
        if not (number and math.isfinite(self.rate) and self.rate > 0):
            yield Fault("bad-argument", f"`lr` must be a number above 0; found {self.rate!r}", subject="lr")


def with_starting_weights(specs: Mapping[str, MethodSpec]) -> dict[str, MethodSpec]:
    """The declarations of methods, those with learnable weights taking a recipe without any."""
    return {name: _optional(spec, STARTS[name]) if name in STARTS else spec for name, spec in specs.items()}


def _optional(spec: MethodSpec, start: float) -> MethodSpec:
    given = (replace(p, required=False, default=start) if p.name == "weight" else p for p in spec.params)
    return replace(spec, params=tuple(given))


def learners(recipe: Recipe) -> tuple[ModelEntry, ...]:
    """The entries of a recipe whose weights are learned: all but the base that deltas are taken from."""
    return tuple(entry for entry in recipe.models if recipe.method == "linear" or entry.model != recipe.base_model)


def recipe_faults(recipe: Recipe) -> Iterator[Fault]:
    """What keeps the weights of a recipe from being learned."""
    if recipe.method not in STARTS:
        known = " and ".join(f"`{name}`" for name in STARTS)
        message = f"weights are learned for {known}; the recipe asks for `{recipe.method}`"
        yield _fault(recipe, "not-yet", message, ("merge_method",), "write it as task_arithmetic, or merge it as it is")
    for key, given in (("slices", recipe.slices), ("modules", recipe.modules)):
        if given:
            message = f"weights are learned for whole models, listed under `models`; the recipe has `{key}`"
            yield _fault(recipe, "not-yet", message, (key,), "stack first, and learn on what that gives")
            return
    if recipe.layer_scaling is not None and not recipe.layer_scaling.is_known:
        message = "`layer_scaling` finds factors from the models before they are merged, which learning does not do"
        hint = "take `policy: lines` and give `alpha` a number"
        yield _fault(recipe, "not-yet", message, ("layer_scaling",), hint)
    if len(learners(recipe)) < (2 if recipe.method == "linear" else 1):
        message = f"there must be a model whose weight can be learned; found {len(learners(recipe))} of them"
        yield _fault(recipe, "wrong-number-of-models", message, ("models",))
    if recipe.method == "linear" and recipe.base_model not in (None, *(e.model for e in recipe.models)):
        message = (
            f"`linear` counts its base model {recipe.base_model} as one more model, which has no place for a weight"
        )
        yield _fault(recipe, "not-yet", message, ("base_model",), "list it under `models`")


def _fault(recipe: Recipe, code: str, message: str, at: tuple[str, ...], hint: str | None = None) -> Fault:
    return Fault(code, message, recipe.locate(at) if recipe.locate else None, at[0], hint)
