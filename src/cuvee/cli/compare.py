"""`cuvee compare`: is a model better than those it was made of?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common, Device, Seed, Switch, Whole
from cuvee.cli.progress import metered
from cuvee.errors import Fault, UsageError


def compare(
    *models: str,
    tasks: Annotated[list[str] | None, Parameter(name="--tasks", consume_multiple=True, negative=())] = None,
    answers: Annotated[list[Path] | None, Parameter(name="--answers", consume_multiple=True, negative=())] = None,
    parents: Annotated[list[str] | None, Parameter(name="--parents", consume_multiple=True, negative=())] = None,
    experts: Annotated[list[str] | None, Parameter(name="--experts", consume_multiple=True, negative=())] = None,
    metrics: Annotated[list[str] | None, Parameter(name="--metrics", consume_multiple=True, negative=())] = None,
    groups: Annotated[list[str] | None, Parameter(name="--groups", consume_multiple=True, negative=())] = None,
    raw: Switch = False,
    ensemble: Switch = False,
    draws: Annotated[Whole, Parameter(validator=Number(gte=100))] = 2000,
    seed: Seed = 0,
    level: float = 0.95,
    interval: Literal["percentile", "basic"] = "percentile",
    limit: Whole | None = None,
    dtype: str = "float32",
    device: Device = "cpu",
    no_cache: Annotated[Switch, Parameter(name="--no-cache")] = False,
    common: Common = COMMON,
) -> int:
    """Compare models on tasks: against their best parent, and is it more than noise?

    Every model on every task, as a share of the score of the task's expert; mean
    and minimum over tasks; a paired bootstrap against the best parent, and the
    verdict in words: better, worse, or within noise. By groups of the data where
    a column is named; and whether answers still have the form asked for.

    For example:

        cuvee compare math code merged --tasks sums.yml python.yml --parents math code
        cuvee compare math code merged --tasks sums.yml --groups language --json
        cuvee compare --answers answers/*.safetensors --parents math code

    Args:
        models: Model folders, hub ids or recipe files; or some of those in the files.
        tasks: Task files (docs/eval.md), `module:function` or `file.py:function`.
        answers: Files of answers (docs/compare.md), instead of running models.
        parents: Models that the others are compared with; without it those that no
            merge has made, where some of the models are made by one, else all.
        experts: TASK=MODEL: whose score is the unit there; the best parent without it.
        metrics: METRIC for all tasks, or TASK=METRIC.
        groups: Columns of the data to tell the metric by.
        raw: Average the metric itself, one for all tasks, not shares of experts.
        ensemble: Also run the ensemble of the parents: the mean of what they predict.
        draws: How many times the rows are drawn again.
        seed: Seed of the draws.
        level: Coverage of the intervals.
        interval: How an interval is made of the draws.
        limit: Most rows of every task, instead of what it says.
        dtype: What models are run in.
        device: Where they are run: `cpu`, `cuda`, `cuda:1` and so on.
        no_cache: Ask everything anew, and keep nothing.
        common: How to print.
    """
    from cuvee import api
    from cuvee.cli.compare_text import text

    with metered("comparing", "step" if answers else "row") as meter:
        found = api.compare(
            list(models),
            tasks or [],
            answers=answers,
            parents=parents,
            experts=_pairs("--experts", experts or []),
            metrics=_metrics(metrics or []),
            groups=groups or [],
            raw=raw,
            ensemble=ensemble,
            draws=draws,
            seed=seed,
            level=level,
            interval=interval,
            progress=meter,
            asking={"limit": limit, "dtype": dtype, "device": device, "cache": not no_cache},
        )
    return deliver(Answer("compare", found.as_data(), text(found), notes=found.notes), common)


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE`, several.

    Raises:
        UsageError: one is none.
    """
    pairs = [entry.partition("=") for entry in given]
    wrong = [
        Fault("bad-argument", f"{option} should be TASK=NAME; found {entry[:60]!r}", subject=option.lstrip("-"))
        for entry, (name, _, value) in zip(given, pairs)
        if not (name and value)
    ]
    if wrong:
        raise UsageError(wrong)
    return {name: value for name, _, value in pairs}


def _metrics(given: Sequence[str]) -> dict[str, str] | str:
    """One metric for all tasks, or one for each."""
    return given[0] if len(given) == 1 and "=" not in given[0] else _pairs("--metrics", given)
