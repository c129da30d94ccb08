"""The front door: what the command line does, as Python calls."""

from __future__ import annotations

from cuvee.api.arguments import AnyRecipe, load_recipe, recipe_from
from cuvee.api.files import diff, inspect, opened, plan, verify
from cuvee.api.loading import load
from cuvee.api.memory import merge_state_dicts
from cuvee.api.merging import MergeResult, merge
from cuvee.api.pushing import PushResult, push

__all__ = [
    "AnyRecipe",
    "MergeResult",
    "PushResult",
    "diff",
    "inspect",
    "load",
    "load_recipe",
    "merge",
    "merge_state_dicts",
    "opened",
    "plan",
    "push",
    "recipe_from",
    "verify",
]
