"""Voting and stacking of scikit-learn, of mlxtend and of Cuvee in one run: score and time.

    python benchmarks/ensembles/side_by_side.py [--data digits synthetic] [--folds 3] [--out benchmarks/results]

All combine the same five estimators with the same settings and seeds. The rows are predicted by outer
cross-validation: each tool is fitted on the other folds, its own inner folds included, and timed. The tools take turns
in another order in each fold. scikit-learn stands at its defaults (5 inner folds, logistic regression on top);
mlxtend's stack is told to use probabilities, without which it is another method.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import timed

timed.one_thread()

import numpy as np  # noqa: E402 - after the number of threads is said

from cuvee.judging.answers import Answers  # noqa: E402
from cuvee.judging.bootstrap import paired  # noqa: E402
from cuvee.judging.metrics import score_of  # noqa: E402
from cuvee.predict import EnsembleClassifier  # noqa: E402

SEED = 0
METRICS = ("accuracy", "log_loss")
PAIRS = (
    ("Cuvee, soft vote", "scikit-learn, soft vote"),
    ("Cuvee, stack", "scikit-learn, stack"),
    ("Cuvee, stack", "mlxtend, stack"),
    ("Cuvee, greedy", "scikit-learn, soft vote"),
    ("Cuvee, greedy", "scikit-learn, stack"),
)
"""Of which the differences are told, paired by row."""


def members() -> list[tuple[str, Any]]:
    """Five families."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return [
        ("linear", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))),
        ("forest", RandomForestClassifier(100, random_state=SEED)),
        ("neighbours", make_pipeline(StandardScaler(), KNeighborsClassifier())),
        ("vectors", make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(), ensemble=False))),
        ("bayes", GaussianNB()),
    ]


def data(name: str) -> tuple[Any, Any]:
    from sklearn.datasets import load_digits, make_classification

    if name == "digits":
        return load_digits(return_X_y=True)
    return make_classification(
        3000, 20, n_informative=10, n_redundant=4, n_classes=5, n_clusters_per_class=3, class_sep=1.0, random_state=SEED
    )


def tools() -> Mapping[str, Callable[[], Any]]:
    """Tool and way → an estimator that is not fitted."""
    from mlxtend.classifier import EnsembleVoteClassifier, StackingCVClassifier
    from sklearn.ensemble import StackingClassifier, VotingClassifier
    from sklearn.linear_model import LogisticRegression

    def meta() -> Any:
        return LogisticRegression(max_iter=1000)

    def bare() -> list[Any]:
        return [estimator for _, estimator in members()]

    return {
        "scikit-learn, soft vote": lambda: VotingClassifier(members(), voting="soft"),
        "mlxtend, soft vote": lambda: EnsembleVoteClassifier(bare(), voting="soft"),
        "Cuvee, soft vote": lambda: EnsembleClassifier(members(), combiner="soft", random_state=SEED),
        "scikit-learn, stack": lambda: StackingClassifier(members(), meta()),
        "mlxtend, stack": lambda: StackingCVClassifier(
            bare(), meta(), use_probas=True, cv=5, random_state=SEED, n_jobs=None
        ),
        "Cuvee, stack": lambda: EnsembleClassifier(members(), combiner="stack", random_state=SEED),
        "Cuvee, greedy": lambda: EnsembleClassifier(members(), combiner="greedy", random_state=SEED),
    }


def measure(name: str, folds: int) -> dict[str, Any]:
    """What every tool predicts of every row, and its seconds."""
    from sklearn.model_selection import StratifiedKFold

    x, y = data(name)
    made = tools()
    said = {tool: np.zeros((len(y), len(np.unique(y)))) for tool in made}
    spent: dict[str, list[tuple[float, float]]] = {tool: [] for tool in made}
    for number, (train, test) in enumerate(StratifiedKFold(folds, shuffle=True, random_state=SEED).split(x, y)):
        for tool in np.random.default_rng(number).permutation(list(made)).tolist():
            fit, model = timed.seconds(partial(made[tool]().fit, x[train], y[train]))
            ask, said[tool][test] = timed.seconds(partial(model.predict_proba, x[test]))
            spent[tool].append((fit, 1e6 * ask / len(test)))
    return _judged(said, np.asarray(y), spent)


def _judged(said: Mapping[str, Any], y: Any, spent: Mapping[str, Any]) -> dict[str, Any]:
    ids = tuple(map(str, range(len(y))))
    answers = {tool: Answers("classification", {"truth": y, "probabilities": p}, ids) for tool, p in said.items()}
    found: dict[str, Any] = {"rows": len(y), "tools": {}, "differences": []}
    for tool, one in answers.items():
        scores = {metric: score_of(one, metric) for metric in METRICS}
        fit, ask = np.median(np.array(spent[tool]), axis=0)
        found["tools"][tool] = {
            **{metric: [score.value, score.stderr] for metric, score in scores.items()},
            "fit_seconds": float(fit),
            "us_per_row": float(ask),
        }
    for ours, other in PAIRS:
        for metric in METRICS:
            gap = paired(answers[ours], answers[other], metric)
            told = {"value": gap.value, "low": gap.low, "high": gap.high, "verdict": gap.verdict}
            found["differences"].append({"a": ours, "b": other, "metric": metric, **told})
    return found


def section(name: str, found: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            tool,
            *(f"{one[metric][0]:.4f} ± {one[metric][1]:.4f}" for metric in METRICS),
            f"{one['fit_seconds']:.2f}",
            f"{one['us_per_row']:.0f}",
        ]
        for tool, one in found["tools"].items()
    ]
    gaps = [
        f"- {gap['a']} over {gap['b']}, {gap['metric'].replace('_', ' ')}: {gap['value']:+.4f} "
        f"[{gap['low']:+.4f}, {gap['high']:+.4f}]: {gap['verdict']}"
        for gap in found["differences"]
    ]
    head = ["", "accuracy", "log loss", "fit s", "predict µs/row"]
    told = "Gains with 95 % intervals, paired by row; positive is better whichever way the metric points:"
    return [f"## {name}, {found['rows']:,} rows", "", *timed.table(head, rows), "", told, "", *gaps, ""]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits", "synthetic"], choices=["digits", "synthetic"])
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=timed.RESULTS)
    told = parser.parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {name: measure(name, told.folds) for name in told.data}
    lines = [
        "# Voting and stacking side by side",
        "",
        "Five estimators, the same for all: a linear model, a forest, nearest neighbours, calibrated support vectors "
        f"and naive Bayes. Every row was predicted by models fitted on the other {told.folds - 1} of {told.folds} "
        "folds; seconds and microseconds are medians over the folds, one thread.",
        "",
        *(line for name, one in found.items() for line in section(name, one)),
    ]
    timed.written("side_by_side", lines[:-1], {"found": found}, ["scikit-learn", "mlxtend", "numpy"], told.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
