"""`cuvee ensemble explain`: which member contributed what to each prediction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.ensemble.shared import Data, Id, Trust
from cuvee.cli.options import COMMON, Common, Whole
from cuvee.cli.tables import Column, table

if TYPE_CHECKING:
    from cuvee.predict.contributions import Contributions

_SHOWN: Final = 20


def explain(
    folder: Path,
    /,
    *,
    data: Data,
    id: Id = None,
    limit: Whole | None = None,
    trust: Trust = None,
    common: Common = COMMON,
) -> int:
    """Explain predictions: what every member contributed to each row.

    The contributions, what is said without members and what the calibration
    changes sum to the prediction.

    For example:

        cuvee ensemble explain ens --data new.csv --limit 5

    Args:
        folder: The ensemble.
        data: A table: .jsonl, .csv, .tsv or .parquet.
        id: Column that names rows; without it the one that `fit` had.
        limit: Most rows, from the start.
        trust: Types, functions or members that may run besides those that are known.
        common: How to print.
    """
    from cuvee import api

    found = api.explain_ensemble(folder, data, id=id, limit=limit, trust=trust or ())
    told = {"members": list(found.members), "classes": list(found.classes), "way": found.way, "exact": found.exact}
    data_told: dict[str, Any] = {**told, "rows": _rows(found), "notes": list(found.notes)}
    return deliver(Answer("ensemble explain", data_told, _text(found), notes=found.notes), common)


def _rows(found: Contributions) -> list[dict[str, Any]]:
    """Every row with its numbers, `contributions` by member in the order of classes."""
    return [
        {
            "id": name,
            "output": found.output[n].tolist(),
            "base": found.base[n].tolist(),
            "calibration": found.calibration[n].tolist(),
            "contributions": {one: found.contributions[n, m].tolist() for m, one in enumerate(found.members)},
        }
        for n, name in enumerate(found.ids)
    ]


def _text(found: Contributions) -> Iterator[RenderableType]:
    rows = found.as_rows()
    columns = [Column("row"), Column("predicted"), Column("output", True)]
    extra = [name for name in ("base", "calibration") if any(row[name] for row in rows)]
    columns += [Column(name, True) for name in (*found.members, *extra)]
    yield table(columns, [_line(row, (*found.members, *extra)) for row in rows[:_SHOWN]])
    if len(rows) > _SHOWN:
        yield f"… and {len(rows) - _SHOWN:,} more: --json tells all of them"


def _line(row: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    predicted = "–" if row["predicted"] is None else str(row["predicted"])
    return [str(row["id"]), predicted, f"{row['output']:.3f}", *(f"{row[name]:+.3f}" for name in names)]
