"""`cuvee report`: one page on a merge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, OUT, Common, Device, Switch, Whole
from cuvee.cli.progress import metered

if TYPE_CHECKING:
    from cuvee.api.reporting import ReportResult


def report(
    folder: Path,
    /,
    *,
    told: Annotated[list[Path] | None, Parameter(name="--with", consume_multiple=True, negative=())] = None,
    search: Annotated[list[Path] | None, Parameter(name="--search", consume_multiple=True, negative=())] = None,
    tasks: Annotated[list[str] | None, Parameter(name="--tasks", consume_multiple=True, negative=())] = None,
    out: Annotated[Path, OUT] = Path("report.html"),
    root: Path | None = None,
    sample: str = "64MiB",
    overwrite: Switch = False,
    limit: Whole | None = None,
    device: Device = "cpu",
    common: Common = COMMON,
) -> int:
    """Write one page on a merge: was it worth it, how was it made, what was done.

    One HTML file that asks for nothing from outside: verdicts, recipe, lineage,
    weights and heat maps layer by layer, scores, searches, what contributed,
    citations and hashes. It has a section for what it is given, and says of the
    others how to get them. It needs `pip install "cuvee[report]"`.

    For example:

        cuvee report merged
        cuvee report merged --tasks sums.yml python.yml -o merged.html
        cuvee report merged --with compare.json explain.json --search found

    Args:
        folder: The folder of the merge.
        told: Files of JSON that `cuvee compare` or `cuvee explain` printed.
        search: Folders that `cuvee search` wrote.
        tasks: Task files: compare base, inputs and merge now.
        out: The file to write.
        root: Where the recipe's paths lead from; without it they are looked for from
            the merge's folder, from the one above it and from the working folder.
        sample: Bytes of each model to read for the figures of layers; 0 for none.
        overwrite: Replace a file that is there already.
        limit: With --tasks, most rows of every task, instead of what it says.
        device: With --tasks, where models are run.
        common: How to print.
    """
    from cuvee import api

    with metered("looking", "step") as meter:
        found = api.report(
            folder,
            out,
            files=told or (),
            searches=search or (),
            tasks=tasks or (),
            root=root,
            sample=sample,
            overwrite=overwrite,
            progress=meter,
            asking={"limit": limit, "device": device} if tasks else None,
        )
    data = {"path": found.path, "bytes": found.nbytes, "sections": found.sections, "notes": found.notes}
    return deliver(Answer("report", data, _text(found), notes=found.notes), common)


def _text(found: ReportResult) -> Iterator[RenderableType]:
    from cuvee.checkpoint.layout import format_size

    yield f"{found.path}: {format_size(found.nbytes)}"
    if lacking := [title for title, there in found.sections.items() if not there]:
        yield f"nothing to tell yet under: {', '.join(lacking)}"
