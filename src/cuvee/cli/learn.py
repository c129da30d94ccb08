"""`cuvee learn`: learn the weights of a merge on data."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common, MaxMemory, Out, Seed, Switch, Threads
from cuvee.cli.progress import metered
from cuvee.cli.tables import Column, table
from cuvee.cli.words import duration

if TYPE_CHECKING:
    from cuvee.coefficients.outcome import LearnResult


def learn(
    recipe: Path,
    /,
    *,
    out: Out,
    data: Annotated[list[str], Parameter(name="--data", negative=())],
    objective: Literal["entropy", "cross-entropy", "kl"] = "entropy",
    per: Literal["model", "layer"] = "layer",
    steps: Annotated[Seed, Parameter(validator=Number(gte=0))] = 500,
    lr: float = 1e-3,
    batch_size: Annotated[Seed, Parameter(validator=Number(gte=1))] = 16,
    seed: Seed = 0,
    max_length: Annotated[Seed, Parameter(validator=Number(gte=1))] = 512,
    threads: Threads = None,
    max_memory: MaxMemory = None,
    overwrite: Switch = False,
    common: Common = COMMON,
) -> int:
    """Learn the weights of a merge on data, and write them down as a recipe.

    The recipe is one of task_arithmetic (AdaMerging) or linear (learned soup)
    with whole models; its weights, if it has any, are where learning starts.
    What is written is a recipe like any other, which `cuvee merge` carries out,
    and beside it a log of the same name that ends in .json. All models are held
    in memory at once; docs/learn.md says what that takes.

    For example:

        cuvee learn recipe.yml --data texts.jsonl -o learned.yml
        cuvee learn recipe.yml --data math=m.jsonl --data code=c.jsonl -o l.yml
        cuvee learn soup.yml --data v.jsonl --objective cross-entropy -o l.yml
        cuvee merge learned.yml -o merged

    Args:
        recipe: The recipe file.
        out: The learned recipe, a .yml file.
        data: A file of JSON lines with `text` or `input_ids`, and `label` for
            cross-entropy on classes; or MODEL=FILE, once for each model.
        objective: What to minimise: the entropy of predictions, which needs no
            labels; cross-entropy; or kl, the divergence from each expert.
        per: One weight per model, or per model and layer.
        steps: Steps of Adam.
        lr: Its learning rate.
        batch_size: Rows of each data file in a step.
        seed: Seed of the order of rows.
        max_length: Tokens after which a row is cut.
        threads: Threads of torch; one gives the same recipe on every run.
        max_memory: Most memory for models, such as 8GiB; what is free without it.
        overwrite: Replace a recipe and log that are there already.
        common: How to print.
    """
    from cuvee import api

    start = time.perf_counter()
    with metered("learning", "step") as meter:
        result = api.learn(
            recipe,
            data=_files(data),
            objective=objective,
            per=per,
            steps=steps,
            lr=lr,
            batch_size=batch_size,
            seed=seed,
            max_length=max_length,
            out=out,
            overwrite=overwrite,
            threads=threads,
            max_memory=max_memory,
            progress=meter,
        )
    seconds = time.perf_counter() - start
    return deliver(Answer("learn", _data(result, seconds), _text(result, seconds), notes=result.notes), common)


def _files(words: Sequence[str]) -> str | Mapping[str, str]:
    """One file for all models, or files by model; a file whose own name has a `=` is a file."""
    from cuvee.errors import Fault, UsageError

    named = [word.partition("=") for word in words if "=" in word and not Path(word).exists()]
    if not named and len(words) == 1:
        return words[0]
    if len(named) < len(words) or len({name for name, _, _ in named}) < len(named):
        message = f"--data should be one FILE, or MODEL=FILE once for each model; found {' '.join(words)}"
        raise UsageError(Fault("bad-argument", message, subject="data"))
    return {name: file for name, _, file in named}


def _data(result: LearnResult, seconds: float) -> dict[str, Any]:
    from cuvee.coefficients.outcome import log_beside

    log = None if result.path is None else log_beside(result.path)
    return {"path": result.path, "log": log, "seconds": round(seconds, 3), **_unversioned(result.log)}


def _unversioned(log: Mapping[str, Any]) -> dict[str, Any]:
    """The log without the version of its own form: the answer has one."""
    return {key: value for key, value in log.items() if key != "schema"}


def _text(result: LearnResult, seconds: float) -> Iterator[RenderableType]:
    groups = list(next(iter(result.coefficients.values())))
    yield table(
        [Column("group"), *(Column(name) for name in result.coefficients)],
        ([group, *(f"{values[group]:.4f}" for values in result.coefficients.values())] for group in groups),
    )
    yield ""
    for name, before in result.before.items():
        yield f"{result.log['objective']} on {name}: {before:.4f} before, {result.after[name]:.4f} after"
    if result.temperature is not None:
        yield f"temperature {result.temperature:.4f}, no part of the recipe"
    yield f"written to {result.path} in {duration(seconds)}; `cuvee merge` makes the model"
