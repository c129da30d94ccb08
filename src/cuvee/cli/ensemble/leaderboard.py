"""`cuvee ensemble leaderboard`: members, combiners and the ensemble side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.ensemble.shared import Id, Label, Trust
from cuvee.cli.options import COMMON, Common
from cuvee.cli.progress import metered
from cuvee.cli.tables import Column, table

if TYPE_CHECKING:
    from cuvee.predict.leaderboard import Leaderboard, Standing


def leaderboard(
    folder: Path,
    /,
    *,
    data: Annotated[Path | None, Parameter(name="--data")] = None,
    label: Label = None,
    id: Id = None,
    metrics: Annotated[list[str] | None, Parameter(name="--metrics", consume_multiple=True, negative=())] = None,
    combiners: Annotated[list[str] | None, Parameter(name="--combiners", consume_multiple=True, negative=())] = None,
    trust: Trust = None,
    common: Common = COMMON,
) -> int:
    """Judge members, combiners of them and the ensemble side by side.

    Without --data on the rows that the combiner was fitted on, every estimate made
    without the row; with it on rows that no member was trained on.

    For example:

        cuvee ensemble leaderboard ens
        cuvee ensemble leaderboard ens --data test.csv --metrics accuracy

    Args:
        folder: The ensemble.
        data: A table with right answers: .jsonl, .csv, .tsv or .parquet.
        label: Column of the right answers; without it the one that `fit` had.
        id: Column that names rows; likewise.
        metrics: What is told; the first orders the table.
        combiners: Those that are tried; the usual ones without.
        trust: Types, functions or members that may run besides those that are known.
        common: How to print.
    """
    from cuvee import api

    with metered("judging", "step") as meter:
        found = api.ensemble_leaderboard(
            folder, data, label=label, id=id, metrics=metrics, combiners=combiners, trust=trust or (), progress=meter
        )
    told: dict[str, Any] = {"metric": found.metric, "rows": found.as_rows(), "left_out": dict(found.left_out)}
    told["notes"] = list(found.notes)
    return deliver(Answer("ensemble leaderboard", told, _text(found), notes=found.notes), common)


def _text(found: Leaderboard) -> Iterator[RenderableType]:
    metrics = list(dict.fromkeys(metric for one in found.standings for metric in one.scores))
    columns = [Column("name"), Column("kind"), *(Column(metric, True) for metric in metrics)]
    columns += [Column("over best member", True), Column("µs/row", True), Column("estimate")]
    yield table(columns, [_line(one, metrics) for one in found.standings])
    for name, why in found.left_out.items():
        yield f"{name}: not tried: {why}"


def _line(one: Standing, metrics: list[str]) -> list[str]:
    scores = [f"{one.scores[m].value:.3f}" if m in one.scores else "–" for m in metrics]
    gain = one.against
    over = "–" if gain is None else f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
    cost = "–" if one.us_per_row is None else f"{one.us_per_row:.3g}"
    return [one.name, one.kind, *scores, over, cost, one.estimate]
