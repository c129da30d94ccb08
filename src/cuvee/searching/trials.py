"""The loop of a search: ask, evaluate, write down, tell.

What is in the journal is not evaluated again. So going on after a crash is running the same loop: the strategy is asked
and told as it was, and answers as it did.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final

from cuvee.errors import CheckFailed, Fault, RecipeError, ResourceError
from cuvee.recipe import Recipe, recipe_hash
from cuvee.searching.grading import gains, joined, overall
from cuvee.searching.holes import Values
from cuvee.searching.journal import Journal, State, Trial
from cuvee.searching.space import Space, fill
from cuvee.searching.strategy import Gains, Strategy
from cuvee.types import Score

Judge = Callable[[Recipe, float, float], tuple[Score, ...]]
"""Merges a recipe and scores it on the rows between two shares."""

TRIALS: Final = 100
"""Trials of a strategy that knows no end, or none that is near."""
_FEW: Final = 4
"""Candidates that must have come to a rung before one is stopped there."""
_TEXT: Final = 20_000
"""Letters of a traceback that are kept, from its end."""


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to evaluate: a candidate on a part of the rows."""

    number: int
    recipe: Recipe
    start: float
    stop: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job: scores, or what went wrong."""

    scores: tuple[Score, ...] = ()
    error: str | None = None
    seconds: float = 0.0


def outcome_of(judge: Judge, job: Job) -> Outcome:
    """Evaluate a job; whatever goes wrong with it is what comes of it."""
    begun = time.perf_counter()
    try:
        scores = judge(job.recipe, job.start, job.stop)
    except Exception:  # a crash of one candidate must not end the search
        return Outcome(error=traceback.format_exc()[-_TEXT:], seconds=time.perf_counter() - begun)
    return Outcome(scores, seconds=time.perf_counter() - begun)


Executor = Callable[[Callable[[Job], Outcome], Sequence[Job]], Sequence[Outcome]]
"""Evaluates a batch; what it gives stands in the order of the jobs. The seam for other machines."""


def one_by_one(evaluate: Callable[[Job], Outcome], jobs: Sequence[Job]) -> list[Outcome]:
    """Evaluate a batch here, one job after the other."""
    return [evaluate(job) for job in jobs]


@dataclass(frozen=True)
class Way:
    """How a search is carried out.

    Attributes:
        most: trials at most; as many as the strategy asks for without it.
        rungs: shares of the rows after which hopeless candidates are stopped; the last is 1.
        batch: candidates that are evaluated at a time.
        crashes: failures in a row after which the search ends.
        executor: evaluates batches.
        told: called with every trial that is done, and the best so far.
    """

    most: int | None = None
    rungs: tuple[float, ...] = (1.0,)
    batch: int = 1
    crashes: int = 5
    executor: Executor = one_by_one
    told: Callable[[Trial, Trial | None], None] | None = None


@dataclass
class Search:
    """A search under way.

    Attributes:
        done: trials so far, by number.
        evaluations: candidates that were evaluated now, not in an earlier run.
    """

    space: Space
    strategy: Strategy
    judge: Judge
    journal: Journal
    way: Way
    done: list[Trial] = field(default_factory=list)
    evaluations: int = 0
    _first: dict[str, int] = field(default_factory=dict)
    _crashed: int = 0

    def run(self) -> list[Trial]:
        """All trials.

        Raises:
            CheckFailed: too many failed in a row, or all of them; the journal holds why.
            ResourceError: the journal is of another search.
        """
        while batch := self._asked():
            fresh = [trial for trial in batch if trial.number >= len(self.journal.past)]
            finished = {trial.number: trial for trial in self._evaluated(batch, fresh)}
            for trial in batch:
                self.done[trial.number] = self._settled(finished.get(trial.number, trial))
            self.journal.add(self.done[len(self.done) - len(fresh) :])
            for trial in self.done[batch[0].number :]:
                self.strategy.tell(self._gains(trial))
                if self.way.told is not None:
                    self.way.told(trial, self.best)
                self._count(trial)
        if not any(trial.gains is not None for trial in self.done):
            raise CheckFailed(_all_failed(self.done))
        return self.done

    @property
    def best(self) -> Trial | None:
        """The trial of the largest gain on all rows; of equal ones the first, or the last if the strategy wants it."""
        whole = [trial for trial in self.done if trial.is_whole]
        if self.strategy.latest:
            whole.reverse()
        return max(whole, key=lambda trial: trial.gain or 0.0, default=None)

    def _gains(self, trial: Trial) -> Gains | None:
        if trial.gains is None or trial.gain is None:
            return None
        return trial.gains if self.strategy.several else (trial.gain,)

    def _asked(self) -> list[Trial]:
        """The next batch: trials with values, and whatever is known of them without evaluating."""
        batch: list[Trial] = []
        while len(batch) < self.way.batch and (self.way.most is None or len(self.done) < self.way.most):
            values = self.strategy.ask()
            if values is None:
                break
            trial = self._begun(len(self.done), values)
            batch.append(trial)
            self.done.append(trial)
        return batch

    def _begun(self, number: int, values: Values) -> Trial:
        if number < len(self.journal.past):
            past = self.journal.past[number]
            if dict(past.values) != dict(values):
                raise ResourceError(_other_values(number))
            if past.recipe is not None:
                self._first.setdefault(past.recipe, number)
            return past
        try:
            recipe = recipe_hash(fill(self.space, values))
        except RecipeError as error:
            return Trial(number, values, "infeasible", error=str(error))
        first = self._first.setdefault(recipe, number)
        if first != number:
            return Trial(number, values, "repeated", recipe, of=first)
        return Trial(number, values, "scored", recipe)

    def _evaluated(self, batch: Sequence[Trial], fresh: Sequence[Trial]) -> Iterator[Trial]:
        """The trials of a batch that had to be evaluated, rung by rung."""
        left = [_Climb(trial, fill(self.space, trial.values)) for trial in fresh if trial.state == "scored"]
        self.evaluations += len(left)
        known = [trial.rungs for trial in (*self.done[: len(self.done) - len(batch)], *batch) if trial.rungs]
        start = 0.0
        for rung, stop in enumerate(self.way.rungs):
            jobs = [climb.job(start, stop) for climb in left]
            for climb, outcome in zip(left, self.way.executor(self._outcome, jobs), strict=True):
                climb.take(outcome)
            unscored = [climb for climb in left if climb.needs_all]
            again = [replace(climb.job(start, stop), start=0.0) for climb in unscored]
            for climb, outcome in zip(unscored, self.way.executor(self._outcome, again) if again else [], strict=True):
                climb.take(outcome, whole=True)
            yield from (climb.finished("failed") for climb in left if climb.error is not None)
            left = [climb for climb in left if climb.error is None]
            if rung == len(self.way.rungs) - 1:
                yield from (climb.finished("scored") for climb in left)
                return
            seen = [row[rung] for row in known if len(row) > rung] + [climb.rungs[rung] for climb in left]
            bar = median(seen) if len(seen) >= _FEW else -math.inf
            yield from (climb.finished("stopped") for climb in left if climb.rungs[rung] < bar)
            left = [climb for climb in left if climb.rungs[rung] >= bar]
            start = stop

    def _outcome(self, job: Job) -> Outcome:
        return outcome_of(self.judge, job)

    def _settled(self, trial: Trial) -> Trial:
        """A repeated trial with what came of the first."""
        if trial.state != "repeated" or trial.of is None or trial.gains is not None:
            return trial
        first = self.done[trial.of]
        if first.state in ("failed", "stopped"):
            told = {"gains": first.gains, "stderrs": first.stderrs, "error": first.error}
            return replace(trial, state=first.state, **told)  # type: ignore[arg-type]
        return replace(trial, gains=first.gains, stderrs=first.stderrs)

    def _count(self, trial: Trial) -> None:
        """End the search where failures follow each other; those of an earlier run do not count."""
        if trial.number < len(self.journal.past) or trial.of is not None or trial.state == "infeasible":
            return
        self._crashed = self._crashed + 1 if trial.state == "failed" else 0
        if self._crashed >= self.way.crashes:
            raise CheckFailed(_in_a_row(self._crashed, trial))


@dataclass
class _Climb:
    """A trial on its way from rung to rung."""

    trial: Trial
    recipe: Recipe
    scores: tuple[Score, ...] = ()
    rungs: tuple[float, ...] = ()
    error: str | None = None
    seconds: float = 0.0
    needs_all: bool = False

    def job(self, start: float, stop: float) -> Job:
        return Job(self.trial.number, self.recipe, start, stop)

    def take(self, outcome: Outcome, *, whole: bool = False) -> None:
        """Take in the scores of the next rows, or of all rows so far where they cannot be put together."""
        self.seconds += outcome.seconds
        self.error, self.needs_all = outcome.error, False
        if outcome.error is not None:
            return
        if whole or not self.scores:
            self.scores = outcome.scores
        else:
            both = [joined(a, b) for a, b in zip(self.scores, outcome.scores, strict=True)]
            if any(score is None for score in both):
                self.needs_all = True
                return
            self.scores = tuple(score for score in both if score is not None)
        self.rungs = (*self.rungs, overall(self.scores).value)

    def finished(self, state: State) -> Trial:
        if state == "failed":
            return replace(self.trial, state=state, error=self.error, seconds=round(self.seconds, 3))
        stderrs = tuple(score.stderr if math.isfinite(score.stderr) else None for score in self.scores)
        told = {"gains": gains(self.scores), "stderrs": stderrs, "rungs": self.rungs}
        return replace(self.trial, state=state, seconds=round(self.seconds, 3), **told)  # type: ignore[arg-type]


def _other_values(number: int) -> Fault:
    message = f"trial {number} of the journal has other values than this search asks for"
    hint = "it was made by other versions of Cuvee or of a library; begin again with --overwrite, or in another folder"
    return Fault("resume-mismatch", message, hint=hint)


def _last_line(trial: Trial) -> str:
    return (trial.error or "").strip().splitlines()[-1] if (trial.error or "").strip() else "no reason given"


def _all_failed(done: Sequence[Trial]) -> Fault:
    last = f"; the last: {_last_line(done[-1])}" if done else ""
    return Fault("search-failed", f"all {len(done)} trials failed, so there is no result{last}", hint=_WHERE)


def _in_a_row(count: int, trial: Trial) -> Fault:
    message = f"{count} trials in a row failed, up to trial {trial.number}: {_last_line(trial)}"
    return Fault("search-failed", message, hint=f"{_WHERE}; put it right and go on with --resume")


_WHERE: Final = "the journal holds every traceback"
