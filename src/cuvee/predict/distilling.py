"""One model that says what an ensemble says: trained on its probabilities, and judged on rows it was not trained on.

    a classifier     fit(X, y, sample_weight): every row stands once for each class, with the class's probability as its
                     weight; without weights: several times, in proportion (largest remainders)
    a regressor      fit(X, Z): centred logits z_k = ln p_k − mean ln p; softmax of those it predicts is what it says
    a function       X, P [N, K] → something with `predict_proba`, or a function X → [N, K]
    a regression     fit(X, values), or a function X, values [N, 1] → likewise

Hinton, Vinyals & Dean 2015 (arXiv:1503.02531), at temperature 1.
"""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, UsageError
from cuvee.judging.bootstrap import Difference, paired
from cuvee.predict.answers import ask
from cuvee.predict.gathering import gather
from cuvee.predict.judged import METRICS, Estimate, answers_of, estimate
from cuvee.predict.member import Member
from cuvee.predict.rows import Reads, Rows, rows_of
from cuvee.predict.trained import Label, Output, Task

_LEAST: Final = 1e-6
"""Probabilities below it are this in logits, and no row in a classifier's training."""
_COPIES: Final = 5
"""How often each row stands where rows cannot be weighted."""


@dataclass(frozen=True, eq=False)
class Distilled:
    """A student and what was lost.

    Attributes:
        student: the trained model as a member.
        trained_rows: rows that it was trained on.
        held_out: rows that it is judged on.
        agreement: share of these on which it predicts the ensemble's class; of values the correlation.
        divergence: mean Σ p ln(p / q) of the ensemble's p and its q on them; of values the root of the mean square.
        teacher: score of the ensemble on them; `None` without right answers.
        score: that of the student.
        lost: by how much the student is better, negative where something was lost, with its interval.
        metric: of these scores.
        us_per_row: of the student, one call on the held-out rows.
        teacher_us_per_row: of the ensemble.
        way: how it was trained.
    """

    def as_row(self) -> dict[str, Any]:
        """The figures as plain data."""
        row: dict[str, Any] = {"student": self.student.name, "way": self.way, "rows": self.trained_rows}
        row |= {"held_out": self.held_out, "agreement": self.agreement.value, "divergence": self.divergence.value}
        if self.teacher is not None and self.score is not None and self.lost is not None:
            row |= {f"teacher_{self.metric}": self.teacher.value, self.metric: self.score.value}
            row |= {"lost": -self.lost.value, "lost_low": -self.lost.high, "lost_high": -self.lost.low}
        return row | {"us_per_row": self.us_per_row, "teacher_us_per_row": self.teacher_us_per_row}

    student: Member
    trained_rows: int
    held_out: int
    agreement: Estimate
    divergence: Estimate
    teacher: Estimate | None
    score: Estimate | None
    lost: Difference | None
    metric: str
    us_per_row: float
    teacher_us_per_row: float
    way: str


