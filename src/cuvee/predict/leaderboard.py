"""Members and combiners side by side: score, calibration, cost, and whether the estimate is honest.

A member's predictions are honest where its provenance says so. A combiner that was fitted is never judged on the rows
that it was fitted on: it is fitted again without each fold of them (`nested`), so that selection, weights, budget and
temperature all pay for what they looked at. The score of the fit is not in the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

from cuvee.errors import CuveeError, InputError, listed
from cuvee.judging.answers import Answers
from cuvee.judging.bootstrap import Difference, Draws, paired
from cuvee.predict.asking_all import fitted_of
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, Combiner
from cuvee.predict.costing import cost_of
from cuvee.predict.fitting import combiner_of, fit_inside, fit_on
from cuvee.predict.honest import estimated, seen_by
from cuvee.predict.judged import Estimate, answers_of, estimate, higher_is_better, metrics_of, said_by
from cuvee.predict.nested import FOLDS, crossed
from cuvee.predict.state import State

Kind = Literal["member", "combiner", "ensemble"]
Step = Callable[[int, int], None]
USUAL: Final = ("soft", "weighted", "median", "product", "greedy", "stack", "cascade")
"""Combiners that are tried without being asked for, those that there are."""
_DRAWS: Final = Draws(draws=1000)


@dataclass(frozen=True, eq=False)
class Standing:
    """One row.

    Attributes:
        name: of the member or combiner; `ensemble` for the ensemble as it is.
        kind: which of them.
        estimate: `direct`, `nested`; `in-sample` or `fit` where it is not honest.
        scores: metric → figure with its interval; those that have no value are lacking.
        rows: rows that it is judged on.
        us_per_row: what its members cost together per row; `None` where that was not measured.
        against: by how much it is better than the best single member, on the rows of both; `None` for that one.
        notes: what should be known.
    """

    name: str
    kind: Kind
    estimate: str
    scores: Mapping[str, Estimate]
    rows: int
    us_per_row: float | None
    against: Difference | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_honest(self) -> bool:
        """Whether the score is that of rows nobody has seen."""
        return self.estimate in ("direct", "nested")


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """All rows, honest ones first, the best on top.

    Attributes:
        metric: what they are ordered by.
        standings: the rows.
        left_out: combiner → why it could not be fitted; a member that predicted nothing.
        notes: what should be known.
    """

    metric: str
    standings: tuple[Standing, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Standing:
        return next(one for one in self.standings if one.name == name)

    @property
    def best(self) -> Standing | None:
        """The best of the honest rows."""
        honest = [one for one in self.standings if one.is_honest and self.metric in one.scores]
        return honest[0] if honest else None

    def as_rows(self) -> list[dict[str, Any]]:
        """The table as plain data: a figure, its interval and its metric are three columns each."""
        return [_as_row(one, one is self.best) for one in self.standings]


def _as_row(one: Standing, best: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"name": one.name, "kind": one.kind, "estimate": one.estimate, "honest": one.is_honest}
    for metric, figure in one.scores.items():
        row |= {metric: figure.value, f"{metric}_low": figure.low, f"{metric}_high": figure.high}
    gain = one.against
    return row | {
        "rows": one.rows,
        "us_per_row": one.us_per_row,
        "gain": None if gain is None else gain.value,
        "gain_low": None if gain is None else gain.low,
        "gain_high": None if gain is None else gain.high,
        "verdict": None if gain is None else gain.verdict,
        "best": best,
        "notes": "; ".join(one.notes),
    }


def leaderboard(
    state: State,
    bank: Bank,
    *,
    combiners: Sequence[Combiner | str] | None = None,
    metrics: Sequence[str] | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Leaderboard:
    """The members of an ensemble, combiners of them, and the ensemble itself, judged on a bank.

    Args:
        state: the version.
        bank: predictions of its members with right answers.
        combiners: those that are tried, in the manner of the ensemble's (calibration, budget); the usual ones without.
        metrics: the first orders the table; log-loss, accuracy and calibration error without, or RMSE and MAE.
        folds: of the nested estimate.
        seed: of the folds.
        progress: told how many steps are done, how many there are, and what is being judged. A step is a fold of a
            combiner.

    Raises:
        UsageError: a metric or combiner that there is not.
        InputError: `missing-label`, `unknown-member`, `too-few-rows`.
    """
    names = metrics_of(bank.task, metrics)
    part = bank.only(state.names).covered()
    told = {name: said_by(part, name) for name in state.names}
    rows = [(_member(state, part, name, names, said), said) for name, said in told.items() if said is not None]
    left_out = {name: "it predicted no row of the bank" for name, said in told.items() if said is None}
    tried = _tried(combiners)
    steps = _steps(progress, [one.name for one in tried], folds)
    for combiner in tried:
        try:
            rows.append(_combiner(state, part, combiner, names, folds, seed, next(steps)))
        except CuveeError as error:
            left_out[combiner.name] = error.faults[0].message
    try:
        rows.append(_ensemble(state, part, names, folds, seed, next(steps)))
    except CuveeError as error:
        left_out["ensemble"] = error.faults[0].message
    next(steps)
    notes = (*_dropped(bank, part), *_in_sample(state, part))
    return Leaderboard(names[0], _ordered(_compared(rows, names[0]), names[0], bank), left_out, notes)


def _tried(given: Sequence[Combiner | str] | None) -> list[Combiner]:
    if given is not None:
        return [combiner_of(one) for one in given]
    return [COMBINERS.get(name)() for name in USUAL if name in COMBINERS]


def _steps(progress: Callable[[int, int, str], None] | None, combiners: Sequence[str], folds: int) -> Iterator[Step]:
    """For every combiner and the ensemble who is told of its folds; asking for the next ends the one before."""
    names = [*combiners, "ensemble"]

    def tell(number: int, done: int, name: str) -> None:
        if progress:
            progress(number * folds + done, len(names) * folds, name)

    for number, name in enumerate(names):
        tell(number, 0, name)
        yield lambda done, _, number=number, name=name: tell(number, min(done, folds), name)  # type: ignore[misc]
    tell(len(names), 0, names[-1])
    yield lambda *_: None


def _member(state: State, bank: Bank, name: str, metrics: Sequence[str], said: Answers) -> Standing:
    at = bank.members.index(name)
    how = "in-sample" if bank.provenance[at] == "in-sample" else "direct"
    probable = not bank.probable or bank.probable[at] or bank.task == "regression"
    scores = _scores(said, metrics if probable else [one for one in metrics if one == "accuracy"])
    notes = [] if probable else ["gives scores, not probabilities: only how often it is right is told"]
    if len(said) < len(bank):
        notes.append(f"judged on the {len(said):,} of {len(bank):,} rows that it predicted")
    return Standing(name, "member", how, scores, len(said), cost_of(state, [name]), None, tuple(notes))


def _combiner(
    state: State, bank: Bank, combiner: Combiner, metrics: Sequence[str], folds: int, seed: int, step: Step
) -> tuple[Standing, Answers]:
    manner = state.manner
    whole = fit_on(combiner.bare(), bank, state.members, manner)
    seen = seen_by(bank, whole.fitted.used)
    fits = combiner.learns or manner.calibrate is not None
    fit = partial(fit_inside, combiner, members=state.members, manner=manner)
    P = crossed(fit, bank, folds, seed, step) if fits else whole(bank)
    how = "in-sample" if seen else "nested" if fits else "direct"
    notes = (f"{listed(seen, 5)} had been trained on these rows",) if seen else ()
    said = answers_of(P, bank)
    cost = cost_of(state, whole.fitted.used, whole.fitted, bank)
    return Standing(combiner.name, "combiner", how, _scores(said, metrics), len(bank), cost, None, notes), said


def _ensemble(
    state: State, bank: Bank, metrics: Sequence[str], folds: int, seed: int, step: Step
) -> tuple[Standing, Answers]:
    found = estimated(state, bank, folds, seed, step)
    said = answers_of(found.P, bank)
    how = "in-sample" if found.seen else found.how
    fitted = fitted_of(state)
    notes = (f"{state.combiner.name}, version {state.number}", *found.notes)
    cost = cost_of(state, fitted.used, fitted, bank)
    return Standing("ensemble", "ensemble", how, _scores(said, metrics), len(bank), cost, None, notes), said


def _scores(said: Answers, metrics: Sequence[str]) -> dict[str, Estimate]:
    found = {}
    for metric in metrics:
        try:
            found[metric] = estimate(said, metric)
        except InputError as error:
            if error.code != "undefined-metric":
                raise
    return found


def _compared(rows: Sequence[tuple[Standing, Answers]], metric: str) -> list[Standing]:
    """Every row against the best honest member, where there is one that answers all that the row does."""
    singles = [(one, said) for one, said in rows if one.kind == "member" and one.is_honest and metric in one.scores]
    whole = max((one.rows for one, _ in singles), default=0)
    singles = [(one, said) for one, said in singles if one.rows == whole]
    if not singles:
        return [one for one, _ in rows]
    kind = singles[0][1].kind
    sign = 1 if higher_is_better(metric, "regression" if kind == "regression" else "classification") else -1
    best, answers = max(singles, key=lambda pair: sign * pair[0].scores[metric].value)
    return [
        one if one is best or metric not in one.scores else replace(one, against=_against(said, answers, metric))
        for one, said in rows
    ]


def _against(said: Answers, best: Answers, metric: str) -> Difference | None:
    """The gain on the rows that both answered."""
    both = set(said.ids) & set(best.ids)
    if len(both) < 2:
        return None
    mine, other = (one.take([i for i, name in enumerate(one.ids) if name in both]) for one in (said, best))
    return paired(mine, other, metric, _DRAWS)


def _ordered(rows: Sequence[Standing], metric: str, bank: Bank) -> tuple[Standing, ...]:
    sign = -1 if higher_is_better(metric, bank.task) else 1

    def place(one: Standing) -> tuple[bool, float]:
        return not one.is_honest, sign * one.scores[metric].value if metric in one.scores else math.inf

    return tuple(sorted(rows, key=place))


def _dropped(bank: Bank, part: Bank) -> tuple[str, ...]:
    lost = len(bank) - len(part)
    return (f"{lost:,} of {len(bank):,} rows are left out: no member predicted them",) if lost else ()


def _in_sample(state: State, bank: Bank) -> tuple[str, ...]:
    seen = seen_by(bank, state.names)
    if not seen:
        return ()
    return (f"{listed(seen, 5)} had been trained on these rows: what they are judged by is not what they are worth",)
