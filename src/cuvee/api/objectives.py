"""What a search maximises: scorers as they are, or what names one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from cuvee.api.arguments import as_path, refuse, unfit
from cuvee.data.functions import function_named, names_function
from cuvee.errors import CuveeError, Fault, UsageError
from cuvee.types import Scorer

Objective = Scorer | str | os.PathLike[str]
"""A scorer, the file of a task, or `module:function`, a Python function that makes a scorer."""


def as_scorers(given: Objective | Sequence[Objective], argument: str) -> tuple[Scorer, ...]:
    """Scorers of what was given.

    Args:
        given: one objective or several.
        argument: what it is called, for messages.

    Raises:
        UsageError: it is none, or the function that it names cannot be had.
    """
    several = isinstance(given, Sequence) and not isinstance(given, str)
    objectives = list(given) if several else [given]  # type: ignore[arg-type]
    if not objectives:
        refuse([Fault("bad-argument", f"`{argument}` must be one task or more; found none", subject=argument)])
    scorers: list[Scorer] = []
    faults: list[Fault] = []
    for one in objectives:
        try:
            scorers.append(_scorer(one, argument))
        except CuveeError as error:
            faults += error.faults
    refuse(faults)
    return tuple(scorers)


def _scorer(given: Any, argument: str) -> Scorer:
    if isinstance(given, str) and names_function(given):
        return _made(given, argument)
    if isinstance(given, str | os.PathLike):
        return scorer_of_task(given)
    if not _is_scorer(given):
        raise UsageError(unfit(argument, "a scorer, the file of a task, or `module:function`", given))
    return cast(Scorer, given)


def scorer_of_task(task: str | os.PathLike[str]) -> Scorer:
    """The scorer of a task file, which learns its tokenizer when the models are opened: see `furnish`.

    Raises:
        UsageError: it is a task of lm-eval, which is not asked row by row; or an extra is not installed.
        InputError: every fault of the file, or else of its data.
    """
    from cuvee.judging import read_task, scorer

    file = as_path(task, "objective", "an objective must be the file of a task, or `module:function`")
    return scorer(read_task(file))


def furnish(scorers: Sequence[Scorer], folders: Iterable[Path | None]) -> None:
    """Give tasks that were read from files the tokenizer and the image processor of the first folder that has them.

    Args:
        scorers: the tasks; others than those of the judge are left as they are.
        folders: of the models that are searched among, in the recipe's order; `None` for one that has none.
    """
    from cuvee.families.heads import load_image_processor
    from cuvee.families.inputs import load_tokenizer
    from cuvee.judging.scoring import TaskScorer

    bare = [one for one in scorers if isinstance(one, TaskScorer)]
    for folder in folders if bare else ():
        for scorer in bare:
            if folder is not None and scorer.tokenizer is None:
                scorer.tokenizer = load_tokenizer(folder)
            if folder is not None and scorer.image_processor is None and "image" in scorer.task.kind:
                scorer.image_processor = load_image_processor(folder)


def _made(named: str, argument: str) -> Scorer:
    function = function_named(named, argument, "makes a scorer")
    try:
        found = function()
    except CuveeError:
        raise
    except Exception as error:
        message = f"`{argument}` names `{named}`, which could not be called: {type(error).__name__}: {error}"
        hint = "a function without arguments that gives a scorer, in a module that can be imported from here"
        raise UsageError(Fault("bad-argument", message, subject=argument, hint=hint)) from error
    if not _is_scorer(found):
        raise UsageError(unfit(argument, f"a scorer, from `{named}`", found))
    return cast(Scorer, found)


def _is_scorer(value: object) -> bool:
    name, count = getattr(value, "name", None), getattr(value, "count", None)
    return isinstance(name, str) and type(count) is int and callable(getattr(value, "score", None))


def objective_notes(scorers: Sequence[Scorer], metrics: Sequence[str]) -> Iterator[str]:
    """What there is to know of several objectives together."""
    if len(set(metrics)) > 1:
        named = ", ".join(f"{scorer.name} ({metric})" for scorer, metric in zip(scorers, metrics))
        yield f"the gain is the mean of different metrics, which may not weigh the same: {named}"
