"""`cuvee collect`: statistics of a model from calibration data."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.text import Text

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import printable
from cuvee.cli.options import COMMON, Common, Out, Seed, Switch, batch_size_of
from cuvee.cli.progress import metered
from cuvee.cli.words import counted, duration
from cuvee.errors import listed

if TYPE_CHECKING:
    from cuvee.collecting.collect import Collected


def collect(
    *models: str,
    data: Annotated[list[Path], Parameter(name="--data", negative=())],
    out: Out,
    kind: Literal["gram", "fisher"] = "gram",
    column: str | None = None,
    max_samples: Annotated[int, Parameter(name="--max-samples")] = 256,
    max_length: Annotated[int, Parameter(name="--max-length")] = 512,
    batch_size: Annotated[str, Parameter(name="--batch-size")] = "auto",
    labels: Literal["data", "model"] = "data",
    seed: Seed = 0,
    through_merged: Annotated[Switch, Parameter(name="--through-merged")] = False,
    alpha: float = 0.9,
    ridge: float = 0.0,
    overwrite: Switch = False,
    common: Common = COMMON,
) -> int:
    """Run a model over calibration data and keep what RegMean or Fisher merging asks for.

    The file is a safetensors file with the model's own tensor names: for `gram`
    the mean of x xᵀ over the inputs x of every linear map, for `fisher` the mean
    square of the gradient of every tensor. It is made on the CPU, in float32,
    and added up in float64. A recipe names it under `statistics`.

    For example:

        cuvee collect math --data math.jsonl -o math.gram.safetensors
        cuvee collect math --data table.csv --column say -o math.gram.safetensors
        cuvee collect math --data math.jsonl --kind fisher -o math.safetensors
        cuvee collect math code --data all.txt --through-merged -o statistics

    Args:
        models: Model folder or hub id; several with --through-merged.
        data: JSON lines with `text` or `input_ids`, and `label` where there are
            classes; lines of text (.txt); or a table (.csv, .tsv). For several
            models one file each, or one for all.
        out: The file to make; with --through-merged the folder for one per model.
        kind: Gram matrices of inputs, or the diagonal Fisher.
        column: Column of a table, or key of JSON lines, that holds the text.
        max_samples: Most samples, from the start of the data.
        max_length: Most tokens of a sample.
        batch_size: Samples run at once, or `auto`: those of one length together.
        labels: What a Fisher predicts: what the data say, or what the model draws.
        seed: Seed of masks (masked language models) and of what the model draws.
        through_merged: Take the inputs of each layer through the layers merged
            before it, as RegMean++ does.
        alpha: What off-diagonal entries are multiplied with when those are merged.
        ridge: What is added to the diagonal then, as a share of its mean.
        overwrite: Replace files of statistics that are there already.
        common: How to print.
    """
    from cuvee import api

    start = time.perf_counter()
    with metered("collecting", "sample") as meter:
        made = api.collect(
            list(models),
            data=list(data),
            out=out,
            kind=kind,
            column=column,
            max_samples=max_samples,
            max_length=max_length,
            batch_size=batch_size_of(batch_size),
            labels=labels,
            seed=seed,
            through_merged=through_merged,
            alpha=alpha,
            ridge=ridge,
            overwrite=overwrite,
            progress=meter,
        )
    seconds = time.perf_counter() - start
    notes = tuple(dict.fromkeys(note for one in made for note in one.notes))
    return deliver(Answer("collect", _data(made, seconds), _text(made, seconds), notes=notes), common)


def _data(made: Sequence[Collected], seconds: float) -> dict[str, Any]:
    files = [
        {
            "path": one.path,
            "model": one.model,
            "kind": one.kind,
            "head": one.head,
            "rows": one.rows,
            "samples": one.samples,
            "tokens": one.tokens,
            "bytes": one.nbytes,
            "tensors": one.tensors,
            "without": one.without,
            "notes": one.notes,
        }
        for one in made
    ]
    return {"files": files, "seconds": round(seconds, 3)}


def _text(made: Sequence[Collected], seconds: float) -> Iterator[Text]:
    from cuvee.checkpoint.layout import format_size

    for one in made:
        what = f"{counted(len(one.tensors), 'tensor')} with a statistic, {len(one.without):,} without"
        yield Text(printable(f"{one.model}: {what}"), style="bold")
        for reason, names in _by_reason(one.without).items():
            yield Text(printable(f"  {len(names):,}: {reason} ({listed(names)})"))
        data = f"{counted(one.samples, 'sample')}, {counted(one.tokens, 'token')}"
        yield Text(printable(f"written to {one.path} — {format_size(one.nbytes)} from {data}"))
    yield Text(f"in {duration(seconds)}")


def _by_reason(without: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, reason in without.items():
        found[reason].append(name)
    return found
