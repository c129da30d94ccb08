"""Which tensors share a coefficient, where coefficients start, and how they stand in a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cuvee.coefficients.asked import Per
from cuvee.errors import Fault, RecipeError, listed
from cuvee.families import Anatomy
from cuvee.planning import Plan, Step
from cuvee.recipe import Branch, Conditions, Recipe, Setting, interpolate, layer_position, matching

ALL = "all"
OUTSIDE = "outside"
"""Names of the group of a whole model, and of everything that is in no layer."""


@dataclass(frozen=True, slots=True)
class Run:
    """The layers of one stack: those of `prefix` are the groups `first … first + count - 1`."""

    prefix: str
    first: int
    count: int

    @property
    def filter(self) -> str:
        """What a recipe calls them by."""
        return f"{self.prefix}."


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of tensors that share coefficients.

    Attributes:
        names: of the groups: `all`, or `outside` and one for every layer of every stack.
        of: the group of every tensor that is merged.
        at: where the tensor stands along a gradient, [0, 1].
        runs: the stacks.
    """

    names: tuple[str, ...]
    of: Mapping[str, int]
    at: Mapping[str, float]
    runs: tuple[Run, ...] = ()


def grouped(plan: Plan, anatomy: Anatomy, per: Per) -> Grouping:
    """The groups of a plan's merged tensors.

    Args:
        plan: the plan of whole models.
        anatomy: of any of them: they have the same layers.
        per: one group for all, or one per layer.
    """
    steps = merged_steps(plan)
    if per == "model":
        return Grouping((ALL,), {s.out.name: 0 for s in steps}, {s.out.name: 0.0 for s in steps})
    runs = tuple(_runs(steps, anatomy))
    by_prefix = {run.prefix: run for run in runs}
    of, at = {}, {}
    for step in steps:
        run = by_prefix[step.layer[0]] if step.layer else None
        # layers beyond the counted ones, which predict further tokens, go with the last: a gradient ends there
        index = min(step.layer[1], run.count - 1) if step.layer and run else 0
        of[step.out.name] = run.first + index if run else 0
        at[step.out.name] = layer_position(index, run.count) if run else 0.0
    names = (OUTSIDE, *(f"{run.prefix}.{i}" for run in runs for i in range(run.count)))
    return Grouping(names, of, at, runs)


def merged_steps(plan: Plan) -> list[Step]:
    """The steps whose tensors depend on the models' weights."""
    return [step for step in plan.steps if step.action == "merge"]


def _runs(steps: Sequence[Step], anatomy: Anatomy) -> Iterator[Run]:
    """The stacks, each with the layers that a gradient is spread over."""
    first = 1
    for prefix in dict.fromkeys(step.layer[0] for step in steps if step.layer):
        stack = anatomy.stack(prefix)
        counted = [step.layer[1] + 1 for step in steps if step.layer and step.layer[0] == prefix]
        count = stack.count - stack.extra if stack else max(anatomy.sizes.get(prefix, 0), *counted)
        yield Run(prefix, first, count)
        first += count


def starting_weights(plan: Plan, grouping: Grouping, *, positive: bool) -> list[tuple[float, ...]]:
    """The weights that a plan gives each group, one per model.

    Args:
        plan: made from the recipe.
        grouping: its groups.
        positive: whether only weights above 0 can be learned, because they are a softmax.

    Raises:
        RecipeError: `wrong-value`: weights differ within a group; `out-of-range`: one is not positive.
    """
    found: list[dict[tuple[float, ...], str]] = [{} for _ in grouping.names]
    for step in merged_steps(plan):
        weights = step.settings["weight"]
        assert isinstance(weights, tuple)
        found[grouping.of[step.out.name]].setdefault(weights, step.out.name)
    faults = [_uneven(name, seen) for name, seen in zip(grouping.names, found, strict=True) if len(seen) > 1]
    faults += [_not_positive(w) for w in dict.fromkeys(w for seen in found for w in seen) if positive and min(w) <= 0]
    if faults:
        raise RecipeError(faults)
    usual = next(iter(next(seen for seen in found if seen)))
    return [next(iter(seen), usual) for seen in found]


