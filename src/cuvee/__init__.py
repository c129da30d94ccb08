"""Cuvee: combine trained models.

The names below are loaded on first use, so that `import cuvee` costs next to nothing and imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cuvee import methods
    from cuvee.api import (
        AverageRecipe,
        AverageResult,
        CardResult,
        Evaluation,
        MergeResult,
        PackResult,
        PushResult,
        ReportResult,
        StackRecipe,
        StackResult,
        average,
        average_recipe,
        card,
        collect,
        compare,
        diff,
        evaluate,
        explain,
        inspect,
        inspect_pack,
        ladder,
        learn,
        load,
        load_recipe,
        merge,
        merge_state_dicts,
        pack,
        plan,
        push,
        recalibrate_batchnorm,
        recipe_from,
        report,
        search,
        search_pool,
        stack,
        stack_recipe,
        token_diff,
        transplant,
        tune,
        unpack,
        verify,
        will_merge,
    )
    from cuvee.errors import (
        CheckFailed,
        CuveeError,
        Fault,
        InputError,
        OutputExists,
        RecipeError,
        ResourceError,
        UsageError,
    )
    from cuvee.generate import TokenEnsemble
    from cuvee.packs import TaskSwitch
    from cuvee.predict import Bank, Ensemble, EnsembleClassifier, EnsembleRegressor, Member, cross_fit
    from cuvee.recipe import Recipe

_HOME = {
    "AverageRecipe": "cuvee.api",
    "AverageResult": "cuvee.api",
    "CardResult": "cuvee.api",
    "Evaluation": "cuvee.api",
    "MergeResult": "cuvee.api",
    "PackResult": "cuvee.api",
    "PushResult": "cuvee.api",
    "ReportResult": "cuvee.api",
    "StackRecipe": "cuvee.api",
    "StackResult": "cuvee.api",
    "average": "cuvee.api",
    "average_recipe": "cuvee.api",
    "card": "cuvee.api",
    "collect": "cuvee.api",
    "compare": "cuvee.api",
    "diff": "cuvee.api",
    "evaluate": "cuvee.api",
    "explain": "cuvee.api",
    "inspect": "cuvee.api",
    "ladder": "cuvee.api",
    "learn": "cuvee.api",
    "load": "cuvee.api",
    "load_recipe": "cuvee.api",
    "merge": "cuvee.api",
    "merge_state_dicts": "cuvee.api",
    "pack": "cuvee.api",
    "plan": "cuvee.api",
    "push": "cuvee.api",
    "recalibrate_batchnorm": "cuvee.api",
    "inspect_pack": "cuvee.api",
    "recipe_from": "cuvee.api",
    "report": "cuvee.api",
    "search": "cuvee.api",
    "search_pool": "cuvee.api",
    "stack": "cuvee.api",
    "stack_recipe": "cuvee.api",
    "token_diff": "cuvee.api",
    "transplant": "cuvee.api",
    "tune": "cuvee.api",
    "unpack": "cuvee.api",
    "verify": "cuvee.api",
    "will_merge": "cuvee.api",
    "CheckFailed": "cuvee.errors",
    "CuveeError": "cuvee.errors",
    "Fault": "cuvee.errors",
    "InputError": "cuvee.errors",
    "OutputExists": "cuvee.errors",
    "RecipeError": "cuvee.errors",
    "ResourceError": "cuvee.errors",
    "UsageError": "cuvee.errors",
    "TaskSwitch": "cuvee.packs",
    "Recipe": "cuvee.recipe",
    "TokenEnsemble": "cuvee.generate",
    **dict.fromkeys(
        ("Bank", "Ensemble", "EnsembleClassifier", "EnsembleRegressor", "Member", "cross_fit"), "cuvee.predict"
    ),
}

__all__ = [
    "AverageRecipe",
    "AverageResult",
    "Bank",
    "CardResult",
    "CheckFailed",
    "CuveeError",
    "Ensemble",
    "EnsembleClassifier",
    "EnsembleRegressor",
    "Evaluation",
    "Fault",
    "InputError",
    "Member",
    "MergeResult",
    "OutputExists",
    "PackResult",
    "PushResult",
    "Recipe",
    "RecipeError",
    "ReportResult",
    "ResourceError",
    "StackRecipe",
    "StackResult",
    "TaskSwitch",
    "TokenEnsemble",
    "UsageError",
    "average",
    "average_recipe",
    "card",
    "collect",
    "compare",
    "cross_fit",
    "diff",
    "evaluate",
    "explain",
    "inspect",
    "inspect_pack",
    "ladder",
    "learn",
    "load",
    "load_recipe",
    "merge",
    "merge_state_dicts",
    "methods",
    "pack",
    "plan",
    "push",
    "recalibrate_batchnorm",
    "recipe_from",
    "report",
    "search",
    "search_pool",
    "stack",
    "stack_recipe",
    "token_diff",
    "transplant",
    "tune",
    "unpack",
    "verify",
    "will_merge",
]


def __getattr__(name: str) -> Any:
    if name == "methods":
        return import_module("cuvee.methods")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'cuvee' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