def distill(
    teacher: Callable[[Rows], Array],
    student: Any,
    X: Any,
    y: Any = None,
    classes: Sequence[Label] = (),
    task: Task = "classification",
    *,
    held_out: float = 0.2,
    reads: Reads = None,
    name: str = "student",
    seed: int = 0,
) -> Distilled:
    """Train one model on what an ensemble says.

    Args:
        teacher: rows → what the ensemble says, `[N, K]`.
        student: an estimator, which is copied and stays as it is, or a function that trains; see the file's head.
        X: rows; right answers are not needed to train.
        y: right answers, to say what was lost.
        classes: of the ensemble.
        task: of the ensemble.
        held_out: share of the rows that the student is judged on and not trained on, between 0 and 1.
        reads: the columns that the student reads.
        name: of the student.
        seed: of the draw of held-out rows.

    Raises:
        UsageError: `bad-argument`: the student cannot be trained; the share.
        InputError: `too-few-rows`; what the ensemble and the student raise.
    """
    rows = rows_of(X)
    train, test = _split(len(rows), held_out, seed)
    learnt, asked = rows.take(train), rows.take(test)
    wanted, spent = _timed(teacher, asked)
    made, way = trained(student, learnt.read(reads), teacher(learnt), classes, task)
    member = replace(made, name=name, reads=reads)
    said, taken = _timed(lambda some: ask(member, some, classes, task).P, asked)
    metric = METRICS[task][0]
    teacher_score: Estimate | None = None
    score: Estimate | None = None
    lost: Difference | None = None
    if y is not None:
        right = [y[int(at)] for at in test] if isinstance(y, list) else np.asarray(y)[test]
        bank = gather([], asked, classes, task, truth=right)
        student_says, teacher_says = answers_of(said, bank), answers_of(wanted, bank)
        teacher_score, score = estimate(teacher_says, metric), estimate(student_says, metric)
        lost = paired(student_says, teacher_says, metric)
    agreement, divergence = _alike(wanted, said, task)
    return Distilled(
        student=member,
        trained_rows=len(train),
        held_out=len(test),
        agreement=agreement,
        divergence=divergence,
        teacher=teacher_score,
        score=score,
        lost=lost,
        metric=metric,
        us_per_row=taken,
        teacher_us_per_row=spent,
        way=way,
    )


def _split(n: int, held_out: float, seed: int) -> tuple[Array, Array]:
    """Rows to train on and rows to judge by, each in order."""
    if not isinstance(held_out, float) or not 0 < held_out < 1:
        message = f"`held_out` must be a share between 0 and 1; found {held_out!r}"
        raise UsageError(Fault("bad-argument", message, subject="held_out"))
    count = round(held_out * n)
    if count < 2 or n - count < 2:
        message = f"of {n:,} rows {count:,} would be held out; there must be two to train on and two to judge by"
        raise InputError(Fault("too-few-rows", message, hint="give more rows"))
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[count:]), np.sort(order[:count])


def _timed(call: Callable[[Rows], Array], rows: Rows) -> tuple[Array, float]:
    """What a call gives, and microseconds per row."""
    begin = time.perf_counter()
    found = call(rows)
    return found, (time.perf_counter() - begin) / len(rows) * 1e6


def trained(student: Any, X: Any, P: Array, classes: Sequence[Label], task: Task) -> tuple[Member, str]:
    """A student trained on what the ensemble says, as a member, and how it was trained.

    Raises:
        UsageError: `bad-argument`: it can be trained in none of the ways.
    """
    if not hasattr(student, "fit"):
        return _by_function(student, X, P, classes, task)
    made = copy.deepcopy(student)
    if task == "regression":
        made.fit(X, P[:, 0])
        return Member("student", "sklearn", made.predict, "values", thing=made), "values"
    if hasattr(made, "predict_proba"):
        way = _fit_classifier(made, X, P, classes)
        own = tuple(np.asarray(made.classes_).tolist())
        return Member("student", "sklearn", made.predict_proba, "probabilities", own, missing="zero", thing=made), way
    if not hasattr(made, "predict"):
        raise _not_trainable(student)
    made.fit(X, logits_of(P))
    return Member("student", "callable", made.predict, "logits", tuple(classes), thing=made), "logits"


def _by_function(student: Any, X: Any, P: Array, classes: Sequence[Label], task: Task) -> tuple[Member, str]:
    if not callable(student):
        raise _not_trainable(student)
    made = student(X, P)
    method = "predict" if task == "regression" else "predict_proba"
    asked = getattr(made, method, made)
    if not callable(asked):
        message = f"the function must give something with `{method}`, or a function; it gave {type(made).__name__}"
        raise UsageError(Fault("bad-argument", message, subject="student"))
    output: Output = "values" if task == "regression" else "probabilities"
    return Member("student", "callable", asked, output, tuple(classes), thing=made), "function"