def _uneven(group: str, seen: Mapping[tuple[float, ...], str]) -> Fault:
    told = [f"{name} has {' '.join(f'{w:g}' for w in weights)}" for weights, name in seen.items()]
    message = f"the tensors of `{group}` share one coefficient per model and must start alike; {listed(told, 2)}"
    hint = "give plain weights to start from" if group == ALL else "filter by nothing finer than layers"
    return Fault("wrong-value", message, subject="weight", hint=hint)


def _not_positive(weights: Sequence[float]) -> Fault:
    told = " ".join(f"{w:g}" for w in weights)
    message = f"the weights of a soup are learned as a softmax and must start above 0; found {told}"
    return Fault("out-of-range", message, subject="weight", hint="a small one, such as 0.01, can grow")


def as_setting(values: Sequence[float], grouping: Grouping) -> Setting:
    """One model's coefficients as a recipe writes them.

    A gradient of L values over L layers gives each layer its own, and a filter is any part of a name: the stack's
    prefix. Where that part stands in names of other tensors too, those are named in full before it.

    Args:
        values: one per group.
        grouping: the groups.
    """
    if not grouping.runs:
        return values[0]
    stacks = sorted(grouping.runs, key=lambda run: -len(run.filter))
    layers = [Branch(run.filter, tuple(values[run.first : run.first + run.count])) for run in stacks]
    named: dict[str, Branch] = {}
    while True:
        # the longest first: a name is no part of another one that is as long or shorter
        first = sorted(named.values(), key=lambda branch: -len(str(branch.filter)))
        made = Conditions((*first, *layers, Branch(None, values[0])))
        wrong = [name for name, group in grouping.of.items() if _value(made, name, grouping) != values[group]]
        if named.keys() >= set(wrong):
            return made
        named |= {name: Branch(name, values[grouping.of[name]]) for name in wrong}


def _value(setting: Conditions, name: str, grouping: Grouping) -> float:
    """What a setting comes to for a tensor, rounded as the arithmetic rounds it."""
    found = matching(setting, name)
    value = interpolate(found, grouping.at[name]) if isinstance(found, tuple) else found
    return as_float32(float(value if value is not None else "nan"))


def as_float32(value: float) -> float:
    """The nearest float32 in the fewest digits that say which it is.

    Example:
        >>> as_float32(0.30000001192092896), as_float32(1 / 3)
        (0.3, 0.33333334)
    """
    import numpy as np

    return float(str(np.float32(value)))


def confirm(plan: Plan, grouping: Grouping, weights: Sequence[Sequence[float]]) -> None:
    """Make sure that the plan of a learned recipe gives every tensor what was learned for it.

    Raises:
        AssertionError: it does not, which is a bug.
    """
    for step in merged_steps(plan):
        planned = step.settings["weight"]
        assert isinstance(planned, tuple)
        learned = tuple(weights[grouping.of[step.out.name]])
        if tuple(map(as_float32, planned)) != learned:
            raise AssertionError(f"{step.out.name} is planned with {planned}, and {learned} was learned")


def with_weights(
    recipe: Recipe, learning: Sequence[int], weights: Sequence[Sequence[float]], grouping: Grouping
) -> Recipe:
    """The recipe with learned weights in the place of those it had.

    Args:
        recipe: what was learned for.
        learning: positions in `models` of the models whose weights were learned.
        weights: `[groups][models]`.
        grouping: the groups.
    """
    models = list(recipe.models)
    for number, position in enumerate(learning):
        setting = as_setting([row[number] for row in weights], grouping)
        entry = models[position]
        models[position] = replace(entry, parameters={**entry.parameters, "weight": setting})
    shared = {name: value for name, value in recipe.parameters.items() if name != "weight"}
    return replace(recipe, models=tuple(models), parameters=shared, locate=None)
