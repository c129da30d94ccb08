"""The results among a plan's models, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cuvee.cli.console import plain
from cuvee.cli.tables import Column, table
from cuvee.cli.words import fates

if TYPE_CHECKING:
    from cuvee.planning import Plan
    from cuvee.planning.inner import Stage


def stages_text(plan: Plan) -> Iterator[RenderableType]:
    """What is evaluated while it is read: name, method, models and counts of each; nothing where nothing is."""
    from cuvee.planning.inner import stages_in

    found = list(stages_in(plan))
    if found:
        columns = [Column("stage"), Column("method"), Column("models", True), Column("tensors"), Column("not written")]
        yield plain("Evaluated while they are read", "bold")
        yield table(columns, map(_stage, found))
        yield ""


def _stage(stage: Stage) -> list[str]:
    from cuvee.checkpoint.layout import format_size

    plan = stage.plan
    name = f"{'  ' * (stage.depth - 1)}{stage.name}"
    counts = fates(plan.merged, plan.copied, plan.lost, len(plan.tied))
    return [name, plan.recipe.method, f"{len(plan.models)}", counts, format_size(stage.nbytes)]
