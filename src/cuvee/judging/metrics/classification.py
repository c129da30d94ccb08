"""How often a class is right: accuracy, balanced accuracy, F1, area under the ROC curve."""

from __future__ import annotations

from typing import Final

import numpy as np

from cuvee.errors import listed
from cuvee.judging.answers import Answers, Kind
from cuvee.judging.metrics import counted, from_sklearn
from cuvee.judging.metrics.declared import Array, Mean, Metric, OfCounts, Undefined, Whole


def truth_of(answers: Answers) -> Array:
    """The number of the right class of each row."""
    return answers.columns["truth"].astype(np.int64)


def probabilities_of(answers: Answers) -> Array:
    """The probability of each class, `[n, C]`, in float64."""
    return answers.columns["probabilities"].astype(np.float64)


def predicted_of(answers: Answers) -> Array:
    """The number of the most probable class of each row, the first of several."""
    found: Array = answers.columns["probabilities"].argmax(axis=1)
    return found


def _hits(answers: Answers) -> Array:
    hits: Array = predicted_of(answers) == truth_of(answers)
    return hits.astype(np.float64)


def _balanced_accuracy(answers: Answers) -> float:
    return from_sklearn.balanced_accuracy(truth_of(answers), predicted_of(answers))


def _balanced_accuracy_counted(answers: Answers) -> OfCounts:
    return counted.balanced_accuracy(truth_of(answers), predicted_of(answers), _classes(answers))


def _f1_macro(answers: Answers) -> float:
    return from_sklearn.f1(truth_of(answers), predicted_of(answers), "macro")


def _f1_macro_counted(answers: Answers) -> OfCounts:
    return counted.f1_macro(truth_of(answers), predicted_of(answers), _classes(answers))


def _f1_micro(answers: Answers) -> float:
    return from_sklearn.f1(truth_of(answers), predicted_of(answers), "micro")


def _f1_micro_counted(answers: Answers) -> OfCounts:
    """With one class per row each error is one FP and one FN: this is the accuracy."""
    hits = _hits(answers)
    return lambda counts: (counts @ hits) / counts.sum(axis=1)


def _classes(answers: Answers) -> int:
    return int(answers.columns["probabilities"].shape[1])


def _auc(answers: Answers) -> float:
    truth, probabilities = truth_of(answers), probabilities_of(answers)
    classes = probabilities.shape[1]
    lacking = np.setdiff1d(np.arange(classes), truth)
    if classes < 2 or len(lacking):
        names = [answers.classes[i] if answers.classes else str(i) for i in lacking]
        what = f"no row is of {listed(names)}" if names else "there is one class only"
        raise Undefined(f"the curve of a class needs rows of it and of others, and {what}")
    if classes == 2:
        return from_sklearn.auc(truth, probabilities[:, 1])
    return from_sklearn.auc_one_vs_rest(truth, probabilities)


def _auc_counted(answers: Answers) -> OfCounts:
    truth, probabilities = truth_of(answers), probabilities_of(answers)
    if probabilities.shape[1] == 2:
        return counted.auc(truth == 1, probabilities[:, 1])
    return counted.auc_one_vs_rest(truth, probabilities / probabilities.sum(axis=1, keepdims=True))


_KIND: Final[tuple[Kind, ...]] = ("classification",)

METRICS = (
    Metric(
        "accuracy",
        _KIND,
        "higher",
        Mean(_hits),
        "1/n Σ [argmax p = y], the first of equal ones",
        "[0, 1]",
        "the share of rows that are right",
    ),
    Metric(
        "balanced_accuracy",
        _KIND,
        "higher",
        Whole(_balanced_accuracy, _balanced_accuracy_counted),
        "mean over classes c with rows of Σ [ŷ = y = c] / Σ [y = c]",
        "[0, 1]",
        "Brodersen et al. 2010; scikit-learn balanced_accuracy_score",
    ),
    Metric(
        "f1_macro",
        _KIND,
        "higher",
        Whole(_f1_macro, _f1_macro_counted),
        "mean over classes in y or ŷ of 2 TP / (2 TP + FP + FN)",
        "[0, 1]",
        "scikit-learn f1_score, average='macro'",
        also=("f1",),
    ),
    Metric(
        "f1_micro",
        _KIND,
        "higher",
        Whole(_f1_micro, _f1_micro_counted),
        "2 Σ TP / (2 Σ TP + Σ FP + Σ FN), sums over classes",
        "[0, 1]",
        "scikit-learn f1_score, average='micro'",
    ),
    Metric(
        "auc",
        _KIND,
        "higher",
        Whole(_auc, _auc_counted),
        "P(p₁ of a row of class 1 > of one of class 0) + ½ P(equal); with more classes the mean of one against all",
        "[0, 1]",
        "Hand and Till 2001; scikit-learn roc_auc_score, multi_class='ovr', average='macro'",
    ),
)
