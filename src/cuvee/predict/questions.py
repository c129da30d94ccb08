"""What can be asked of an ensemble besides predictions; each answer is a function of one version and a bank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cuvee.combine import Array
from cuvee.judging.answers import Answers
from cuvee.predict.asking_all import Asking, fitted_of, looks_at_rows
from cuvee.predict.bank import Bank
from cuvee.predict.combiners import Combiner
from cuvee.predict.contributions import Contributions, explain
from cuvee.predict.distilling import Distilled, distill
from cuvee.predict.fairness import Fairness, fairness
from cuvee.predict.gathering import gather
from cuvee.predict.importance import How, Importance, importance
from cuvee.predict.judged import METRICS, Estimate, answers_of, estimate
from cuvee.predict.leaderboard import Leaderboard, leaderboard
from cuvee.predict.member import Member
from cuvee.predict.pareto import Front, pareto
from cuvee.predict.rows import Rows, rows_of
from cuvee.predict.state import State
from cuvee.predict.trained import Label, Task


class Questions(ABC):
    """The questions. Where several people change an ensemble, an answer is about the version there was when asked."""

    task: Task
    classes: tuple[Label, ...]

    @property
    @abstractmethod
    def state(self) -> State:
        """The version that answers now."""

    @abstractmethod
    def predict_proba(self, X: Any) -> Array:
        """The combined predictions, `[N, K]`."""

    @abstractmethod
    def predict(self, X: Any) -> Any:
        """The label, or the value, of each row, `[N]`."""

    @abstractmethod
    def _asking(self) -> Asking:
        """How members are asked."""

    @abstractmethod
    def _view(self, rows: Rows) -> Array | None:
        """The rows' own numbers."""

    def as_member(self, name: str = "ensemble", **settings: Any) -> Member:
        """Itself as a member of another ensemble. What is changed here later changes there too.

        Args:
            name: its name there.
            settings: `label_map`, `missing`, `reads`, as for other members.
        """
        asked, output = (self.predict, "values") if self.task == "regression" else (self.predict_proba, "probabilities")
        return Member(name, "ensemble", asked, output, self.classes, thing=self, **settings)  # type: ignore[arg-type]

    def answers(self, X: Any, y: Any, ids: Sequence[Any] | None = None) -> Answers:
        """What it answers on rows, as the judge takes it: for `judging.paired`, `compare` and every metric."""
        rows = rows_of(X, ids)
        return answers_of(self.predict_proba(rows), gather([], rows, self.classes, self.task, truth=y))

    def score(self, X: Any, y: Any, metric: str | None = None) -> Estimate:
        """A metric on rows that nobody was trained on, with its 95 % interval; log-loss or RMSE without one."""
        return estimate(self.answers(X, y), metric or METRICS[self.task][0])

    def leaderboard(
        self,
        bank: Bank,
        *,
        combiners: Sequence[Combiner | str] | None = None,
        metrics: Sequence[str] | None = None,
        folds: int = 5,
        seed: int = 0,
        progress: Callable[[int, int, str], None] | None = None,
    ) -> Leaderboard:
        """Members, combiners and itself side by side; see `leaderboard.leaderboard`."""
        fitted_of(self.state)
        told = {"combiners": combiners, "metrics": metrics, "folds": folds, "seed": seed, "progress": progress}
        return leaderboard(self.state, bank, **told)  # type: ignore[arg-type]

    def pareto(
        self, bank: Bank, *, metric: str | None = None, budget: Mapping[str, float] | None = None, seed: int = 0
    ) -> Front:
        """What which score costs at least; see `pareto.pareto`."""
        fitted_of(self.state)
        return pareto(self.state, bank, metric=metric, budget=budget, seed=seed)

    def explain(self, X: Any, *, budget: int = 4096, seed: int = 0) -> Contributions:
        """Which member contributed what to each row's prediction; see `contributions.explain`."""
        state, rows = self.state, rows_of(X)
        view = self._view(rows) if looks_at_rows(state.fitted) else None
        return explain(state, rows, self._asking(), view, budget=budget, seed=seed)

    def importance(self, bank: Bank, how: How = "loo", *, metric: str | None = None, seed: int = 0) -> Importance:
        """What each member is worth to the score; see `importance.importance`."""
        return importance(self.state, bank, how, metric=metric, seed=seed)

    def fairness(
        self, bank: Bank, groups: Sequence[Any] | Mapping[str, Any], *, positive: Label | None = None, seed: int = 0
    ) -> Fairness:
        """Rates by group and the gaps between groups; see `fairness.fairness`."""
        return fairness(self.state, bank, groups, positive=positive, seed=seed)

    def distill(self, student: Any, X: Any, y: Any = None, **settings: Any) -> Distilled:
        """One model trained on what the ensemble says of rows; see `distilling.distill`."""
        return distill(self.predict_proba, student, X, y, self.classes, self.task, **settings)
