"""A pool of models: which members, which base, which method, and then the settings, under a budget of evaluations.

    1. every model alone                                       (one evaluation each)
    2. members ← the best;  of the next best, in order, those are added whose average with the members so far is not
       worth less, until there are k;  with fewer than two, the second best joins for what follows
    3. every base with task arithmetic, at λ = 0.3 and 0.6     (the base is no member)
    4. every method with the best base, at its first settings
    5. coordinate search over the settings of the best so far

What comes first is what most depends on; a budget that ends early ends with the later stages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cuvee.errors import Fault, UsageError
from cuvee.searching.coordinate import climb
from cuvee.searching.holes import Values
from cuvee.searching.space import Space
from cuvee.searching.strategy import Course, OneByOne

METHODS: Final = ("linear", "task_arithmetic", "ties", "dare_ties", "breadcrumbs", "della", "model_stock", "karcher")
"""Methods that are tried on a pool, all with few settings and without data."""

_LAMBDAS: Final = (0.3, 0.6)
_LAMBDA: Final = "parameters.lambda"


def pool_recipe(models: Sequence[str], bases: Sequence[str], dtype: str | None = None) -> dict[str, Any]:
    """A recipe with holes for a pool.

    Args:
        models: the members to choose from.
        bases: models that may be the base, at least one; members too, if they are named here.
        dtype: of the result.
    """
    entries = [
        {"model": one, "include": {"choose": [True, False], "name": f"include {one}"}, "parameters": {"weight": 1.0}}
        for one in models
    ]
    parameters = {
        "lambda": {"search": [0.05, 1.5], "start": 0.5, "name": _LAMBDA},
        "density": {"search": [0.1, 0.9], "start": 0.5, "name": "parameters.density"},
        "normalize": {"choose": [True, False], "name": "parameters.normalize"},
    }
    base: Any = {"choose": list(bases), "name": "base_model"} if len(bases) > 1 else bases[0]
    asked = {"merge_method": {"choose": list(METHODS), "name": "merge_method"}, "base_model": base}
    return {**asked, "models": entries, "parameters": parameters, **({"dtype": dtype} if dtype else {})}


class Pool(OneByOne):
    """The stages above; `k` is the largest number of members."""

    def __init__(self, space: Space, k: int | None = None) -> None:
        super().__init__(_staged(space, k or len(space.switches)))


def _staged(space: Space, k: int) -> Course:
    start = {**space.start, **dict.fromkeys(space.switches, False), "merge_method": "linear"}
    seen: list[tuple[float, Values]] = []
    alone: dict[str, float] = {}
    for name in space.switches:
        gain = yield (one := {**start, name: True})
        _note(seen, gain, one)
        alone |= {} if gain is None else {name: gain}
    order = sorted(alone, key=lambda name: -alone[name])
    if not order:
        return
    members = yield from _members(start, order, alone[order[0]], k, seen)
    members = members if len(members) > 1 else order[: min(2, k)]
    chosen = {**start, **dict.fromkeys(members, True)}
    for values in _bases(space, chosen):
        _note(seen, (yield values), values)
    bases = [item for item in seen if item[1]["merge_method"] == "task_arithmetic"]
    base = max(bases, key=lambda item: item[0])[1] if bases else chosen
    for method in (m for m in METHODS if m != "task_arithmetic"):
        values = {**base, "merge_method": method, _LAMBDA: 1.0 if method != "linear" else base[_LAMBDA]}
        _note(seen, (yield values), values)
    best = max(seen, key=lambda item: item[0])[1]
    yield from _refined(space, best)


def _members(start: Values, order: Sequence[str], best: float, k: int, seen: list[tuple[float, Values]]) -> Any:
    """Greedy soup, up to `k` members."""
    members = [order[0]]
    for name in order[1:]:
        if len(members) == k:
            break
        values = {**start, **dict.fromkeys((*members, name), True)}
        gain = yield values
        _note(seen, gain, values)
        if gain is not None and gain >= best:
            members, best = [*members, name], gain
    return members


def _bases(space: Space, chosen: Values) -> Iterator[Values]:
    """Every base with task arithmetic; a base is no member."""
    free = [hole for hole in space.holes if hole.name == "base_model"]
    options: Sequence[Any] = free[0].options if free else [None]
    for option in options:
        own: Mapping[str, Any] = {} if option is None else {"base_model": option}
        switch = f"include {option}"
        apart = {switch: False} if switch in space.switches else {}
        for value in _LAMBDAS:
            yield {**chosen, **own, **apart, "merge_method": "task_arithmetic", _LAMBDA: value}


def _refined(space: Space, best: Values) -> Course:
    """Coordinate search over what has a range; members, base and method stay."""
    ranged = tuple(hole for hole in space.holes if hole.kind == "range")
    inner = Space(space.data, ranged, ())
    course = climb(inner, {hole.name: best[hole.name] for hole in ranged})
    gain: float | None = None
    while True:
        try:
            values = course.send(gain)
        except StopIteration:
            return
        gain = yield {**best, **values}


def _note(seen: list[tuple[float, Values]], gain: float | None, values: Values) -> None:
    if gain is not None:
        seen.append((gain, values))


def make(space: Space, _seed: int, _objectives: int) -> Pool:
    """The stages over a pool's recipe.

    Raises:
        UsageError: the recipe is none of a pool.
    """
    names = {hole.name for hole in space.holes}
    if not ({"merge_method", _LAMBDA} <= names and space.switches):
        message = "the strategy `pool` is for pools of models; this recipe is not made from one"
        hint = "name the models with --pool, or use another strategy"
        raise UsageError(Fault("bad-argument", message, subject="strategy", hint=hint))
    return Pool(space)
