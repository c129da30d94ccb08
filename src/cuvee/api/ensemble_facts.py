"""What there is to tell of an ensemble, and of what it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cuvee.predict import Ensemble
    from cuvee.predict.config.table import Table


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """One member of an ensemble.

    Attributes:
        name: its name.
        kind: what it is.
        share: its weight, where the combination is a weighted mean.
        us_per_row: what it costs to ask.
        provenance: how it knew the rows that the combiner was fitted on.
    """

    name: str
    kind: str
    share: float | None
    us_per_row: float | None
    provenance: str | None


@dataclass(frozen=True, slots=True)
class EnsembleFacts:
    """An ensemble as it lies in a folder.

    Attributes:
        path: the folder.
        task: classification or regression.
        classes: its labels in order.
        members: its members.
        combiner: how they are combined.
        temperature: of the calibration after pooling.
        rows: rows that the combiner was fitted on.
        version: number of the version.
        scores: metric → (value, low, high) on rows that nothing was fitted on, where there are such.
        notes: what should be known.
    """

    path: Path
    task: str
    classes: tuple[Any, ...]
    members: tuple[MemberFacts, ...]
    combiner: str
    temperature: float | None
    rows: int
    version: int
    scores: Mapping[str, tuple[float, float, float]]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What an ensemble predicts of the rows of a file.

    Attributes:
        ids: the rows.
        labels: the label, or the value, of each.
        probabilities: `[N, K]`; `None` for a regression.
        classes: in the order of these.
        path: the file that was written; `None` without.
        notes: what should be known.
    """

    ids: tuple[str, ...]
    labels: tuple[Any, ...]
    probabilities: Any
    classes: tuple[Any, ...]
    path: Path | None
    notes: tuple[str, ...]

    def as_rows(self) -> list[dict[str, Any]]:
        """A mapping for each row: `id`, `prediction`, and `p_CLASS` for each class."""
        rows: list[dict[str, Any]] = [{"id": i, "prediction": label} for i, label in zip(self.ids, self.labels)]
        if self.probabilities is not None:
            for row, chances in zip(rows, self.probabilities.tolist()):
                row |= {f"p_{label}": p for label, p in zip(self.classes, chances)}
        return rows


def scores_on(ensemble: Ensemble, table: Table) -> dict[str, tuple[float, float, float]]:
    """What an ensemble comes to on rows with right answers, by the usual metrics."""
    from cuvee.predict.judged import METRICS

    found = {metric: ensemble.score(table.rows, table.y, metric) for metric in METRICS[ensemble.task]}
    return {metric: (one.value, one.low, one.high) for metric, one in found.items()}


def facts_of(
    ensemble: Ensemble, path: Path, scores: Mapping[str, tuple[float, float, float]], notes: Sequence[str] = ()
) -> EnsembleFacts:
    """What there is to tell of an ensemble."""
    state = ensemble.state
    weights = None if state.fitted is None else state.fitted.weights
    shares = {} if weights is None or state.fitted is None else dict(zip(state.fitted.members, weights.tolist()))
    known = {} if state.bank is None else dict(zip(state.bank.members, state.bank.provenance))
    members = tuple(
        MemberFacts(
            one.name,
            one.kind,
            shares.get(one.name),
            None if one.cost is None else one.cost.us_per_row,
            known.get(one.name),
        )
        for one in state.members
    )
    told = tuple(dict.fromkeys([*notes, *state.notes]))
    rows = 0 if state.bank is None else len(state.bank)
    name = state.combiner.name
    return EnsembleFacts(
        path, ensemble.task, ensemble.classes, members, name, state.temperature, rows, state.number, scores, told
    )
