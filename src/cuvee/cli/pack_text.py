"""What a pack holds, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from cuvee.cli.tables import Column, table

if TYPE_CHECKING:
    from cuvee.packs import PackFacts


def data_of(facts: PackFacts) -> dict[str, Any]:
    """What a pack holds, ready for JSON."""
    return {**asdict(facts), "bytes": facts.nbytes}


def sizes(facts: PackFacts) -> str:
    """The bytes of a pack, in words."""
    from cuvee.checkpoint.layout import format_size

    parts = f"{format_size(facts.delta_bytes)} of delta and {format_size(facts.mask_bytes)} of masks"
    return f"{format_size(facts.nbytes)} ({parts})"


def tasks_table(facts: PackFacts) -> RenderableType:
    """The tasks of a pack."""
    from cuvee.checkpoint.layout import format_size

    columns = [Column("task"), Column("kept", numbers=True), Column("rescaler", numbers=True)]
    columns += [Column("masks", numbers=True), Column("model")]
    return table(
        columns,
        (
            [task.name, f"{100 * task.kept:.1f} %", f"{task.rescaler:.4g}", format_size(task.nbytes), task.model]
            for task in facts.tasks
        ),
    )
