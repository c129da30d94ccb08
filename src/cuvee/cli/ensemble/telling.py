"""Ensembles as people and programs read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from cuvee.cli.tables import Column, facts, table

if TYPE_CHECKING:
    from cuvee.api import EnsembleFacts


def facts_text(found: EnsembleFacts) -> Iterator[RenderableType]:
    """A few facts, and a line for every member."""
    classes = ", ".join(map(str, found.classes))
    yield facts(
        [
            ("ensemble", f"{found.path}, version {found.version}"),
            ("task", found.task + (f" of {classes}" if classes else "")),
            ("combiner", found.combiner + _calibrated(found)),
            ("fitted on", f"{found.rows:,} rows" if found.rows else ""),
            *((f"{metric} on test rows", interval_text(*ends)) for metric, ends in found.scores.items()),
        ]
    )
    yield ""
    columns = [
        Column("member"),
        Column("kind"),
        Column("weight", True),
        Column("µs/row", True),
        Column("its rows were"),
    ]
    yield table(columns, [member_line(one) for one in found.members])


def _calibrated(found: EnsembleFacts) -> str:
    return "" if found.temperature is None else f", calibrated by a temperature of {found.temperature:.3g}"


def member_line(one: Any) -> list[str]:
    """A member in a table."""
    share = "–" if one.share is None else f"{one.share:.3f}"
    cost = "–" if one.us_per_row is None else f"{one.us_per_row:.3g}"
    return [one.name, one.kind, share, cost, one.provenance or "–"]


def interval_text(value: float, low: float, high: float) -> str:
    """A figure with its interval."""
    return f"{value:.3f}" if low != low else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def facts_data(found: EnsembleFacts) -> dict[str, Any]:
    """The same for programs."""
    members = [{name: getattr(one, name) for name in one.__slots__} for one in found.members]
    plain = {name: getattr(found, name) for name in found.__slots__}
    scores = {metric: {"value": v, "low": low, "high": high} for metric, (v, low, high) in found.scores.items()}
    return {**plain, "members": members, "classes": list(found.classes), "scores": scores, "notes": list(found.notes)}
