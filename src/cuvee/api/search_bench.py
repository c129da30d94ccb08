"""Where candidates of a search are merged and judged: models that are open, and modules that take their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cuvee.recipe import Recipe
from cuvee.searching.cellar import Cellar
from cuvee.searching.grading import scores_on
from cuvee.searching.outcome import Held
from cuvee.searching.rows import Draw
from cuvee.searching.seat import Seats
from cuvee.types import Score


@dataclass
class Bench:
    """Merges and judges recipes on the rows of the search and of the report."""

    cellar: Cellar
    seats: Seats
    search_rows: Sequence[Draw]
    report_rows: Sequence[Draw]
    metrics: list[str] = field(default_factory=list)

    def judge(self, recipe: Recipe, start: float, stop: float) -> tuple[Score, ...]:
        """The scores on a part of the rows that are searched on."""
        return scores_on(self.seats.seated(self.cellar.merged(recipe)), self.search_rows, start, stop)

    def held(self, name: str, recipe: Recipe) -> Held:
        """The scores on all rows of the search, and on those of the report."""
        model = self.seats.seated(self.cellar.merged(recipe))
        found = Held(name, scores_on(model, self.search_rows), scores_on(model, self.report_rows))
        self.metrics = [score.metric for score in found.search]
        return found
