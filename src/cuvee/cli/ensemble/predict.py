"""`cuvee ensemble predict`: what an ensemble says of the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.ensemble.shared import Data, Id, Trust
from cuvee.cli.options import COMMON, OUT, Common, Switch
from cuvee.cli.tables import Column, table

if TYPE_CHECKING:
    from cuvee.api import Predictions

_SHOWN: Final = 20


def predict(
    folder: Path,
    /,
    *,
    data: Data,
    out: Annotated[Path | None, OUT] = None,
    id: Id = None,
    trust: Trust = None,
    overwrite: Switch = False,
    common: Common = COMMON,
) -> int:
    """Predict the rows of a table with a saved ensemble.

    For example:

        cuvee ensemble predict ens --data new.csv -o predictions.csv
        cuvee ensemble predict ens --data new.jsonl --id name --json

    Args:
        folder: The ensemble.
        data: A table: .jsonl, .csv, .tsv or .parquet.
        out: A file to write: .jsonl, .csv or .tsv.
        id: Column that names rows; without it the one that `fit` had.
        trust: Types, functions or members that may run besides those that are known.
        overwrite: Replace a file that is there.
        common: How to print.
    """
    from cuvee import api

    found = api.predict_ensemble(folder, data, out, id=id, trust=trust or (), overwrite=overwrite)
    told = {"rows": len(found.ids), "classes": list(found.classes), "path": found.path, "notes": list(found.notes)}
    if found.path is None:
        told["predictions"] = found.as_rows()
    return deliver(Answer("ensemble predict", told, _text(found), notes=found.notes), common)


def _text(found: Predictions) -> Iterator[RenderableType]:
    if found.path is not None:
        yield f"{len(found.ids):,} rows: {found.path}"
        return
    columns = [Column("row"), Column("prediction"), Column("probability", True)]
    yield table(columns, [_line(found, i) for i in range(min(_SHOWN, len(found.ids)))])
    if len(found.ids) > _SHOWN:
        yield f"… and {len(found.ids) - _SHOWN:,} more: -o FILE writes all of them"


def _line(found: Predictions, i: int) -> list[str]:
    said = found.labels[i]
    label = f"{said:.4g}" if isinstance(said, float) else str(said)
    chance = "–" if found.probabilities is None else f"{found.probabilities[i].max():.3f}"
    return [found.ids[i], label, chance]
