"""Every deterministic method of mergekit that Cuvee has, with the recipes that are drawn for it."""

from __future__ import annotations

from random import Random

from cuvee import methods
from tests.peers import catalogue, recipes
from tests.peers.models import Family
from tests.peers.recipes import Recipe

FORMS = recipes.FORMS | catalogue.FORMS
METHODS = tuple(name for name in FORMS if name in methods.names())


def random_recipe(method: str, random: Random, family: Family) -> Recipe:
    """A recipe of a method; all its model paths are absolute."""
    return {"merge_method": method, "dtype": "float32", **FORMS[method](random, family)}
