"""Random recipes in all the forms that mergekit's format has, for the methods of sums and stacks.

Weights are multiples of 1/1000 of which no few sum to nearly zero: where weights cancel, mergekit divides by what is
left, and a difference in the last bit would be blown up.
"""

from __future__ import annotations

from itertools import combinations
from random import Random
from typing import Any

from tests.peers.models import LAYERS, Family

Recipe = dict[str, Any]
FILTERS = ("self_attn", "mlp", "layers.1", "norm", "embed", "lm_head", "o_proj", "weight", "*", None)
FAR_FROM_ZERO = 0.2


def scalar(random: Random, low: float, high: float) -> float:
    return round(random.uniform(low, high), 3)


def gradient(random: Random, low: float, high: float) -> list[float]:
    return [scalar(random, low, high) for _ in range(random.randint(1, 5))]


def setting(random: Random, low: float, high: float) -> Any:
    """A number, a gradient, one filtered value with something for the rest, or a list of filtered values."""
    form = random.choice(["number", "number", "gradient", "filters"])
    if form == "number":
        return scalar(random, low, high)
    if form == "gradient":
        return gradient(random, low, high)
    filters = random.sample(FILTERS[:-2], random.randint(1, 3))
    values = [random.choice([scalar, gradient])(random, low, high) for _ in [*filters, None]]
    last = {"filter": random.choice(FILTERS[-2:]), "value": values[-1]}
    if last["filter"] is None and random.random() < 0.5:
        del last["filter"]
    return [*({"filter": f, "value": v} for f, v in zip(filters, values)), last]


def cancels(weights: list[float]) -> bool:
    """Whether some of the weights sum to nearly zero."""
    subsets = (s for n in range(1, len(weights) + 1) for s in combinations(weights, n))
    return any(abs(sum(subset)) < FAR_FROM_ZERO for subset in subsets)


def weights(random: Random, count: int, negative: bool) -> list[Any]:
    """One weight per model: any settings if all are positive, plain numbers where one is negative."""
    if not negative:
        return [setting(random, 0.1, 1.0) for _ in range(count)]
    while True:
        found = [scalar(random, -0.8, 1.0) for _ in range(count)]
        if min(found) < 0 and not cancels(found):
            return found


def entries(family: Family, models: list[str], own: list[Recipe]) -> list[Recipe]:
    return [{"model": model, **({"parameters": p} if p else {})} for model, p in zip(models, own)]


def switches(random: Random, *names: str) -> Recipe:
    """Some of the switches, each on or off, everywhere or by tensor."""
    found: Recipe = {}
    for name in names:
        if random.random() < 0.4:
            value: Any = random.random() < 0.5
            by_name = [{"filter": "mlp", "value": not value}, {"value": value}]
            found[name] = by_name if random.random() < 0.2 else value
    return found


def whole_or_sliced(random: Random, listed: list[Recipe], parameters: Recipe) -> Recipe:
    """The same models as `models`, or as slices that cut them all at the same layers."""
    level = {"parameters": parameters} if parameters else {}
    if random.random() < 0.6:
        return {"models": listed, **level}
    cut = random.randint(1, LAYERS - 1)
    slices = [
        {"sources": [{**entry, "layer_range": list(span)} for entry in listed]} for span in ((0, cut), (cut, LAYERS))
    ]
    return {"slices": slices, **level}


def linear(random: Random, family: Family) -> Recipe:
    """Two or three models, weights of either sign, whole or in mixed slices."""
    models = random.sample(family.everyone, random.randint(2, 3))
    if random.random() < 0.3:
        return mixed_slices(random, family, base=None)
    chosen = weights(random, len(models), negative=random.random() < 0.3)
    listed = entries(family, models, [{"weight": w} for w in chosen])
    return whole_or_sliced(random, listed, switches(random, "normalize"))


