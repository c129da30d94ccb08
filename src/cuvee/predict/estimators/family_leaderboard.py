"""Bagged, boosted, voted, stacked and blended ensembles side by side, by the honest estimate.

Every row is predicted by ensembles that were trained without it: members, their combiner and all that it learned from
its own inner folds. So an ensemble that fits its combiner to noise gains nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from cuvee.errors import Fault, UsageError
from cuvee.judging.bootstrap import Difference, Draws, paired
from cuvee.judging.metrics import score_of
from cuvee.predict.bank import Bank
from cuvee.predict.cross_fitting import CrossFitted, cross_fit
from cuvee.predict.estimators.classifier import EnsembleClassifier
from cuvee.predict.estimators.common import EnsembleEstimator, seeded
from cuvee.predict.estimators.families import PRESETS, family_of, untrained_member
from cuvee.predict.estimators.regressor import EnsembleRegressor
from cuvee.predict.splitting import CV
from cuvee.predict.trained import Task
from cuvee.types import Score

METRICS: Final[Mapping[Task, tuple[str, ...]]] = {
    "classification": ("log_loss", "accuracy"),
    "regression": ("rmse", "mae"),
}
"""What is reported without a word; the first is what the rows are ordered by."""


@dataclass(frozen=True)
class FamilyRow:
    """One way to train, judged on rows that it did not see.

    Attributes:
        name: a preset, an estimator that was given, or `single: …` for a member by itself.
        scores: metric → its value with its error bar.
        behind: by how much the first of the table is better, paired by row; `None` for the first itself.
        fit_seconds: of one training, the mean over folds.
        us_per_row: of one answer, microseconds.
    """

    name: str
    scores: Mapping[str, Score]
    behind: Difference | None
    fit_seconds: float
    us_per_row: float


@dataclass(frozen=True, eq=False)
class FamilyLeaderboard:
    """All ways, the best first.

    Attributes:
        rows: in order of the first metric.
        bank: what each of them said of the rows that it did not see.
    """

    rows: tuple[FamilyRow, ...]
    bank: Bank

    @property
    def text(self) -> str:
        """The table as text; `=`: no more than noise behind the first."""
        names = list(self.rows[0].scores)
        head = ["", *names, "behind", "fit s", "us/row"]
        lines = [head, *(_cells(row, names) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        return "\n".join(
            " ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:]))])
            for line in lines
        )


def _cells(row: FamilyRow, names: Sequence[str]) -> list[str]:
    scores = [f"{row.scores[name].value:.4f} ± {row.scores[name].stderr:.4f}" for name in names]
    behind = "" if row.behind is None else f"{row.behind.value:.4f}{' =' * (row.behind.verdict == 'within noise')}"
    return [row.name, *scores, behind, f"{row.fit_seconds:.2f}", f"{row.us_per_row:.0f}"]


def family_leaderboard(
    X: Any,
    y: Any,
    *,
    task: Task = "classification",
    presets: Sequence[str] = tuple(PRESETS),
    others: Mapping[str, Any] | None = None,
    singles: bool = True,
    cv: CV = 5,
    inner: Any = 5,
    groups: Sequence[Any] | None = None,
    metrics: Sequence[str] = (),
    seed: int = 0,
    fewest: int = 30,
    progress: Callable[[int, int], None] | None = None,
) -> FamilyLeaderboard:
    """Judge ways to train an ensemble, each on rows that it did not see.

    Args:
        X: the rows, whatever `rows_of` takes and the estimators read.
        y: the right label, or value, of each row.
        task: classification or regression.
        presets: `bagged`, `boosted`, `voted`, `stacked`, `blended`.
        others: more estimators by name, for the same table.
        singles: whether each member of the mixed family stands in the table by itself.
        cv: how rows are split to judge, as in `cross_fit`.
        inner: how the rows that are learned from are split again to fit a combiner (`cv` of the estimators).
        groups: the group of each row, for the outer split.
        metrics: names of metrics; the first orders the table.
        seed: of the splits and of all that is drawn.
        fewest: rows that each class must have.
        progress: told how many trainings are done, and how many there are.

    Raises:
        UsageError: there is no such preset, or nothing to judge.
        InputError: what `cross_fit` raises.
    """
    made = _estimators(task, presets, singles, inner, seed) | dict(others or {})
    members = [untrained_member(name, estimator, task) for name, estimator in made.items()]
    found = cross_fit(members, X, y, cv=cv, groups=groups, seed=seed, fewest=fewest, progress=progress)
    return FamilyLeaderboard(_ordered(found, metrics or METRICS[task]), found.bank)


def _estimators(task: Task, presets: Sequence[str], singles: bool, inner: Any, seed: int) -> dict[str, Any]:
    kind: type[EnsembleEstimator] = EnsembleClassifier if task == "classification" else EnsembleRegressor
    try:
        made = {name: kind.of(name, cv=inner, random_state=seed) for name in presets}
    except ValueError as error:
        raise UsageError(Fault("bad-argument", str(error), subject="presets")) from None
    alone = family_of("mixed", task) if singles else []
    random = np.random.RandomState(seed)
    return made | {f"single: {name}": seeded(estimator, random) for name, estimator in alone}


def _ordered(found: CrossFitted, metrics: Sequence[str]) -> tuple[FamilyRow, ...]:
    answers = {name: found.bank.answers(name) for name in found.bank.members}
    scores = {name: {metric: score_of(said, metric) for metric in metrics} for name, said in answers.items()}
    first, *others = sorted(answers, key=lambda name: -scores[name][metrics[0]].gain)
    behind: dict[str, Difference | None] = {first: None}
    behind |= {name: paired(answers[first], answers[name], metrics[0], Draws(draws=1000)) for name in others}
    return tuple(
        FamilyRow(
            name,
            scores[name],
            behind[name],
            found.seconds[name][0] / found.folds,
            1e6 * found.seconds[name][1] / len(answers[name]),
        )
        for name in behind
    )
