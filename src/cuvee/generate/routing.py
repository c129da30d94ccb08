"""A small model answers where it is sure; the rest goes to a large one.

The small model answers every row. How sure it is decides which rows the large one answers too: those below a
threshold, which is fitted on labelled rows to a cost or to a score (`thresholds`), and told with an estimate on rows
that it was not fitted on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from cuvee.errors import CuveeError, Fault, InputError, UsageError, integer_faults, refuse
from cuvee.generate.calibrating import Calibration, isotonic, share_faults, tempered
from cuvee.generate.confidence import MEASURES, Measure, text_of
from cuvee.generate.thresholds import Point, best_within, cheapest_reaching, quantile_threshold, sweep
from cuvee.generate.written import Written

Array = np.ndarray[Any, Any]
Score = Callable[[Any, str], float]
"""(row, text) → how good the text is, higher is better."""

_FEWEST: Final = 10
"""Fewest labelled rows that a threshold is fitted on."""
_FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Estimate:
    """What routing comes to on rows that the threshold was not fitted on.

    Rows fall into five folds, and each is routed by the threshold of the others.

    Attributes:
        score: mean per row.
        low: lower end of the 95 % interval of the score, 1.96 standard errors.
        high: upper end.
        share: of rows that go to the large model.
        cost: mean per row.
        rows: labelled rows.
    """

    score: float
    low: float
    high: float
    share: float
    cost: float
    rows: int


@dataclass(frozen=True, slots=True)
class Routed:
    """Rows answered.

    Attributes:
        texts: of the large model where a row was routed, else of the small one.
        routed: which rows were.
        confidences: of the small model's answers.
        cost: of all rows together.
    """

    texts: tuple[str, ...]
    routed: tuple[bool, ...]
    confidences: tuple[float, ...]
    cost: float

    @property
    def share(self) -> float:
        """Share of rows that the large model answered."""
        return sum(self.routed) / len(self.routed) if self.routed else math.nan


@dataclass(frozen=True, eq=False)
class Router:
    """A small and a large model, and when which of them answers.

    Attributes:
        small: a `TokenEnsemble`, or a function of rows that gives an answer for each: `Written` ones, texts, or
            pairs of a text and whatever `confidence` reads.
        large: likewise.
        confidence: how sure an answer is: `mean`: the geometric mean of its tokens' probabilities; `min`: the smallest
            of them; `entropy`: exp of −its mean entropy; or a function of an answer.
        costs: of a row, for the small and the large model; only their ratio matters to where the threshold is.
        how: what `TokenEnsemble.generate` is given.
        threshold: rows of less confidence go to the large model; `None` before it is fitted.
        point: what the threshold comes to on the rows that it was fitted on: too good to be an estimate.
        estimate: the same on rows that it was not fitted on.
        points: every threshold, from none to all.
        calibration: confidence → probability that the small model's answer is right.

    Example:
        >>> small = lambda rows: [("yes", 0.9) if row == "easy" else ("no", 0.2) for row in rows]
        >>> router = Router(small, lambda rows: ["yes"] * len(rows), confidence=lambda answer: answer[1]).at(0.5)
        >>> router.answer(["easy", "hard"]).routed
        (False, True)
    """

    small: Any
    large: Any
    confidence: Measure = "mean"
    costs: tuple[float, float] = (1.0, 10.0)
    how: Mapping[str, Any] | None = None
    threshold: float | None = None
    point: Point | None = None
    estimate: Estimate | None = None
    points: tuple[Point, ...] = ()
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        wrong = []
        if not callable(self.confidence) and self.confidence not in MEASURES:
            message = f"`confidence` must be {', '.join(MEASURES)} or a function; found {self.confidence!r}"
            wrong.append(Fault("bad-argument", message, subject="confidence"))
        if len(self.costs) != 2 or not all(isinstance(c, int | float) and 0 <= c < math.inf for c in self.costs):
            message = f"`costs` must be two numbers of 0 or more, small and large; found {self.costs!r}"
            wrong.append(Fault("bad-argument", message, subject="costs"))
        refuse(wrong)

    def at(self, threshold: float) -> Router:
        """The same with a threshold of one's own; −∞ sends no row to the large model, ∞ all.

        Raises:
            UsageError: `bad-argument`: it is no number.
        """
        if not isinstance(threshold, int | float) or math.isnan(threshold):
            message = f"`threshold` must be a number; found {threshold!r}"
            raise UsageError(Fault("bad-argument", message, subject="threshold"))
        return self._with(threshold=threshold, point=None, estimate=None)

    def for_share(self, rows: Sequence[Any], share: float) -> Router:
        """The same with the threshold that sends no more than a share of rows like these to the large model.

        Args:
            rows: without labels; only the small model answers them.
            share: 0 to 1.

        Raises:
            UsageError: `bad-argument`; InputError: `too-few-rows`, and as `answer`.
        """
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            refuse([Fault("bad-argument", f"`share` must be from 0 to 1; found {share!r}", subject="share")])
        if not len(rows):
            raise InputError(Fault("too-few-rows", "a threshold for a share needs rows; found none", subject="rows"))
        return self.at(quantile_threshold(self._sure(self._asked("small", rows)), share))

    def fit(
        self,
        rows: Sequence[Any],
        score: Score,
        *,
        target_cost: float | None = None,
        target_score: float | None = None,
        calibrate: Literal["isotonic", "temperature"] | None = "isotonic",
        seed: int = 0,
    ) -> Router:
        """The same with a threshold fitted on labelled rows; both models answer all of them.

        Args:
            rows: what is asked, ten rows or more.
            score: (row, text) → how good the text is, higher is better; 0 to 1 to be calibrated.
            target_cost: most that a row may cost on average: the highest score within it is taken.
            target_score: least score: the lowest cost that reaches it is taken. One of the two must be given.
            calibrate: how confidences become probabilities of being right; `None` for not at all.
            seed: of how rows fall into folds.

        Raises:
            UsageError: `bad-argument`: both targets or none, an unknown calibration, or scores that it cannot use.
            InputError: `too-few-rows`; `over-budget`: no threshold does it; `bad-output`: scores or confidences that
                are no numbers; `member-failed`: a model or the score raised.
        """
        refuse(_fit_faults(target_cost, target_score, calibrate, seed))
        if len(rows) < _FEWEST:
            message = f"a threshold must be fitted on {_FEWEST} labelled rows or more; found {len(rows)}"
            raise InputError(Fault("too-few-rows", message, subject="rows"))
        answers = self._asked("small", rows)
        sure = self._sure(answers)
        small, large = _scores(rows, answers, score), _scores(rows, self._asked("large", rows), score)

        def choose(points: Sequence[Point]) -> Point:
            if target_cost is not None:
                return best_within(points, target_cost)
            return cheapest_reaching(points, target_score or 0.0)

        refuse(share_faults(small) if calibrate else ())
        points = sweep(sure, small, large, self.costs)
        point = choose(points)
        estimate = self._estimated(sure, small, large, choose, seed)
        calibrations = {"isotonic": isotonic, "temperature": tempered}
        fitted: Calibration | None = calibrations[calibrate](sure, small) if calibrate else None  # type: ignore[assignment]
        return self._with(threshold=point.threshold, point=point, estimate=estimate, points=points, calibration=fitted)

    def answer(self, rows: Sequence[Any]) -> Routed:
        """Answer rows, the unsure ones with the large model.

        Raises:
            UsageError: `bad-argument`: there is no threshold yet.
            InputError: `member-failed`, `bad-output`: a model raised, or did not answer every row.
        """
        if self.threshold is None:
            message = "the router has no threshold yet"
            raise UsageError(
                Fault("bad-argument", message, subject="threshold", hint="call fit, for_share or at first")
            )
        answers = self._asked("small", rows)
        sure = self._sure(answers)
        routed = sure < self.threshold
        texts = [text_of(one) for one in answers]
        if routed.any():
            where = np.flatnonzero(routed)
            for at, one in zip(where, self._asked("large", [rows[int(i)] for i in where]), strict=True):
                texts[at] = text_of(one)
        cost = self.costs[0] * len(rows) + self.costs[1] * int(routed.sum())
        return Routed(tuple(texts), tuple(map(bool, routed)), tuple(map(float, sure)), cost)

    def _with(self, **changed: Any) -> Router:
        return replace(self, **changed)

    def _asked(self, which: Literal["small", "large"], rows: Sequence[Any]) -> list[Any]:
        model = getattr(self, which)
        try:
            found = list(model.generate(rows, **(self.how or {})) if hasattr(model, "generate") else model(rows))
        except CuveeError:
            raise
        except Exception as error:  # whatever a model of the user's raises
            message = f"the {which} model failed on {len(rows):,} rows: {type(error).__name__}: {error}"
            raise InputError(Fault("member-failed", message, subject=which)) from error
        if len(found) != len(rows):
            message = f"the {which} model must answer {len(rows):,} rows; it gave {len(found):,} answers"
            raise InputError(Fault("bad-output", message, subject=which))
        return found

    def _sure(self, answers: Sequence[Any]) -> Array:
        measure = self.confidence if callable(self.confidence) else MEASURES[self.confidence]
        if not callable(self.confidence) and (other := [one for one in answers if not isinstance(one, Written)]):
            found = type(other[0]).__name__
            message = f"`confidence={self.confidence!r}` needs the answers of a TokenEnsemble; found {found}"
            raise UsageError(Fault("bad-argument", message, subject="confidence", hint="give a function of an answer"))
        return _numbers("confidence", [measure(one) for one in answers])

    def _estimated(
        self, sure: Array, small: Array, large: Array, choose: Callable[[Sequence[Point]], Point], seed: int
    ) -> Estimate | None:
        """Every fold routed by a threshold of the others; `None` where the others cannot keep to the target."""
        folds = np.random.default_rng(seed).permutation(np.arange(len(sure)) % _FOLDS)
        routed = np.zeros(len(sure), dtype=bool)
        for fold in range(_FOLDS):
            own, rest = folds == fold, folds != fold
            try:
                point = choose(sweep(sure[rest], small[rest], large[rest], self.costs))
            except InputError:
                return None
            routed[own] = sure[own] < point.threshold
        return _estimate(np.where(routed, large, small), float(routed.mean()), self.costs)


def _estimate(scores: Array, share: float, costs: tuple[float, float]) -> Estimate:
    from cuvee.judging.answers import Answers
    from cuvee.judging.metrics import score_of

    found = score_of(Answers("outcome", {"value": scores}, tuple(map(str, range(len(scores))))), "mean")
    half = 1.96 * found.stderr
    return Estimate(
        found.value, found.value - half, found.value + half, share, costs[0] + costs[1] * share, len(scores)
    )


def _scores(rows: Sequence[Any], answers: Sequence[Any], score: Score) -> Array:
    try:
        found = [score(row, text_of(answer)) for row, answer in zip(rows, answers, strict=True)]
    except Exception as error:  # whatever a function of the user's raises
        message = f"the score failed: {type(error).__name__}: {error}"
        raise InputError(Fault("member-failed", message, subject="score")) from error
    return _numbers("score", found)


def _numbers(what: str, values: Sequence[Any]) -> Array:
    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        at = int(np.flatnonzero(~np.isfinite(found))[0])
        message = f"a {what} must be a finite number; row {at} has {found[at]}"
        raise InputError(Fault("bad-output", message, subject=what))
    return found


def _fit_faults(cost: Any, score: Any, calibrate: Any, seed: Any) -> list[Fault]:
    wrong = integer_faults("seed", seed, least=0)
    if (cost is None) == (score is None):
        message = f"one of `target_cost` and `target_score` must be given; found {'none' if cost is None else 'both'}"
        wrong.append(Fault("bad-argument", message, subject="target_cost"))
    for name, value in (("target_cost", cost), ("target_score", score)):
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
            wrong.append(Fault("bad-argument", f"`{name}` must be a finite number; found {value!r}", subject=name))
    if calibrate not in (None, "isotonic", "temperature"):
        message = f"`calibrate` must be isotonic, temperature or None; found {calibrate!r}"
        wrong.append(Fault("bad-argument", message, subject="calibrate"))
    return wrong
