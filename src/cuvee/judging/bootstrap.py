"""How much better one model is than another, and whether that is more than noise: paired bootstrap over rows.

The rows are drawn again with replacement, the same for both models, and the difference is taken on each draw: what both
models find hard cancels. Over several tasks the rows of each are drawn on their own and the differences averaged. All
differences are gains: positive is better, whichever way the metric points.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from cuvee.errors import Fault, InputError, UsageError, integer_faults
from cuvee.judging.answers import Answers
from cuvee.judging.metrics import Mean, Metric, metric_named
from cuvee.judging.metrics.declared import Array
from cuvee.judging.metrics.scoring import sound_score
from cuvee.judging.resampling import resampled
from cuvee.judging.soundness import answer_faults

IntervalKind = Literal["percentile", "basic"]
Verdict = Literal["better", "worse", "within noise"]


@dataclass(frozen=True, slots=True)
class Draws:
    """How rows are drawn and what is made of the draws.

    Attributes:
        draws: how many times the rows are drawn.
        seed: of the random numbers; together with a task's name, so that other tasks change nothing.
        level: coverage that intervals are made for, (0, 1).
        interval: `percentile`: the quantiles of the draws; `basic`: twice the value minus the opposite ones.
    """

    draws: int = 2000
    seed: int = 0
    level: float = 0.95
    interval: IntervalKind = "percentile"

    def __post_init__(self) -> None:
        wrong = [*integer_faults("draws", self.draws, least=100), *integer_faults("seed", self.seed, least=0)]
        if not (isinstance(self.level, float) and 0 < self.level < 1):
            wrong.append(
                Fault("bad-argument", f"`level` must be between 0 and 1; found {self.level!r}", subject="level")
            )
        if self.interval not in ("percentile", "basic"):
            message = f"`interval` must be percentile or basic; found {self.interval!r}"
            wrong.append(Fault("bad-argument", message, subject="interval"))
        if wrong:
            raise UsageError(wrong)


USUAL: Final = Draws()


@dataclass(frozen=True, slots=True)
class Difference:
    """A gain with its interval.

    Attributes:
        value: the gain on the rows there are; positive is better.
        low: lower end of the interval; NaN where there is none to give, as for a single row.
        high: upper end.
        level: coverage that the interval is made for.
        better: share of the draws on which there is a gain; draws without a difference count half.
        p_value: two-sided: twice the share of the draws on the rarer side of zero, (k + 1) / (draws + 1), at most 1.
        rows: rows that it is over.
        differing: rows on which the answers differ in what the metric looks at.
        undefined: draws left out because the metric had no value on them.
    """

    value: float
    low: float
    high: float
    level: float
    better: float
    p_value: float
    rows: int
    differing: int
    undefined: int = 0

    @property
    def verdict(self) -> Verdict:
        """`better` or `worse` where the interval leaves zero out and enough rows differ; else `within noise`.

        Where k rows differ, all in one direction, chance alone does so in 2 of 2ᵏ cases: as long as that is more than
        1 − level, no interval can be trusted, and a bootstrap's is too narrow.
        """
        if self.differing < fewest_differing(self.level) or not self.low <= self.high:
            return "within noise"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "within noise"


def fewest_differing(level: float) -> int:
    """The fewest rows that must differ before a difference can be more than noise: 2/2ᵏ ≤ 1 − level.

    Example:
        >>> fewest_differing(0.95), fewest_differing(0.99)
        (6, 8)
    """
    return math.ceil(math.log2(2 / (1 - level)) - 1e-9)


def paired(
    a: Answers, b: Answers, metric: str | Metric, how: Draws = USUAL, *, strata: Sequence[str] | None = None
) -> Difference:
    """By how much a is better than b on one task.

    Args:
        a: answers of one model.
        b: answers of the other on the same rows, in any order.
        metric: a metric or its name.
        how: draws, seed, level, kind of interval.
        strata: a group for each row of a: as many rows of each are drawn as it has.

    Raises:
        UsageError: the metric is unknown or of another kind of answers.
        InputError: `bad-answers`: damaged, or not on the same rows; `undefined-metric`.
    """
    return combined({"": (a, b)}, {"": metric}, how, strata=None if strata is None else {"": strata})


def combined(
    pairs: Mapping[str, tuple[Answers, Answers]],
    metrics: Mapping[str, str | Metric],
    how: Draws = USUAL,
    *,
    strata: Mapping[str, Sequence[str]] | None = None,
) -> Difference:
    """By how much a is better than b, the mean over tasks.

    Args:
        pairs: task → answers of a and of b.
        metrics: task → its metric.
        how: draws, seed, level, kind of interval.
        strata: task → a group for each row of a.

    Raises:
        UsageError: as for `paired`.
        InputError: as for `paired`.
    """
    points, draws, rows, differ = [], [], 0, 0
    for task, (a, b) in pairs.items():
        metric = _metric(metrics[task], a)
        first, second = aligned({"the first model": a, "the second model": b}, task).values()
        one, two = (sound_score(found, metric).gain for found in (first, second))
        points.append(one - two)
        gains = gains_of(metric, [first, second], how, task, (strata or {}).get(task))
        draws.append(gains[0] - gains[1])
        rows += len(a)
        differ += differing(metric, first, second)
    return difference_of(float(np.mean(points)), np.mean(draws, axis=0), how, rows=rows, differing=differ)


def _metric(metric: str | Metric, answers: Answers) -> Metric:
    return metric_named(metric, answers.kind) if isinstance(metric, str) else metric


def aligned(several: Mapping[str, Answers], task: str = "") -> dict[str, Answers]:
    """The answers of several models with their rows in the order of the first.

    Args:
        several: model → its answers.
        task: the task, for messages.

    Raises:
        InputError: `bad-answers`: damaged ones, or ids, kinds or truths that are not the same; all faults.
    """
    faults: list[Fault] = []
    for model, answers in several.items():
        faults += answer_faults(answers, f"{task}, {model}" if task else model)
    if faults:
        raise InputError(faults)
    (first, pattern), *_ = several.items()
    made = {}
    for model, answers in several.items():
        faults += _unlike(first, pattern, model, answers, task)
        if not faults:
            made[model] = _in_order(answers, pattern)
            faults += _other_truth(first, pattern, model, made[model], task)
    if faults:
        raise InputError(faults)
    return made


def _in_order(answers: Answers, pattern: Answers) -> Answers:
    """The answers with rows and classes in an order that all models share."""
    if answers.ids != pattern.ids:
        places = {name: number for number, name in enumerate(answers.ids)}
        answers = answers.take([places[name] for name in pattern.ids])
    if answers.classes == pattern.classes:
        return answers
    order = [answers.classes.index(name) for name in pattern.classes]
    columns = dict(answers.columns)
    if "probabilities" in columns:
        columns["probabilities"] = columns["probabilities"][:, order]
        columns["truth"] = np.argsort(order)[columns["truth"].astype(np.int64)]
    return replace(answers, columns=columns, classes=pattern.classes)


def _unlike(first: str, pattern: Answers, model: str, answers: Answers, task: str) -> list[Fault]:
    """What keeps the answers of a model from being compared with the first one's."""
    start = f"{task}: " if task else ""
    if answers.kind != pattern.kind:
        message = f"{start}answers should be of one kind; {first}: {pattern.kind}, {model}: {answers.kind}"
        return [Fault("bad-answers", message, subject=model)]
    if sorted(answers.classes) != sorted(pattern.classes):
        message = f"{start}the classes of {model} should be those of {first}"
        return [Fault("bad-answers", message, subject=model)]
    if set(answers.ids) == set(pattern.ids):
        return []
    lacking, more = set(pattern.ids) - set(answers.ids), set(answers.ids) - set(pattern.ids)
    what = ", ".join(
        f"{len(names):,} {word} (such as {min(names)!r})"
        for names, word in ((lacking, "lacking"), (more, "of its own"))
        if names
    )
    message = f"{start}{model} should have answered the same rows as {first}; {what}"
    return [Fault("bad-answers", message, subject=model, hint="ask both models the same rows again")]


