"""`cuvee ensemble update`: new rows with right answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.ensemble.shared import Data, Id, Label, Trust
from cuvee.cli.options import COMMON, Common, Whole
from cuvee.cli.tables import Column, table

if TYPE_CHECKING:
    from cuvee.api import EnsembleFacts
    from cuvee.predict.updating import Update


def update(
    folder: Path,
    /,
    *,
    data: Data,
    label: Label = None,
    id: Id = None,
    decay: float | None = None,
    window: Whole | None = None,
    trust: Trust = None,
    common: Common = COMMON,
) -> int:
    """Fit the combiner of a saved ensemble again with new rows, and tell of drift.

    No member is trained.

    For example:

        cuvee ensemble update ens --data later.csv --window 2000

    Args:
        folder: The ensemble.
        data: New rows with right answers: .jsonl, .csv, .tsv or .parquet.
        label: Column of the right answers; without it the one that `fit` had.
        id: Column that names rows; likewise.
        decay: With which probability an old row stays; all stay without it.
        window: How many of the newest rows stay.
        trust: Types, functions or members that may run besides those that are known.
        common: How to print.
    """
    from cuvee import api
    from cuvee.cli.ensemble.telling import facts_data

    facts, report = api.update_ensemble(folder, data, label=label, id=id, decay=decay, window=window, trust=trust or ())
    told = {"did": report.did, "new_rows": report.new_rows, "kept_rows": report.kept_rows, "drift": report.as_rows()}
    effect = report.effect
    told["effect"] = None if effect is None else {"value": effect.value, "low": effect.low, "high": effect.high}
    notes = tuple(dict.fromkeys([*report.notes, *facts.notes]))
    answer = Answer("ensemble update", {**facts_data(facts), **told, "notes": list(notes)}, _text(facts, report), notes)
    return deliver(answer, common)


def _text(facts: EnsembleFacts, report: Update) -> Iterator[RenderableType]:
    from cuvee.cli.ensemble.telling import facts_text

    yield f"{report.did}: {report.new_rows:,} new rows, {report.kept_rows:,} of the old ones kept"
    yield ""
    columns = [Column("name"), Column("metric"), Column("before", True), Column("now", True), Column("change", True)]
    yield table([*columns, Column("p", True), Column("")], [_line(one) for one in report.as_rows()])
    yield ""
    yield from facts_text(facts)


def _line(row: dict[str, object]) -> list[str]:
    numbers = [row["before"], row["after"], row["change"], row["p"]]
    told = ["–" if n is None or n != n else f"{n:.3f}" for n in numbers]
    return [str(row["name"]), str(row["metric"]), *told, "drift" if row["alarm"] else ""]
