"""`cuvee unpack`: one task of a pack, as a model of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.merge import data_of, honest_interrupt, text_of
from cuvee.cli.options import COMMON, Common, FarOut, Switch, Threads
from cuvee.cli.pack_text import data_of as data_of_pack
from cuvee.cli.pack_text import tasks_table
from cuvee.cli.progress import metered

if TYPE_CHECKING:
    from cuvee.execute import Progress


def unpack(
    pack: Path,
    /,
    *,
    task: str | None = None,
    out: FarOut | None = None,
    base: str | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative=(), show_default=False)] = False,
    overwrite: Switch = False,
    threads: Threads = None,
    shard_size: Annotated[str, Parameter(name="--shard-size")] = "5GB",
    common: Common = COMMON,
) -> int:
    """Write one task of a pack out as a model, or list the tasks.

    It is a passthrough merge of PACK#TASK: with configuration and tokenizer of
    the base, and a record of how it was made.

    For example:

        cuvee unpack packs/vision --list
        cuvee unpack packs/vision --task cars -o cars
        cuvee unpack packs/vision --task cars -o cars --base models/base

    Args:
        pack: The pack's folder.
        task: The task.
        out: The folder to make.
        base: The base, where it is not where the pack says.
        list_: Only list the tasks.
        overwrite: Replace a model folder that is there already.
        threads: Workers; one per core without it.
        shard_size: Largest weight file, such as 5GB.
        common: How to print.
    """
    from cuvee import api

    _check(task, out, list_)
    if list_:
        facts = api.inspect_pack(pack)
        return deliver(Answer("unpack", {"pack": data_of_pack(facts)}, iter([tasks_table(facts)])), common)
    assert task is not None
    assert out is not None
    start = time.perf_counter()
    with honest_interrupt(Path(out)), metered("unpacking", "bytes") as meter:

        def follow(progress: Progress) -> None:
            meter(progress.done, progress.total, progress.tensor)

        settings: dict[str, Any] = {"overwrite": overwrite, "threads": threads, "shard_size": shard_size}
        result = api.unpack(pack, out, task=task, base=base, progress=follow, **settings)
    seconds = time.perf_counter() - start
    return deliver(Answer("unpack", data_of(result, seconds), text_of(result, seconds), result.notes), common)


def _check(task: str | None, out: Path | str | None, list_: bool) -> None:
    """Either a list is asked for, or a task and a place for it."""
    from cuvee.errors import Fault, UsageError

    if list_ == (task is not None and out is not None) or (list_ and (task or out)):
        message = "either --list, or both --task and --out should be given"
        raise UsageError(Fault("bad-argument", message, subject="task", hint="for example --task cars -o cars"))
