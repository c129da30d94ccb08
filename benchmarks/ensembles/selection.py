"""What combining seven models of different families is worth on rows that nothing was fitted on.

    python benchmarks/ensembles/selection.py [--data digits synthetic] [--folds 5] [--out benchmarks/results]

Outer cross-validation: in each fold, members are asked out of fold on the training part, combiners are fitted on that
bank, members are trained again on all of the training part, and the rows of the fold are predicted. Beside them stand a
member that knows nothing and one that is sure and wrong: greedy selection must give both exactly nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import found
import numpy as np
from found import RESULTS, Array, Makers, accuracy, asked, log_loss, out_of_fold

from cuvee.predict import Bank, Greedy, Soft, Stack
from cuvee.predict.combiners import Batch, Combiner

SEED = 0
COMBINERS: Mapping[str, Callable[[], Combiner]] = {
    "soft vote": Soft,
    "greedy selection": Greedy,
    "stack, logistic": Stack,
    "stack, logistic on logits": lambda: Stack(on="logits"),
    "stack, non-negative weights": lambda: Stack(meta="nonnegative"),
}
JUNK = ("uniform", "sure and wrong")


def members() -> Makers:
    """Seven families."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    def scaled(model: Any) -> Any:
        return make_pipeline(StandardScaler(), model)

    return {
        "logistic regression": lambda: scaled(LogisticRegression(max_iter=1000)),
        "random forest": lambda: RandomForestClassifier(200, random_state=SEED),
        "boosted trees": lambda: HistGradientBoostingClassifier(random_state=SEED),
        "nearest neighbours": lambda: scaled(KNeighborsClassifier()),
        "support vectors": lambda: scaled(CalibratedClassifierCV(SVC(), ensemble=False)),
        "naive Bayes": lambda: GaussianNB(),
        "neural network": lambda: scaled(MLPClassifier((64,), max_iter=300, random_state=SEED)),
    }


def data(name: str) -> tuple[Array, Array]:
    from sklearn.datasets import load_digits, make_classification

    if name == "digits":
        x, y = load_digits(return_X_y=True)
        return x, y
    x, y = make_classification(
        3000, 20, n_informative=10, n_redundant=4, n_classes=5, n_clusters_per_class=3, class_sep=1.0, random_state=SEED
    )
    return x, y


def with_junk(bank: Bank) -> Bank:
    """The bank with two members beside the others that are worth nothing."""
    assert bank.truth is not None
    n, classes = len(bank), len(bank.classes)
    wrong = np.eye(classes)[(bank.truth + 1) % classes] * 0.98 + 0.02 / classes
    said = {**dict(zip(bank.members, bank.P)), JUNK[0]: np.full((n, classes), 1 / classes), JUNK[1]: wrong}
    return found.bank_of(said, bank.truth, classes, "out-of-fold", bank.features)


def measure(x: Array, y: Array, makers: Makers, folds: int) -> dict[str, Any]:
    """Every combiner and every member on the rows of every fold."""
    from sklearn.model_selection import StratifiedKFold

    classes = int(y.max()) + 1
    said: dict[str, Array] = {}
    told: dict[str, Any] = {"chosen": [], "junk": [], "used": []}
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=SEED).split(x, y):
        bank = out_of_fold(makers, x[train], y[train], classes, folds=5, seed=SEED)
        new = asked({name: make().fit(x[train], y[train]) for name, make in makers.items()}, x[test], y[test], classes)
        losses = [log_loss(p, y[train]) for p in bank.P]
        told["chosen"].append(bank.members[int(np.argmin(losses))])
        of = dict(zip(new.members, new.P)) | {"best by out-of-fold": new.P[int(np.argmin(losses))]}
        for name, make in COMBINERS.items():
            of[name] = make().fit(bank).apply(Batch(new.P, new.mask, new.features))
        greedy = Greedy().fit(with_junk(bank))
        told["junk"].append([float(one) for one in greedy.share[-2:]])
        told["used"].append(dict(zip(greedy.members, np.round(greedy.share, 4).tolist())))
        for name, p in of.items():
            said.setdefault(name, np.zeros((len(y), classes)))[test] = p
    scores = {name: {"accuracy": accuracy(p, y), "log_loss": log_loss(p, y)} for name, p in said.items()}
    return {"scores": scores, **told}


def asked_for(results: Mapping[str, Any]) -> dict[str, tuple[float, str, float]]:
    """The bars, for the data that were measured."""
    bars: dict[str, tuple[float, str, float]] = {}
    for name, most in (("digits", 0.75), ("synthetic", 0.92)):
        if name not in results:
            continue
        scores = results[name]["scores"]
        best = scores["best by out-of-fold"]
        bars[f"{name}: greedy ÷ best single, log loss"] = (
            scores["greedy selection"]["log_loss"] / best["log_loss"],
            "≤",
            most,
        )
        if name == "digits":
            gain = 100 * (scores["soft vote"]["accuracy"] - best["accuracy"])
            bars["digits: soft vote − best single, points"] = (gain, "≥", 0.5)
        else:
            gain = 100 * (scores["stack, logistic"]["accuracy"] - best["accuracy"])
            bars["synthetic: stack − best single, points"] = (gain, "≥", 2.0)
        bars[f"{name}: greedy weight of junk"] = (float(np.sum(results[name]["junk"])), "=", 0.0)
    return bars


def before(out: Path) -> dict[str, Any]:
    """What was measured on other data before: each can be measured by itself."""
    file = out / "ensemble-selection.json"
    return dict(json.loads(file.read_text())["results"]) if file.exists() else {}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits", "synthetic"], choices=["digits", "synthetic"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    told = parser.parse_args(argv)
    warnings.filterwarnings("ignore", module="sklearn.neural_network")  # so many steps, whatever the loss is then
    measured = {name: {"folds": told.folds, **measure(*data(name), members(), told.folds)} for name in told.data}
    results = {**before(told.out), **measured}
    parts = []
    for name, one in sorted(results.items()):
        rows = [(who, s["accuracy"], s["log_loss"]) for who, s in one["scores"].items()]
        parts.append(f"## {name}, {one['folds']} outer folds\n\n" + found.table(("", "accuracy", "log loss"), rows))
    bars = asked_for(results)
    text = "Five inner folds; rows of all outer folds together.\n\n" + "\n\n".join(parts)
    page = f"{text}\n\n## What was to be shown\n\n{found.bars(bars)}"
    found.written("selection", "Seven models combined", page, {"results": results, "bars": bars}, told.out)
    return found.kept(bars)


if __name__ == "__main__":
    found.one_thread()
    sys.exit(main())
