"""`cuvee tune`: a short fine-tune after a merge."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import RenderableType
from rich.text import Text

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import printable
from cuvee.cli.options import COMMON, Common, Device, Out, Seed, Switch, Threads
from cuvee.cli.progress import metered
from cuvee.cli.words import counted, duration, in_millions

if TYPE_CHECKING:
    from cuvee.tuning.outcome import Figure, TuneResult

_Count = Annotated[Seed, Parameter(validator=Number(gte=1))]


def tune(
    model: str,
    /,
    *,
    data: Path,
    out: Out,
    column: str | None = None,
    steps: _Count = 200,
    batch_size: _Count = 16,
    learning_rate: float | None = None,
    warm_up: Seed | None = None,
    weight_decay: float = 0.0,
    clip: float = 1.0,
    lora: _Count | None = None,
    only: Annotated[list[str] | None, Parameter(negative=(), consume_multiple=True)] = None,
    holdout: float = 0.1,
    check_every: _Count | None = None,
    patience: _Count = 5,
    max_length: _Count = 512,
    seed: Seed = 0,
    dtype: Literal["float32", "bfloat16"] = "float32",
    device: Device = "cpu",
    threads: Threads = None,
    overwrite: Switch = False,
    common: Common = COMMON,
) -> int:
    """Fine-tune a model for a few steps: heal a stack, or refine a merge.

    The model is a causal language model or a classifier of texts. A share of the
    rows is held out and never trained on. What is written is the best state on
    these rows, and the model as it was if none is better. The output is an
    ordinary folder with the names and dtypes of the input.

    For example:

        cuvee tune stack --data texts.jsonl -o healed
        cuvee tune stack --data texts.jsonl --lora 8 -o healed
        cuvee tune stack --data texts.jsonl --only layers:7-8 -o healed
        cuvee tune merged --data table.csv --column say --steps 50 -o tuned

    Args:
        model: Model folder or hub id.
        data: JSON lines with `text` or `input_ids`, and `label` where there are
            classes; lines of text (.txt); or a table (.csv, .tsv).
        out: The folder to make.
        column: Column of a table, or key of JSON lines, that holds the text.
        steps: Steps of AdamW.
        batch_size: Rows of a step.
        learning_rate: The highest; 5e-5 by default, with --lora 2e-4.
        warm_up: Steps in which the rate rises; a twentieth of all without it.
        weight_decay: AdamW's, on everything but biases and norms.
        clip: Most that the norm of the gradient may be.
        lora: Train low-rank changes of this rank, and add them to the weights.
        only: Change tensors only that meet one of these: layers:4-7, part of a
            name, or a pattern with * of the whole name.
        holdout: Share of the rows that is never trained on; 0 for none.
        check_every: Steps between looks at these rows.
        patience: Looks without a gain after which it stops.
        max_length: Tokens after which a row is cut.
        seed: Seed of the split, the order of rows, dropout and low-rank factors.
        dtype: What the model is run in; its weights stay float32 meanwhile.
        device: Where it is trained: cpu, cuda, cuda:1 …
        threads: Threads of torch; the same number gives the same bytes.
        overwrite: Replace a model folder that is there already.
        common: How to print.
    """
    from cuvee import api

    start = time.perf_counter()
    with metered("tuning", "step") as meter:
        result = api.tune(
            model,
            out,
            data=data,
            column=column,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            warm_up=warm_up,
            weight_decay=weight_decay,
            clip=clip,
            lora=lora,
            only=only or (),
            holdout=holdout,
            check_every=check_every,
            patience=patience,
            max_length=max_length,
            seed=seed,
            dtype=dtype,
            device=device,
            threads=threads,
            overwrite=overwrite,
            progress=meter,
        )
    seconds = time.perf_counter() - start
    return deliver(Answer("tune", _data(result, seconds), _text(result, seconds), notes=result.notes), common)


def _data(result: TuneResult, seconds: float) -> dict[str, Any]:
    figures = {key: _figure(getattr(result, key)) for key in ("before", "after", "gain")}
    return {
        "path": result.path,
        **figures,
        "kept": result.kept,
        "steps": len(result.losses),
        "stopped": result.stopped,
        "trained": result.trained,
        "tensors": result.tensors,
        "training_rows": result.training_rows,
        "held_rows": result.held_rows,
        "losses": result.losses,
        "checks": [asdict(check) for check in result.checks],
        "settings": result.record["tuned"][-1]["settings"],
        "notes": result.notes,
        "seconds": round(seconds, 3),
    }


def _figure(one: Figure | None) -> dict[str, float] | None:
    return None if one is None else asdict(one)


def _text(result: TuneResult, seconds: float) -> Iterator[RenderableType]:
    rows = f"{counted(result.training_rows, 'row')}, {result.held_rows:,} held out"
    yield f"{in_millions(result.trained)} numbers trained, {counted(len(result.losses), 'step')} on {rows}"
    if result.before is not None and result.after is not None and result.gain is not None:
        yield Text(f"loss of the held-out rows: {_shown(result.before)} before, {_shown(result.after)} after")
        if result.kept:
            early = ", and stopped early" if result.stopped else ""
            yield f"better by {_shown(result.gain)}; kept the state after step {result.kept:,}{early}"
    yield Text(printable(f"written to {result.path} in {duration(seconds)}: {_changed(result)}"))


def _changed(result: TuneResult) -> str:
    if not result.tensors:
        return "no tensor changed"
    return f"{len(result.tensors):,} of {counted(len(result.record['output']['tensors']), 'tensor')} changed"


def _shown(one: Figure) -> str:
    """A figure with its standard error.

    Example:
        >>> from cuvee.tuning.outcome import Figure
        >>> _shown(Figure(1.25, 0.031))
        '1.2500 ± 0.0310'
    """
    return f"{one.value:.4f} ± {one.stderr:.4f}"
