"""`cuvee moe`: mixtures of experts made of dense models. One file per word that follows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.moe.text import data_of, outline_text, written_text
from cuvee.cli.options import COMMON, Common, MaxMemory, Out, Switch, Threads, Whole
from cuvee.cli.progress import metered
from cuvee.errors import Fault, UsageError

if TYPE_CHECKING:
    from cuvee.execute import Progress
    from cuvee.mixtures.model import Mixture

_Count = Annotated[Whole | None, Parameter(validator=Number(gte=1))]


def moe(
    source: str,
    /,
    *,
    out: Out | None = None,
    upcycle: _Count = None,
    experts_per_token: _Count = None,
    noise_scale: float | None = None,
    gate_scale: float | None = None,
    seed: Whole | None = None,
    dtype: str | None = None,
    architecture: str | None = None,
    overwrite: Switch = False,
    resume: Switch = False,
    threads: Threads = None,
    max_memory: MaxMemory = None,
    shard_size: Annotated[str, Parameter(name="--shard-size")] = "5GB",
    allow_nonfinite: Switch = False,
    dry_run: Switch = False,
    common: Common = COMMON,
) -> int:
    """Make a mixture of experts of dense models.

    The models and their prompts stand in a YAML file, as mergekit-moe reads it.
    With --upcycle the experts are copies of one model's MLPs instead.

    For example:

        cuvee moe mixture.yml -o mixed
        cuvee moe mixture.yml --dry-run
        cuvee moe --upcycle 8 model -o mixed --noise-scale 0.01

    Args:
        source: The YAML file; with --upcycle, the model: a folder or hub id.
        out: The folder to make; --dry-run needs none.
        upcycle: Make so many experts of one model's MLPs.
        experts_per_token: With --upcycle, experts that a token is sent to; 2 without it.
        noise_scale: With --upcycle, spread of noise added to every expert.
        gate_scale: With --upcycle, spread of the random routers; 0.02 without it.
        seed: With --upcycle, seed of routers and noise.
        dtype: With --upcycle, float dtype of the output.
        architecture: With --upcycle, layout of the output, such as mixtral.
        overwrite: Replace a model folder that is there already.
        resume: Go on from where the same run was interrupted, if it was.
        threads: Workers; one per core without it.
        max_memory: Most memory besides file cache, such as 8GiB.
        shard_size: Largest weight file, such as 5GB.
        allow_nonfinite: Take models that hold NaN or infinity.
        dry_run: Only say what would be made; headers are read, nothing is written.
        common: How to print.
    """
    from cuvee import api

    asked = _asked(
        source,
        upcycle,
        experts_per_token=experts_per_token,
        noise_scale=noise_scale,
        gate_scale=gate_scale,
        seed=seed,
        dtype=dtype,
        architecture=architecture,
    )
    if dry_run:
        outline = api.plan_mixture(asked)
        return deliver(Answer("moe", data_of(outline, out), outline_text(outline), notes=outline.notes), common)
    if out is None:
        message = "--out should be given; found none"
        raise UsageError(Fault("bad-argument", message, subject="out", hint="for example -o mixed"))
    start = time.perf_counter()
    with metered("writing", "bytes") as meter:

        def follow(progress: Progress) -> None:
            meter(progress.done, progress.total, progress.tensor)

        result = api.build_mixture(
            asked,
            out,
            overwrite=overwrite,
            resume=resume,
            threads=threads,
            max_memory=max_memory,
            shard_size=shard_size,
            allow_nonfinite=allow_nonfinite,
            progress=follow,
        )
    seconds = time.perf_counter() - start
    data = {**data_of(result.outline, result.path), "seconds": round(seconds, 3), "notes": list(result.notes)}
    data["resumed"] = {"bytes": result.resumed_bytes, "was_complete": result.was_complete}
    data["content"] = result.record["output"]["content"]
    return deliver(Answer("moe", data, written_text(result, seconds), notes=result.notes), common)


def _asked(source: str, upcycle: int | None, **given: Any) -> Path | Mixture:
    """What to make: the file, or copies of a model.

    Raises:
        UsageError: options of copies are given for a file, which says these things itself.
    """
    from cuvee.api.mixing import upcycled

    said = {name: value for name, value in given.items() if value is not None}
    if upcycle is not None:
        return upcycled(source, upcycle, **said)
    if said:
        option = "--" + next(iter(said)).replace("_", "-")
        message = f"{option} goes with --upcycle; a mixture's file says `{next(iter(said))}` itself"
        raise UsageError(Fault("bad-argument", message, subject=option))
    if Path(source).is_dir():
        message = f"{source} should be the YAML file of a mixture; found a folder"
        hint = "to make copies of one model's MLPs: `cuvee moe --upcycle 8 MODEL -o OUT`"
        raise UsageError(Fault("bad-argument", message, subject=source, hint=hint))
    return Path(source)
