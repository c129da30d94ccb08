"""A method to begin with, from the figures. Orders of methods are from benchmarks/results/catalogue.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean

from cuvee.preflight.facts import PairFigures, Reason, Suggestion
from cuvee.preflight.structure import recipe_of
from cuvee.types import ModelRef


def suggest(
    models: Sequence[ModelRef], base: ModelRef | None, pairs: Sequence[PairFigures], reasons: Sequence[Reason]
) -> Suggestion:
    """A method, why, and a recipe of it.

    Args:
        models: what is to be merged, the base not among them.
        base: what they were tuned from.
        pairs: figures of every two models.
        reasons: what was found.
    """
    if base is None:
        return _without_base(models)
    if len(models) == 1:
        why = "one model and its base: half of what was learned, half of what it may have forgotten (WiSE-FT)"
        return Suggestion("wise_ft", why, recipe_of("wise_ft", models, base, parameters={"alpha": 0.5}))
    if len({frozenset(r.models) for r in reasons if r.rule == "same"}) == len(pairs):
        why = "the models are the same: whatever is averaged, it is them"
        return Suggestion("linear", why, recipe_of("linear", models, weight=1.0))
    return _of_task_vectors(models, base, pairs, {reason.rule for reason in reasons})


def _without_base(models: Sequence[ModelRef]) -> Suggestion:
    if len(models) == 2:
        why = "two models without a visible base: halfway along the arc between them"
        return Suggestion("slerp", why, recipe_of("slerp", models[1:], models[0], parameters={"t": 0.5}))
    why = "no base is visible, so there are no task vectors: the mean of the models"
    return Suggestion("linear", why, recipe_of("linear", models, weight=1.0))


def _of_task_vectors(
    models: Sequence[ModelRef], base: ModelRef, pairs: Sequence[PairFigures], rules: set[str]
) -> Suggestion:
    cosine = mean(list(_cosines(pairs)) or [0.0])
    if "alike" in rules and cosine >= 0.5:
        why = f"the task vectors are nearly one direction (mean cosine {cosine:.2f}): a soup, the mean of the models"
        return Suggestion("linear", why, recipe_of("linear", models, weight=1.0))
    if rules & {"far", "pruned"}:
        why = "one model has gone much farther than usual, and would outvote the others: their mean instead"
        return Suggestion("linear", why, recipe_of("linear", models, weight=1.0))
    if rules & {"low-rank", "shared-directions"}:
        why = "the task vectors use few or the same directions, which TSV-M makes orthogonal before it adds them up"
        return Suggestion("tsv_m", why, recipe_of("tsv_m", models, base, parameters={"lambda": 1.0}))
    if "signs" in rules:
        shown = max((p.sign_conflict or 0.0 for p in pairs), default=0.0)
        why = f"the models pull up to {shown:.0%} of the entries in opposite directions, on which TIES takes a vote"
        recipe = recipe_of("ties", models, base, weight=1.0, density=0.5, parameters={"lambda": 1.0})
        return Suggestion("ties", why, recipe)
    why = f"the task vectors hardly disagree (mean cosine {cosine:.2f}): they are added, with weights 1/√{len(models)}"
    weight = round(len(models) ** -0.5, 3)
    return Suggestion("task_arithmetic", why, recipe_of("task_arithmetic", models, base, weight=weight))


def _cosines(pairs: Sequence[PairFigures]) -> Iterator[float]:
    return (pair.task_cosine for pair in pairs if pair.task_cosine is not None)
