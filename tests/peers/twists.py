"""Changes to a recipe that the two tools answer differently, one maker of recipes per id of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from random import Random

from tests.peers.forms import METHODS, random_recipe
from tests.peers.models import LAYERS, Family
from tests.peers.new_twists import NEW_TWISTS
from tests.peers.recipes import Recipe, linear, passthrough, scalar, slerp, task_arithmetic, ties

Twist = Callable[[Random, Family], Recipe]


def of(method: str, found: Recipe) -> Recipe:
    return {"merge_method": method, "dtype": "float32", **deepcopy(found)}


def first_entry(recipe: Recipe) -> Recipe:
    """The first model, or the first source of the first slice."""
    return recipe["models"][0] if "models" in recipe else recipe["slices"][0]["sources"][0]


def plain_linear(random: Random, family: Family, *weights: float) -> Recipe:
    listed = [{"model": m, "parameters": {"weight": w}} for m, w in zip(random.sample(family.tunes, 3), weights)]
    return {"merge_method": "linear", "dtype": "float32", "models": listed}


def misspelt_parameter(random: Random, family: Family) -> Recipe:
    recipe = of("ties", ties(random, family))
    first_entry(recipe).setdefault("parameters", {})[random.choice(["densty", "weigth", "wieght"])] = 0.1
    return recipe


def misspelt_key(random: Random, family: Family) -> Recipe:
    recipe = of("linear", linear(random, family))
    place = random.choice([recipe, first_entry(recipe)])
    place[random.choice(["dtyp", "paramaters", "residual_weight"])] = 0.5
    return recipe


def weights_sum_to_zero(random: Random, family: Family) -> Recipe:
    weight = scalar(random, 0.1, 1.0)
    recipe = plain_linear(random, family, weight, -weight)
    if random.random() < 0.5:
        return recipe
    divided = {"base_model": family.base, "parameters": {"normalize": True}}
    return {**recipe, "merge_method": "task_arithmetic", **divided}


def density_outside(random: Random, family: Family) -> Recipe:
    method = random.choice([m for m in ("ties", "breadcrumbs", "breadcrumbs_ties") if m in METHODS])
    recipe = random_recipe(method, random, family)
    entry = next(e for e in _entries(recipe) if e["model"] != family.base)
    entry.setdefault("parameters", {})["density"] = random.choice([0, 0.0, 1.5, -0.5])
    return recipe


def t_outside(random: Random, family: Family) -> Recipe:
    return of("slerp", {**slerp(random, family), "parameters": {"t": random.choice([-0.2, 1.1, 2])}})


def shared_parameter_at_a_model(random: Random, family: Family) -> Recipe:
    recipe = of("slerp", slerp(random, family))
    first_entry(recipe)["parameters"] = {"t": 0.3}
    return recipe


def backward_range(random: Random, family: Family) -> Recipe:
    recipe = of("passthrough", passthrough(random, family))
    piece = {"sources": [{"model": family.base, "layer_range": random.choice([[2, 2], [3, 1]])}]}
    recipe["slices"].insert(random.randint(0, 1), piece)
    return recipe


def number_as_text(random: Random, family: Family) -> Recipe:
    return plain_linear(random, family, "0.5", scalar(random, 0.1, 1))  # type: ignore[arg-type]


def infinite_parameter(random: Random, family: Family) -> Recipe:
    return plain_linear(random, family, random.choice([float("nan"), float("inf")]), scalar(random, 0.1, 1))


def integer_dtype(random: Random, family: Family) -> Recipe:
    return of("passthrough", passthrough(random, family)) | {"dtype": "int64"}


def slices_without_their_base(random: Random, family: Family) -> Recipe:
    recipe = of(*random.choice([("ties", ties(random, family)), ("task_arithmetic", task_arithmetic(random, family))]))
    listed = [e for e in _entries(recipe) if e["model"] != family.base]
    sources = [{**e, "layer_range": [0, LAYERS]} for e in {e["model"]: e for e in listed}.values()]
    recipe.pop("models", None)
    return recipe | {"slices": [{"sources": sources}]}


def one_model_twice(random: Random, family: Family) -> Recipe:
    model = random.choice(family.everyone)
    runs = [
        {"model": model, "layer_range": r, "parameters": {"weight": scalar(random, 0.1, 1)}} for r in ([0, 2], [2, 4])
    ]
    return {"merge_method": "linear", "dtype": "float32", "slices": [{"sources": runs}]}


def module_by_its_role(random: Random, family: Family) -> Recipe:
    recipe = plain_linear(random, family, 0.4, 0.6)
    models = recipe.pop("models")
    return recipe | {"modules": {"text_decoder": {"models": models}}}


def _entries(recipe: Recipe) -> list[Recipe]:
    if "models" in recipe:
        return recipe["models"]
    return [source for piece in recipe["slices"] for source in piece["sources"]]


TWISTS: Mapping[str, Twist] = {
    "misspelt-parameter": misspelt_parameter,
    "misspelt-key": misspelt_key,
    "zero-weight-sum": weights_sum_to_zero,
    "density-outside": density_outside,
    "t-outside": t_outside,
    "ill-placed-parameter": shared_parameter_at_a_model,
    "backward-range": backward_range,
    "number-as-text": number_as_text,
    "infinite-parameter": infinite_parameter,
    "integer-dtype": integer_dtype,
    "slices-without-base": slices_without_their_base,
    "model-twice-in-slice": one_model_twice,
    "module-by-role": module_by_its_role,
    **NEW_TWISTS,
}
