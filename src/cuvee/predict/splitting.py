"""Which rows a model is trained on and which it is asked about, fold by fold; the splits are scikit-learn's."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, UsageError
from cuvee.predict.rows import is_lacking
from cuvee.predict.trained import Task
from cuvee.predict.truths import plain_labels


class Splitter(Protocol):
    """What scikit-learn calls a cross-validator."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterable[tuple[Any, Any]]:
        """Pairs of row numbers, to train on and to ask about."""


CV = int | str | Splitter | Iterable[tuple[Any, Any]]
"""How rows are split: a number of folds; `group` or `time`, five folds of it, `group:8` or `time:8`, eight; an object
with `split`; or pairs of row numbers."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Row numbers of one fold: `train` is learned from, `test` asked about; none is in both."""

    train: Array
    test: Array


def folds_of(cv: CV, truth: Array, task: Task, *, groups: Sequence[Any] | None = None, seed: int = 0) -> list[Fold]:
    """The folds.

    A number of folds is stratified by class and shuffled for a classification, shuffled for a regression, and by group
    where there are groups; `time` trains on what came before, in the order of the rows.

    Args:
        cv: how rows are split.
        truth: `[N]`, numbers of classes or values.
        task: of the ensemble.
        groups: the group of each row; no group is in both parts of a fold.
        seed: of the shuffling.

    Raises:
        UsageError: there is no such way to split, or groups are lacking.
        InputError: `bad-data`: a row without a group; `too-few-rows`: fewer rows, or groups, than folds; `rows-differ`:
            groups, or row numbers, that do not fit; `in-sample`: rows, or groups, that are in both parts of a fold.
    """
    n = len(truth)
    if groups is not None and len(groups) != n:
        message = f"there must be a group for each of {n:,} rows; found {len(groups):,}"
        raise InputError(Fault("rows-differ", message, subject="groups"))
    groups = None if groups is None else _known(groups)
    pairs = _pairs(cv, truth, task, groups, seed)
    folds = [Fold(_numbers(train, n), _numbers(test, n)) for train, test in pairs]
    if faults := _faults(folds, groups):
        raise InputError(faults)
    return folds


def _known(groups: Sequence[Any]) -> list[Any]:
    """Groups as Python's own values; one that is lacking might be any, on both sides of a fold.

    Raises:
        InputError: `bad-data`.
    """
    found = plain_labels(groups)
    if lacking := [row for row, group in enumerate(found) if is_lacking(group)]:
        message = (
            f"every row must be of a group; row {lacking[0]} is of {found[lacking[0]]!r} ({len(lacking):,} such rows)"
        )
        hint = "leave these rows out, or give each a group of its own"
        raise InputError(Fault("bad-data", message, subject="groups", hint=hint))
    return found


def _pairs(cv: CV, truth: Array, task: Task, groups: Sequence[Any] | None, seed: int) -> list[tuple[Any, Any]]:
    if hasattr(cv, "split") and not isinstance(cv, str):
        return _split(cv, truth, groups)
    if isinstance(cv, int | np.integer | str) and not isinstance(cv, bool):
        kind, count = _asked(cv if isinstance(cv, str) else int(cv), groups)
        _check_count(kind, count, len(truth), groups)
        return _split(_splitter(kind, count, task, seed), truth, groups)
    pairs = list(cv) if isinstance(cv, Iterable) and not isinstance(cv, str) else []
    if pairs and all(isinstance(one, Sequence) and len(one) == 2 for one in pairs):
        return pairs
    raise _unknown(cv)


def _asked(cv: int | str, groups: Sequence[Any] | None) -> tuple[str, int]:
    """The kind of split and the number of folds."""
    if isinstance(cv, int):
        return ("group" if groups is not None else "fold"), cv
    kind, colon, count = cv.partition(":")
    if kind not in ("group", "time") or (colon and not (count.isascii() and count.isdigit())):
        raise _unknown(cv)
    if kind == "group" and groups is None:
        message = "to split by group, the group of each row must be known; `groups` is not given"
        raise UsageError(Fault("bad-argument", message, subject="groups"))
    return kind, int(count) if colon else 5


