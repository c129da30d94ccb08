"""`cuvee card`: a merge's model card for the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import printable
from cuvee.cli.options import COMMON, OUT, Common, Switch

if TYPE_CHECKING:
    from cuvee.api import CardResult


def card(
    folder: Path,
    /,
    *,
    evidence: Annotated[list[Path] | None, Parameter(name="--with", consume_multiple=True, negative=())] = None,
    search: Annotated[list[Path] | None, Parameter(name="--search", consume_multiple=True, negative=())] = None,
    charts: Switch = False,
    out: Annotated[Path | None, OUT] = None,
    root: Path | None = None,
    overwrite: Switch = False,
    common: Common = COMMON,
) -> int:
    """Write the model card of a merge, README.md, for the hub.

    Its front matter names the models that were merged, the strictest of their
    licences, and scores; the page tells the recipe, revisions, hashes and
    sources, what a comparison found, and how to make the model again. Where
    licences conflict or are not stated, the card says so and chooses none.

    For example:

        cuvee card merged
        cuvee compare math code merged --tasks sums.yml --json > scores.json
        cuvee card merged --with scores.json --search found --charts --overwrite

    Args:
        folder: The folder, as `cuvee merge` made it.
        evidence: What `cuvee compare --json` and `cuvee explain --json` printed.
        search: Folders that `cuvee search` wrote.
        charts: Draw what these tell as pictures beside the card, and show them in
            it; needs `pip install "cuvee[report]"`.
        out: The file; README.md in the folder without it.
        root: Folder that the recipe's model paths start from, to read the inputs'
            own cards; looked for around the merge without it.
        overwrite: Replace a card that is there already.
        common: How to print.
    """
    from cuvee import api

    made = api.card(
        folder, evidence or [], searches=search or [], charts=charts, out=out, root=root, overwrite=overwrite
    )
    return deliver(Answer("card", _data(made), _text(made), notes=made.notes), common)


def _data(made: CardResult) -> dict[str, Any]:
    found = made.licence
    licence = {
        "id": found.id,
        "name": found.name,
        "link": found.link,
        "decided_by": found.decided_by,
        "reasons": found.reasons,
        "warnings": found.warnings,
        "stated": [{"model": one.model, "licences": one.ids, "source": one.source} for one in found.stated],
    }
    told = {"base_models": made.base_models, "charts": made.charts, "notes": made.notes}
    return {"path": made.path, "licence": licence, **told}


def _text(made: CardResult) -> Iterator[RenderableType]:
    found = made.licence
    yield Text(printable(f"written to {made.path}"), style="bold")
    if made.charts:
        yield Text(printable(f"charts beside it: {', '.join(path.name for path in made.charts)}"))
    yield Text(printable(f"base models: {', '.join(made.base_models) or 'none of them is known on the hub'}"))
    named = f" ({found.name})" if found.name else ""
    yield Text(printable(f"licence: {found.id}{named}{': ' if found.reasons else ''}{'. '.join(found.reasons)}"))
    for warning in found.warnings:
        yield Text(printable(f"to be looked at: {warning}"), style="yellow")
