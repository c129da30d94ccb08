"""Changes to recipes of the catalogue's methods that the two tools answer differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from tests.peers.forms import METHODS, random_recipe
from tests.peers.models import Family
from tests.peers.recipes import Recipe, scalar

Setting = tuple[str, str, Sequence[Any]]
"""Method, parameter, values outside its range."""

GAMMAS: Sequence[Setting] = [(method, "gamma", (-0.1, 1.5)) for method in ("breadcrumbs", "breadcrumbs_ties")]
SHARES: Sequence[Setting] = [("sce", "select_topk", (-0.5, 1.5))]
REACHES: Sequence[Setting] = [("nearswap", "t", (0, -0.1))]
NEGATIVE: Sequence[Setting] = [
    ("karcher", "max_iter", (-1,)),
    ("karcher", "tol", (-1e-5,)),
    ("ram", "epsilon", (-1e-3,)),
    ("ramplus_tl", "r", (-0.5,)),
    ("ramplus_tl", "alpha", (-0.5,)),
]


def outside(random: Random, family: Family, settings: Sequence[Setting]) -> Recipe:
    """A recipe whose shared parameter is outside its range."""
    method, name, values = random.choice([s for s in settings if s[0] in METHODS])
    recipe = random_recipe(method, random, family)
    for entry in entries_of(recipe):
        entry.get("parameters", {}).pop(name, None)
    recipe["parameters"] = {**recipe.get("parameters", {}), name: random.choice(values)}
    return recipe


def entries_of(recipe: Recipe) -> list[Recipe]:
    if "models" in recipe:
        return recipe["models"]
    return [source for piece in recipe["slices"] for source in piece["sources"]]


def gamma_outside(random: Random, family: Family) -> Recipe:
    return outside(random, family, GAMMAS)


def share_outside(random: Random, family: Family) -> Recipe:
    return outside(random, family, SHARES)


def reach_outside(random: Random, family: Family) -> Recipe:
    return outside(random, family, REACHES)


def negative_setting(random: Random, family: Family) -> Recipe:
    return outside(random, family, NEGATIVE)


def angles_of_weights_zero(random: Random, family: Family) -> Recipe:
    """As `zero-weight-sum`, for the methods whose weights say how far along an arc."""
    method = random.choice([m for m in OF_ARCS if m in METHODS])
    weight = scalar(random, 0.1, 1.0)
    listed = [{"model": m, "parameters": {"weight": w}} for m, w in zip(family.tunes, (weight, -weight))]
    return {"merge_method": method, "dtype": "float32", "models": listed}


OF_ARCS = ("nuslerp", "multislerp")
NEW_TWISTS = {
    "gamma-outside": gamma_outside,
    "select-topk-outside": share_outside,
    "nearswap-t-outside": reach_outside,
    "negative-setting": negative_setting,
    "zero-weight-sum-on-arcs": angles_of_weights_zero,
}
ABOUT: Mapping[str, Sequence[str]] = {
    "gamma-outside": [method for method, *_ in GAMMAS],
    "select-topk-outside": ["sce"],
    "nearswap-t-outside": ["nearswap"],
    "negative-setting": [method for method, *_ in NEGATIVE],
    "zero-weight-sum-on-arcs": OF_ARCS,
}
"""The methods that a twist is about."""
WAITING = {key for key, about in ABOUT.items() if not set(about) & set(METHODS)}
"""Those of methods that do not exist yet."""
