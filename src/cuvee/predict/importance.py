"""What each member is worth to the score of an ensemble, the others masked and the combiner as it is.

    loo           ℓ_m = v(all) − v(all but m)
    shapley       φ_m = Σ_S |S|! (M − |S| − 1)! / M! (v(S ∪ m) − v(S));  Σ_m φ_m = v(all) − v(∅)
    permutation   π_m = v(all) − the mean of v with what m says dealt out anew among the rows

v(S) is the score with the members of S taking part, turned round where lower is better: gains are positive. The
combiner is not fitted again for a set: this explains the ensemble there is. Two members that say the same both have
ℓ = 0, as each makes up for the other, and share φ. A weight is none of these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, UsageError
from cuvee.explaining.coalitions import Course, course
from cuvee.explaining.outcomes import Figure, Outcome, combined, sampling_errors
from cuvee.explaining.shapley import leave_one_out_weights, pair_weights, shapley_weights
from cuvee.judging.answers import Answers
from cuvee.judging.metrics import Metric, metric_named, score_of
from cuvee.judging.resampling import resampled
from cuvee.predict.asking_all import fitted_of
from cuvee.predict.bank import Bank
from cuvee.predict.coalition_game import CoalitionGame, players_of, said_by_nobody
from cuvee.predict.combiners.declared import Batch
from cuvee.predict.combiners.design import batch_of
from cuvee.predict.honest import has_met, seen_by
from cuvee.predict.judged import METRICS, answers_of, truth_in
from cuvee.predict.state import State
from cuvee.types import Direction

How = Literal["loo", "shapley", "permutation"]
_BUDGET: Final = 4096
_DRAWS: Final = 200


@dataclass(frozen=True, eq=False)
class Importance:
    """What members are worth.

    Attributes:
        how: which of the three.
        metric: the metric.
        direction: which way it points.
        rows: how many rows it is over.
        members: member → gain, with standard error and 95 % interval over rows; 0 for those that are not used.
        whole: v(all).
        nothing: v(∅).
        exact: whether all sets were looked at, or all that are needed.
        notes: what should be known.
    """

    how: How
    metric: str
    direction: Direction
    rows: int
    members: dict[str, Figure]
    whole: float
    nothing: float
    exact: bool
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Figure:
        return self.members[name]

    def as_rows(self) -> list[dict[str, Any]]:
        """A row for each member, the most important first."""
        ordered = sorted(self.members.items(), key=lambda pair: -pair[1].value)
        return [
            {"name": name, self.how: one.value, "low": one.low, "high": one.high, "doubtful": one.is_doubtful}
            for name, one in ordered
        ]


def importance(
    state: State, bank: Bank, how: How = "loo", *, metric: str | None = None, repeats: int = 10, seed: int = 0
) -> Importance:
    """The importance of every member on the rows of a bank.

    Args:
        state: the version.
        bank: predictions of its members with right answers.
        how: `loo`, `shapley` (exact up to 12 members that are used, from drawn orders above) or `permutation`.
        metric: the metric; log-loss or RMSE without one.
        repeats: how often what a member says is dealt out anew.
        seed: of the random numbers.

    Raises:
        UsageError: `bad-argument`; `no-member`.
        InputError: `missing-label`, `unknown-member`, `undefined-metric`.
    """
    if how not in ("loo", "shapley", "permutation"):
        message = f"`how` must be loo, shapley or permutation; found {how!r}"
        raise UsageError(Fault("bad-argument", message, subject="how"))
    fitted, part = fitted_of(state), bank.only(state.names).covered()
    truth_in(part)
    chosen = metric_named(metric or METRICS[bank.task][0], bank.task)
    nothing = said_by_nobody(part, part.P.shape[2], part.task)
    batch = batch_of(part.only(fitted.members))
    game = CoalitionGame(fitted, batch, nothing, players_of(fitted), state.temperature)
    values = _Values(game, part, chosen, seed)
    found, exact = _permuted(values, repeats, seed) if how == "permutation" else _of_sets(values, how, seed)
    members = {name: Figure(0.0, 0.0, 0) for name in state.names}
    members |= {fitted.members[player]: one for player, one in zip(game.players, found)}
    whole, empty = values.of((1 << len(game.players)) - 1).value, values.of(0).value
    return Importance(how, chosen.name, chosen.direction, len(part), members, whole, empty, exact, _notes(state, part))


def _notes(state: State, bank: Bank) -> tuple[str, ...]:
    notes = []
    if state.combiner.learns and has_met(state, bank):
        notes.append("the combiner was fitted on these rows: it flatters members that it took for chance")
    if seen := seen_by(bank, fitted_of(state).used):
        notes.append(f"{', '.join(seen)} had been trained on these rows")
    return tuple(notes)


@dataclass(eq=False)
class _Values:
    """v of sets, each worked out once."""

    game: CoalitionGame
    bank: Bank
    metric: Metric
    seed: int

    def __post_init__(self) -> None:
        self._known: dict[int, Outcome] = {}

    def of(self, coalition: int) -> Outcome:
        """v(S)."""
        if coalition not in self._known:
            self._known[coalition] = self.outcome(self.game.value(coalition))
        return self._known[coalition]

    def outcome(self, P: Array) -> Outcome:
        """What predictions are worth: by rows, or on rows drawn again where the metric is no mean."""
        answers: Answers = answers_of(P, self.bank)
        score, sign = score_of(answers, self.metric), 1.0 if self.metric.direction == "higher" else -1.0
        if score.rows is not None:
            return Outcome(score.gain, rows=sign * np.asarray(score.rows))
        return Outcome(score.gain, draws=sign * resampled(self.metric, [answers], draws=_DRAWS, seed=self.seed)[0])


def _of_sets(values: _Values, how: How, seed: int) -> tuple[list[Figure], bool]:
    """Leave-one-out or Shapley values as weighted sums of what sets are worth."""
    count = len(values.game.players)
    if how == "loo":
        whole = (1 << count) - 1
        path = Course(count, tuple(dict.fromkeys([whole, *(whole & ~(1 << part) for part in range(count))])))
        return combined(leave_one_out_weights(path), [values.of(one) for one in path.coalitions]), True
    path = course(count, _BUDGET, seed)
    outcomes = [values.of(one) for one in path.coalitions]
    found = combined(shapley_weights(path), outcomes)
    if path.is_exact:
        return found, True
    pairs = pair_weights(path)
    errors = sampling_errors(pairs, outcomes)
    return [one.with_drawing(float(error), len(pairs)) for one, error in zip(found, errors)], False


def _permuted(values: _Values, repeats: int, seed: int) -> tuple[list[Figure], bool]:
    """v(all) less what is left of it when one member's rows are dealt out anew, the mean of several times."""
    if not isinstance(repeats, int) or repeats < 1:
        message = f"`repeats` must be an integer of at least 1; found {repeats!r}"
        raise UsageError(Fault("bad-argument", message, subject="repeats"))
    game, generator = values.game, np.random.default_rng(seed)
    whole = values.of((1 << len(game.players)) - 1)
    orders = [generator.permutation(game.rows) for _ in range(repeats)]
    return [_one_permuted(values, whole, player, orders) for player in game.players], False


def _one_permuted(values: _Values, whole: Outcome, player: int, orders: Sequence[Array]) -> Figure:
    outcomes = [whole]
    everybody = values.game.inside((1 << len(values.game.players)) - 1)
    outcomes += [values.outcome(values.game.said(_dealt(values.game, player, one), everybody)) for one in orders]
    weights = np.array([[1.0, *([-1.0 / len(orders)] * len(orders))]])
    found = combined(weights, outcomes)[0]
    spread = np.array([whole.value - one.value for one in outcomes[1:]])
    error = float(spread.std(ddof=1)) / math.sqrt(len(spread)) if len(spread) > 1 else 0.0
    return found.with_drawing(error, len(spread)) if len(spread) > 1 else found


def _dealt(game: CoalitionGame, player: int, order: Array) -> Batch:
    """The batch with what one member says dealt out anew."""
    batch = game.batch
    P, mask = batch.P.copy(), batch.mask.copy()
    P[player], mask[player] = P[player, order], mask[player, order]
    name = game.fitted.members[player]
    own = {name: batch.embeddings[name][order]} if name in batch.embeddings else {}
    return replace(batch, P=P, mask=mask, embeddings={**batch.embeddings, **own})