def slerp(random: Random, family: Family) -> Recipe:
    """Two models; `t` as any setting."""
    base, other = random.sample(family.everyone, 2)
    listed = entries(family, random.sample([base, other], 2), [{}, {}])
    return {"base_model": base, **whole_or_sliced(random, listed, {"t": setting(random, 0.0, 1.0)})}


def passthrough(random: Random, family: Family) -> Recipe:
    """One to four runs of layers, of any models, some scaled."""
    slices = []
    for _ in range(random.randint(1, 4)):
        start = random.randint(0, LAYERS - 1)
        own = {"scale": setting(random, -1.0, 2.0)} if random.random() < 0.5 else {}
        source = entries(family, [random.choice(family.everyone)], [own])[0]
        slices.append({"sources": [{**source, "layer_range": [start, random.randint(start + 1, LAYERS)]}]})
    level = {"parameters": {"scale": setting(random, 0.1, 2.0)}} if random.random() < 0.3 else {}
    return {"slices": slices, **level}


def task_arithmetic(random: Random, family: Family) -> Recipe:
    """Deltas, added up: weights of either sign, any λ, with or without the division."""
    if random.random() < 0.3:
        return mixed_slices(random, family, base=family.base)
    own, shared = of_deltas(random, density=False)
    shared |= switches(random, "normalize", "int8_mask")
    return of_a_base(random, family, own, shared)


def ties(random: Random, family: Family) -> Recipe:
    """The same, trimmed, with an election of signs and every switch."""
    own, shared = of_deltas(random, density=True)
    shared |= switches(random, "normalize", "rescale", "int8_mask")
    return of_a_base(random, family, own, shared)


def of_deltas(random: Random, density: bool) -> tuple[list[Recipe], Recipe]:
    """Parameters of two or three models, and shared ones."""
    chosen = weights(random, random.randint(2, 3), negative=random.random() < 0.4)
    own: list[Recipe] = [{"weight": w} for w in chosen]
    shared: Recipe = {"lambda": setting(random, 0.2, 1.5)} if random.random() < 0.5 else {}
    if density and random.random() < 0.3:
        shared["density"] = setting(random, 0.1, 1.0)
    elif density:
        own = [p | {"density": setting(random, 0.1, 1.0)} if random.random() < 0.8 else p for p in own]
    if random.random() < 0.2 and not any(isinstance(w, list) for w in chosen):
        shared["weight"] = own[0].pop("weight")
    return own, shared


def of_a_base(random: Random, family: Family, own: list[Recipe], shared: Recipe) -> Recipe:
    """Fine-tunes beside their base, which is listed among them, as slices must, or not."""
    models = random.sample(family.tunes, len(own))
    listed = entries(family, models, own)
    found = whole_or_sliced(random, listed, shared)
    if "slices" in found:
        for piece in found["slices"]:
            piece["sources"].append({"model": family.base, "layer_range": piece["sources"][0]["layer_range"]})
    elif random.random() < 0.5:
        found["models"].insert(random.randint(0, len(models)), {"model": family.base})
    return {"base_model": family.base, **found}


def mixed_slices(random: Random, family: Family, base: str | None) -> Recipe:
    """Slices whose sources have equally long runs of layers, but not the same ones."""
    slices = []
    for _ in range(random.randint(1, 3)):
        length = random.randint(1, LAYERS - 1)
        sources = []
        for model in random.sample(family.tunes, 2):
            start = random.randint(0, LAYERS - length)
            own = {"weight": setting(random, 0.1, 1.0)}
            sources.append({"model": model, "layer_range": [start, start + length], "parameters": own})
        if base is not None:
            start = random.randint(0, LAYERS - length)
            sources.append({"model": base, "layer_range": [start, start + length]})
        piece: Recipe = {"sources": sources}
        if random.random() < 0.3:
            piece["parameters"] = {"normalize": random.random() < 0.5}
        slices.append(piece)
    return {"slices": slices, **({"base_model": base} if base else {})}


FORMS = {
    "linear": linear,
    "slerp": slerp,
    "task_arithmetic": task_arithmetic,
    "ties": ties,
    "passthrough": passthrough,
}