def _other_truth(first: str, pattern: Answers, model: str, answers: Answers, task: str) -> list[Fault]:
    if "truth" not in pattern.columns or np.array_equal(pattern.columns["truth"], answers.columns["truth"]):
        return []
    start = f"{task}: " if task else ""
    row = pattern.ids[int(np.flatnonzero(pattern.columns["truth"] != answers.columns["truth"])[0])]
    message = f"{start}the truth should be the same for all models; {first} and {model} differ in row {row!r}"
    return [Fault("bad-answers", message, subject=model, hint="they were asked different versions of the task")]


def gains_of(
    metric: Metric, several: Sequence[Answers], how: Draws, task: str = "", strata: Sequence[str] | None = None
) -> Array:
    """The gain of each model on each draw, `[models, draws]`; the draws depend on the seed and the task's name."""
    seed = (how.seed, zlib.crc32(task.encode()))
    values = resampled(metric, several, draws=how.draws, seed=seed, strata=strata)
    return values if metric.direction == "higher" else -values


def differing(metric: Metric, a: Answers, b: Answers) -> int:
    """Rows on which two models differ in what the metric looks at; in any column, if it is no mean of rows."""
    if isinstance(metric.form, Mean):
        return int((metric.form.rows(a) != metric.form.rows(b)).sum())
    unlike = np.zeros(len(a), dtype=bool)
    for name, column in a.columns.items():
        other = b.columns[name] if name in b.columns else np.full_like(column, np.nan, dtype=float)
        unlike |= (column != other).reshape(len(a), -1).any(axis=1)
    return int(unlike.sum())


def difference_of(value: float, draws: Array, how: Draws, *, rows: int, differing: int) -> Difference:
    """What draws of a difference say of it; no interval for a single row, or where most draws have no value."""
    good = draws[np.isfinite(draws)]
    undefined = len(draws) - len(good)
    if rows < 2 or len(good) <= len(draws) // 2:
        return Difference(value, math.nan, math.nan, how.level, math.nan, math.nan, rows, differing, undefined)
    low, high = interval_of(value, good, how.level, how.interval)
    above, below = int((good > 0).sum()), int((good < 0).sum())
    ties = len(good) - above - below
    better = (above + ties / 2) / len(good)
    p_value = min(1.0, 2 * (min(above, below) + ties + 1) / (len(good) + 1))
    return Difference(value, low, high, how.level, better, p_value, rows, differing, undefined)


def interval_of(value: float, draws: Array, level: float, kind: IntervalKind) -> tuple[float, float]:
    """The interval that draws give.

    percentile [q(α/2), q(1 − α/2)], basic [2v − q(1 − α/2), 2v − q(α/2)], α = 1 − level, q the quantiles of the draws.
    """
    alpha = 1 - level
    low, high = (float(q) for q in np.quantile(draws, [alpha / 2, 1 - alpha / 2]))
    return (low, high) if kind == "percentile" else (2 * value - high, 2 * value - low)