def _unknown(cv: object) -> UsageError:
    message = f"`cv` must be a number of folds, `group`, `time`, a splitter or pairs of row numbers; found {cv!r:.60}"
    return UsageError(Fault("bad-argument", message, subject="cv", hint="`group:8` and `time:8` have eight folds"))


def _check_count(kind: str, count: int, n: int, groups: Sequence[Any] | None) -> None:
    if count < 2:
        message = f"there must be at least 2 folds; found {count}"
        raise UsageError(Fault("bad-argument", message, subject="cv"))
    there = len(set(groups)) if kind == "group" and groups is not None else n - (kind == "time")
    if there < count:
        what = "groups" if kind == "group" else "rows"
        message = f"{count} folds need at least {count + (kind == 'time')} {what}; found {there + (kind == 'time')}"
        raise InputError(Fault("too-few-rows", message, subject="cv", hint="ask for fewer folds"))


def _splitter(kind: str, count: int, task: Task, seed: int) -> Any:
    from sklearn import model_selection

    if kind == "group":
        return model_selection.GroupKFold(count)
    if kind == "time":
        return model_selection.TimeSeriesSplit(count)
    if task == "regression":
        return model_selection.KFold(count, shuffle=True, random_state=seed)
    return _StratifiedFolds(count, seed)


@dataclass(frozen=True)
class _StratifiedFolds:
    """Stratified folds that also take classes of fewer rows than folds: their rows go to as many folds as they are."""

    count: int
    seed: int

    def split(self, X: Any, y: Any, groups: Any = None) -> Any:  # noqa: ARG002 - the protocol's
        from sklearn import model_selection

        if np.bincount(np.unique(y, return_inverse=True)[1]).max() < self.count:  # what scikit-learn refuses
            return model_selection.KFold(self.count, shuffle=True, random_state=self.seed).split(X)
        return model_selection.StratifiedKFold(self.count, shuffle=True, random_state=self.seed).split(X, y)


def _split(splitter: Any, truth: Array, groups: Sequence[Any] | None) -> list[tuple[Any, Any]]:
    with warnings.catch_warnings():
        # a class of fewer rows than folds: `cross_fit` tells of it itself, with its name
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        try:
            return list(splitter.split(np.zeros((len(truth), 1)), truth, None if groups is None else _array(groups)))
        except (ValueError, TypeError) as error:
            message = f"{type(splitter).__name__} could not split {len(truth):,} rows: {error}"
            raise InputError(Fault("too-few-rows", message, subject="cv")) from error


def _array(groups: Sequence[Any]) -> Array:
    """Groups as numbers, whatever they are."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] for group in groups])


def _numbers(rows: Any, n: int) -> Array:
    """Row numbers, from a mask or from numbers.

    Raises:
        InputError: `rows-differ`.
    """
    found = np.asarray(rows)
    if found.dtype == bool and found.shape == (n,):
        return np.flatnonzero(found)
    if found.ndim != 1 or (len(found) and (found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= n)):
        message = f"folds must be numbers of rows, from 0 to {n - 1:,}; found {found!r:.80}"
        raise InputError(Fault("rows-differ", message, subject="cv"))
    return found.astype(np.int64)


def _faults(folds: Sequence[Fold], groups: Sequence[Any] | None) -> list[Fault]:
    faults = [] if folds else [Fault("too-few-rows", "there must be a fold; the splitter gave none", subject="cv")]
    for number, fold in enumerate(folds):
        both = np.intersect1d(fold.train, fold.test)
        empty = "trained on" if not len(fold.train) else "asked about" if not len(fold.test) else None
        if empty:
            faults.append(Fault("too-few-rows", f"fold {number}: there must be rows; none are {empty}", subject="cv"))
        if len(both):
            message = (
                f"fold {number}: no row may be both learned from and asked about; {len(both):,} are (row {both[0]})"
            )
            faults.append(Fault("in-sample", message, subject="cv"))
        elif groups is not None:
            shared = {groups[i] for i in fold.train} & {groups[i] for i in fold.test}
            if shared:
                name = next(groups[i] for i in fold.test if groups[i] in shared)
                message = f"fold {number}: no group may be both learned from and asked about; {name!r} is"
                faults.append(Fault("in-sample", message, subject="groups", hint="split by `group`"))
    return faults
