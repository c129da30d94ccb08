"""One ladder over the same models: best single, merge, soup, merge + masks, ensemble, cascade; scores against cost."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from cuvee.api.arguments import AnyRecipe, as_recipe, callback_faults, refuse, switch_faults, unfit
from cuvee.errors import Fault, RecipeError, number_faults

if TYPE_CHECKING:
    from cuvee.judging.ladder import Ladder

SOUPS: Final = ("greedy", "uniform")
MASKS: Final = ("emr", "tall")
_ASKING: Final = {"batch_size", "limit", "dtype", "device", "cache"}


def ladder(
    recipe: AnyRecipe,
    tasks: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    base: str | os.PathLike[str] | None = None,
    soup: Literal["greedy", "uniform"] = "greedy",
    masks: Literal["emr", "tall"] = "emr",
    holdout: float = 0.5,
    loss: float = 0.0,
    seed: int = 0,
    draws: int = 2000,
    level: float = 0.95,
    time_rows: int = 32,
    timed: bool = True,
    progress: Callable[[int, int, str], None] | None = None,
    asking: Mapping[str, Any] | None = None,
) -> Ladder:
    """The models of a recipe in every form that they can be combined in, on the same rows (docs/ladder.md).

    The rows of every task are divided once. On one part the best single model, the members of the soup, the model
    whose mask a task has and the threshold of the cascade are chosen; all rungs are judged on the other.

    Args:
        recipe: how the models are merged.
        tasks: task files, or `module:function`; one or several.
        base: the model that all were fine-tuned from, where the recipe names none.
        soup: `greedy` or `uniform`: an average of models with equal weights.
        masks: `emr`, a pack made by EMR; or `tall`, TALL masks on what the recipe adds to its base.
        holdout: share of the rows that the rungs are judged on, in (0, 1).
        loss: what the cascade may lose against the ensemble on the rows where its threshold is fitted, ≥ 0.
        seed: of the division and of the intervals.
        draws: bootstrap draws, 100 or more.
        level: coverage of intervals, (0, 1).
        time_rows: rows of every task that the time of a row is measured on, 1 or more.
        timed: measure times at all.
        progress: called with steps done, their number, and what it is at.
        asking: further arguments of `evaluate`: `batch_size`, `limit`, `dtype`, `device`, `cache`.

    Raises:
        UsageError: an argument is wrong.
        RecipeError: the recipe is, or merges one model only.
        InputError: models or tasks are, a task has too few rows, or a metric has no value.
    """
    given = list(tasks) if isinstance(tasks, list | tuple) else [tasks]
    refuse(
        [
            *_task_faults(given),
            *number_faults(seed=seed, draws=draws, time_rows=time_rows),
            *switch_faults(timed=timed),
            *callback_faults(progress),
            *_choice_faults("soup", soup, SOUPS),
            *_choice_faults("masks", masks, MASKS),
            *_number_faults(holdout, loss),
            *_asking_faults(asking or {}),
        ]
    )
    from cuvee import methods
    from cuvee.api.ladder_course import Asked
    from cuvee.api.ladder_run import carry_out
    from cuvee.explaining.subsets import models_of
    from cuvee.judging.bootstrap import Draws

    asked = as_recipe(recipe)
    models = models_of(asked, methods.get(asked.method).spec)
    if len(models) < 2:
        message = f"a ladder compares what can be made of two models or more; the recipe merges {len(models)}"
        raise RecipeError(Fault("wrong-number-of-models", message, subject="models"))
    how = Draws(draws, seed, float(level) if type(level) is int else level)
    settings = Asked(base, soup, masks, holdout, loss, how, time_rows if timed else 0, progress, dict(asking or {}))
    return carry_out(asked, models, given, settings)


def _task_faults(given: Sequence[Any]) -> list[Fault]:
    if given and all(isinstance(one, str | os.PathLike) for one in given):
        return []
    return [unfit("tasks", "task files or `module:function`, one or more", given)]


def _choice_faults(name: str, value: object, known: Sequence[str]) -> list[Fault]:
    return [] if value in known else [unfit(name, " or ".join(known), value)]


def _number_faults(holdout: object, loss: object) -> list[Fault]:
    wrong = []
    if not _is_number(holdout) or not 0 < holdout < 1:  # type: ignore[operator]
        wrong.append(unfit("holdout", "a number between 0 and 1, neither of them", holdout))
    if not _is_number(loss) or not loss >= 0:  # type: ignore[operator]
        wrong.append(unfit("loss", "a number of at least 0", loss))
    return wrong


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _asking_faults(asking: Mapping[str, Any]) -> list[Fault]:
    message = "`asking` takes {known}; found {found}"
    known = ", ".join(sorted(_ASKING))
    return [
        Fault("bad-argument", message.format(known=known, found=name), subject="asking")
        for name in asking
        if name not in _ASKING
    ]
