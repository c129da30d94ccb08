"""Explain a merge: what every model, and every group of layers, contributed to its scores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from cuvee.api.arguments import callback_faults, refuse, switch_faults, unfit
from cuvee.errors import CuveeError, Fault, integer_faults, number_faults

if TYPE_CHECKING:
    from cuvee.explaining.explanation import Explanations
    from cuvee.searching.seat import Build
    from cuvee.types import Scorer

BUDGET: Final = 256
"""Sets of parts that are scored at most, for each of merge, layers and ensemble."""


def explain(
    folder: str | os.PathLike[str],
    tasks: Any,
    *,
    layers: int | None = None,
    ensemble: bool | None = None,
    budget: int = BUDGET,
    seed: int = 0,
    limit: int | None = None,
    root: str | os.PathLike[str] | None = None,
    max_memory: str | int | None = None,
    build: Build | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Explanations:
    """Which component contributed: leave-one-out and Shapley values, with error bars (docs/explain.md).

    The merge is made again in memory with some of its models, for every set of them or for those that drawn orders
    pass through; so is the ensemble of the same models, and with `layers` the merge with some of its layers.

    Args:
        folder: the folder of a merge, with its record.
        tasks: task files, `module:function`, tasks that were read, or scorers; one or several.
        layers: also explain so many groups of consecutive layers: one that is left out has the base's weights.
        ensemble: also explain the mean of what the models predict; where that is possible without it.
        budget: most sets that are scored, for each of merge, layers and ensemble; all of them where that is enough.
        seed: of drawn orders and, with `limit`, of drawn rows.
        limit: most rows of every task, instead of what it says.
        root: the folder that the record's paths start from; looked for without it.
        max_memory: most memory, in bytes or as `"8GiB"`; half of what is free without it.
        build: makes what the tasks run from a candidate; a model of transformers without it.
        progress: called with sets scored, their number, and what it is at.

    Raises:
        UsageError: an argument is wrong, the budget too small, or a task is asked of folders only.
        RecipeError: the merge is one whose parts cannot be left out.
        InputError: there is no record, models are gone or changed, or a task does not fit them.
        ResourceError: too little memory.
    """
    from cuvee.checkpoint import parse_size

    given = list(tasks) if isinstance(tasks, list | tuple) else [tasks]
    refuse(
        [
            *(
                []
                if given
                else [Fault("bad-argument", "`tasks` must be one task or more; found none", subject="tasks")]
            ),
            *number_faults(seed=seed, limit=limit),
            *integer_faults("budget", budget, least=2),
            *([] if layers is None else integer_faults("layers", layers, least=1)),
            *([] if ensemble is None else switch_faults(ensemble=ensemble)),
            *callback_faults(progress),
        ]
    )
    scorers = _scorers(given, limit, seed)
    from cuvee.api.explain_run import Asked, carry_out
    from cuvee.api.records import recorded

    most = None if max_memory is None else parse_size(max_memory)
    asked = Asked(scorers, layers, ensemble, budget, seed, most, build, progress)
    return carry_out(recorded(folder, root), asked)


def _scorers(given: Sequence[Any], limit: int | None, seed: int) -> tuple[Scorer, ...]:
    """The tasks as scorers.

    Raises:
        CuveeError: the faults of all.
    """
    from cuvee.judging import Task, read_task, scorer

    made: list[Scorer] = []
    faults: list[Fault] = []
    kinds: list[type[CuveeError]] = []
    for one in given:
        try:
            if isinstance(one, str | os.PathLike):
                made.append(scorer(read_task(one, limit=limit, seed=None if limit is None else seed)))
            elif isinstance(one, Task):
                made.append(scorer(one))
            elif callable(getattr(one, "score", None)):
                made.append(one)
            else:
                refuse([unfit("tasks", "task files, `module:function`, tasks or scorers", one)])
        except CuveeError as error:
            faults += error.faults
            kinds.append(type(error))
    if faults:
        raise kinds[0](faults)
    names = [one.name for one in made]
    twice = sorted({name for name in names if names.count(name) > 1})
    message = f"tasks should have names of their own; several are called `{twice[0]}`" if twice else ""
    refuse([Fault("bad-argument", message, subject="tasks", hint="give them a `name`")] if twice else [])
    return tuple(made)