def _not_trainable(student: Any) -> UsageError:
    message = f"a student has `fit` and `predict_proba` or `predict`, or is a function; found {type(student).__name__}"
    return UsageError(Fault("bad-argument", message, subject="student"))


def _fit_classifier(model: Any, X: Any, P: Array, classes: Sequence[Label]) -> str:
    """Train a classifier on probabilities; says how."""
    labels = np.array(list(classes), dtype=object if len({type(one) for one in classes}) > 1 else None)
    if keyword := _weight_keyword(model):
        row, column = np.nonzero(P >= _LEAST)
        model.fit(_repeated(X, row), labels[column], **{keyword: P[row, column]})
        return "weighted rows"
    row, column = copies_of(P)
    model.fit(_repeated(X, row), labels[column])
    return f"each row {_COPIES} times"


def _weight_keyword(model: Any) -> str | None:
    """What `fit` calls weights of rows; of a pipeline what its last step does."""
    steps = getattr(model, "steps", None)
    if steps:
        name, last = steps[-1]
        return f"{name}__sample_weight" if _weight_keyword(last) == "sample_weight" else None
    return "sample_weight" if "sample_weight" in inspect.signature(model.fit).parameters else None


def copies_of(P: Array, times: int = _COPIES) -> tuple[Array, Array]:
    """Rows and classes of copies in proportion to probabilities, by largest remainders.

    Args:
        P: `[N, K]`.
        times: copies of each row.

    Returns:
        Numbers of rows and of classes, `[times · N]` each.

    Example:
        >>> copies_of(np.array([[0.6, 0.4]]))[1].tolist()
        [0, 0, 0, 1, 1]
    """
    whole = np.floor(P * times + 1e-9).astype(np.int64)
    rest = P * times - whole
    lacking = times - whole.sum(axis=1)
    place = np.argsort(np.argsort(-rest, axis=1, kind="stable"), axis=1, kind="stable")
    counts = whole + (place < lacking[:, None])
    row, column = np.nonzero(counts)
    return np.repeat(row, counts[row, column]), np.repeat(column, counts[row, column])


def _repeated(X: Any, rows: Array) -> Any:
    """Rows that stand as often as told, in the form that they have."""
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if isinstance(X, dict):
        return {name: _repeated(column, rows) for name, column in X.items()}
    return X[rows] if hasattr(X, "shape") else [X[int(row)] for row in rows]


def logits_of(P: Array) -> Array:
    """Ln p less its mean over the classes, `[N, K]`, p not below 1e-6."""
    logs = np.log(np.clip(P, _LEAST, 1.0))
    centred: Array = logs - logs.mean(axis=1, keepdims=True)
    return centred


def _alike(wanted: Array, said: Array, task: Task) -> tuple[Estimate, Estimate]:
    """Agreement and divergence of student and ensemble, each with 1.96 standard errors."""
    if task == "regression":
        squares = (wanted[:, 0] - said[:, 0]) ** 2
        mean = _mean(squares)
        varied = wanted.std() > 0 and said.std() > 0
        alike = float(np.corrcoef(wanted[:, 0], said[:, 0])[0, 1]) if varied else math.nan
        bounds = (math.sqrt(max(0.0, one)) for one in (mean.value, mean.low, mean.high))
        return Estimate(alike, math.nan, math.nan), Estimate(*bounds)
    p, q = np.clip(wanted, _LEAST, 1), np.clip(said, _LEAST, 1)
    return _mean((wanted.argmax(axis=1) == said.argmax(axis=1)).astype(float)), _mean((p * np.log(p / q)).sum(axis=1))


def _mean(rows: Array) -> Estimate:
    half = 1.96 * float(rows.std(ddof=1)) / math.sqrt(len(rows))
    return Estimate(float(rows.mean()), float(rows.mean()) - half, float(rows.mean()) + half)
