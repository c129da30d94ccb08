"""The front door: what the command line does, as Python calls."""

from __future__ import annotations

from cuvee.api.adapting import lora_apply, lora_info
from cuvee.api.arguments import AnyRecipe, load_recipe, recipe_from
from cuvee.api.averaging import AverageRecipe, AverageResult, average, average_recipe
from cuvee.api.carding import CardResult, card
from cuvee.api.collecting import collect
from cuvee.api.comparing import compare
from cuvee.api.comparing_tokens import token_diff
from cuvee.api.ensemble_changes import add_to_ensemble, remove_from_ensemble, update_ensemble
from cuvee.api.ensemble_facts import EnsembleFacts, MemberFacts, Predictions
from cuvee.api.ensembling import (
    ensemble_config,
    ensemble_leaderboard,
    explain_ensemble,
    fit_ensemble,
    predict_ensemble,
)
from cuvee.api.evaluating import Evaluation, evaluate
from cuvee.api.explaining import BUDGET, explain
from cuvee.api.files import diff, inspect, opened, plan, verify
from cuvee.api.foreseeing import will_merge
from cuvee.api.generating import generate
from cuvee.api.ladder_files import LadderFiles, ladder_files
from cuvee.api.laddering import ladder
from cuvee.api.learning import learn
from cuvee.api.loading import load
from cuvee.api.lora_algebra import extract_adapter, merge_adapters
from cuvee.api.memory import merge_state_dicts
from cuvee.api.merging import MergeResult, merge
from cuvee.api.mixing import build_mixture, plan_mixture, route_prompts, upcycled
from cuvee.api.packing import PackResult, inspect_pack, is_pack, pack, unpack
from cuvee.api.pushing import PushResult, push
from cuvee.api.recalibrating import recalibrate_batchnorm
from cuvee.api.reporting import ReportResult, report
from cuvee.api.searching import search, search_pool
from cuvee.api.stacking import StackRecipe, StackResult, stack, stack_recipe
from cuvee.api.transplanting import transplant
from cuvee.api.tuning import tune
from cuvee.searching.trials import TRIALS

__all__ = [
    "BUDGET",
    "TRIALS",
    "AnyRecipe",
    "AverageRecipe",
    "AverageResult",
    "CardResult",
    "EnsembleFacts",
    "Evaluation",
    "LadderFiles",
    "MemberFacts",
    "MergeResult",
    "PackResult",
    "Predictions",
    "PushResult",
    "ReportResult",
    "StackRecipe",
    "StackResult",
    "add_to_ensemble",
    "average",
    "average_recipe",
    "build_mixture",
    "card",
    "collect",
    "compare",
    "diff",
    "ensemble_config",
    "ensemble_leaderboard",
    "evaluate",
    "explain",
    "explain_ensemble",
    "extract_adapter",
    "fit_ensemble",
    "generate",
    "inspect",
    "inspect_pack",
    "is_pack",
    "ladder",
    "ladder_files",
    "learn",
    "load",
    "load_recipe",
    "lora_apply",
    "lora_info",
    "merge",
    "merge_adapters",
    "merge_state_dicts",
    "opened",
    "pack",
    "plan",
    "plan_mixture",
    "predict_ensemble",
    "push",
    "recalibrate_batchnorm",
    "recipe_from",
    "remove_from_ensemble",
    "report",
    "route_prompts",
    "search",
    "search_pool",
    "stack",
    "stack_recipe",
    "token_diff",
    "transplant",
    "tune",
    "unpack",
    "upcycled",
    "update_ensemble",
    "verify",
    "will_merge",
]
