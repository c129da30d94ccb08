"""`cuvee push`: send a finished model folder to the hub or to a store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import printable
from cuvee.cli.options import COMMON, Common, Switch
from cuvee.cli.progress import metered
from cuvee.cli.words import counted, duration

if TYPE_CHECKING:
    from cuvee.api import PushResult


def push(
    folder: Path,
    target: str,
    /,
    *,
    yes: Switch = False,
    private: Switch = False,
    revision: str | None = None,
    message: str | None = None,
    overwrite: Switch = False,
    common: Common = COMMON,
) -> int:
    """Send a finished model folder to the hub or to a store, or say what that would do.

    The folder is verified first, as `cuvee verify` does, and must have been made
    by Cuvee. Without --yes nothing is sent: told are the files with their sizes
    and SHA-256, and what would be made or removed at the target. On the hub all
    files appear with one commit; in a store the record comes last, so that what
    has arrived so far is not taken for a whole model.

    For example:

        cuvee push merged me/my-merge
        cuvee push merged me/my-merge --yes --private
        cuvee push merged s3://bucket/models/merged --yes

    Args:
        folder: The folder, as `cuvee merge` made it.
        target: ORG/NAME on the hub, or a URL such as s3://bucket/prefix.
        yes: Send it.
        private: Make the repository private, if it is made.
        revision: Branch to write, made if it is not there.
        message: Message of the commit.
        overwrite: Replace a model that stands at the target.
        common: How to print.
    """
    from cuvee.api import pushing

    start = time.perf_counter()
    with metered("verifying", "tensor") as meter:
        made = pushing.prepare(
            folder,
            target,
            private=private,
            revision=revision,
            message=message,
            overwrite=overwrite,
            progress=meter,
        )
    result = made.result
    if yes:
        with metered("sending", "bytes") as meter:
            result = pushing.send(made, meter)
    seconds = time.perf_counter() - start
    return deliver(Answer("push", _data(result, seconds), _text(result, seconds)), common)


def _data(result: PushResult, seconds: float) -> dict[str, Any]:
    return {**asdict(result), "bytes": result.nbytes, "seconds": round(seconds, 3)}


def _text(result: PushResult, seconds: float) -> Iterator[RenderableType]:
    from cuvee.checkpoint.layout import format_size

    for file in result.files:
        yield Text(printable(f"{file.sha256}  {format_size(file.nbytes):>9}  {file.name}"), no_wrap=True)
    for name in result.removes:
        yield Text(printable(f"{'removed' if result.done else 'would be removed'}: {name}"))
    if not any(file.name == "README.md" for file in result.files):
        yield Text(printable(f"no README.md: `cuvee card {result.path}` writes a model card"))
    all_files = f"{counted(len(result.files), 'file')}, {format_size(result.nbytes)}"
    where = result.target if result.revision is None else f"{result.target}@{result.revision}"
    if result.done:
        yield Text(printable(f"sent to {where}: {all_files} in {duration(seconds)}"), style="bold")
        return
    new = f", which would be made{' private' if result.private else ''}" if result.creates else ""
    yield Text(printable(f"would send {all_files} to {where}{new}; nothing was sent, --yes does it"), style="bold")
