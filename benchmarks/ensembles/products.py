"""A product of experts and one member that is sure of what is wrong: why members are calibrated first.

Four models of 700 digits: logistic regression, a forest, neighbours, and a naive Bayes that gives one class nearly all,
right or wrong. Temperatures and prior are fitted on 500 other rows; figures are of the 597 that are left.

    python benchmarks/ensembles/products.py [--seeds 5]

Bars, of the means over the draws: the bare product is behind the soft vote in accuracy, and with a temperature for each
member it is ahead, with at most 0.75 of the soft vote's log-loss.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from cuvee.combine import Array
from cuvee.judging.answers import Answers
from cuvee.judging.metrics import score_of
from cuvee.predict import Bank, Ensemble, Hard, Median, Member, Product, Soft, Weighted
from cuvee.predict.combiners import Batch, Combiner

COMBINERS: Final[Mapping[str, Combiner]] = {
    "soft vote": Soft(),
    "hard vote": Hard(),
    "weighted by log-loss": Weighted(),
    "median": Median(),
    "geometric mean": Product(),
    "geometric mean, T each": Product(calibrate=True),
    "full product, prior out": Product(exponent=1.0, prior=True),
    "full product, prior out, T each": Product(exponent=1.0, prior=True, calibrate=True),
}
BARE, CALIBRATED, SOFT = "geometric mean", "geometric mean, T each", "soft vote"
LOSS: Final = 0.75
Figures = dict[str, tuple[float, float]]
"""Combiner → accuracy and log-loss."""


def measured(seed: int) -> Figures:
    """One draw of the three parts."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order, x = np.random.default_rng(seed).permutation(len(y)), x / 16
    train, known, new = np.split(order, [700, 1200])
    ensemble = trained(x[train], y[train], seed)
    fitted_on, bank = (ensemble.predictions(x[rows], y[rows], ids=rows.tolist()) for rows in (known, new))
    found = {name: worth_of(bank, said) for name, said in zip(bank.members, bank.P)}
    for name, combiner in COMBINERS.items():
        found[name] = worth_of(bank, combiner.fit(fitted_on).apply(Batch(bank.P, bank.mask)))
    return found


def trained(x: Array, y: Array, seed: int) -> Ensemble:
    """The four members."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier

    models: Mapping[str, Any] = {
        "logistic regression": LogisticRegression(max_iter=2000),
        "forest": RandomForestClassifier(100, random_state=seed),
        "neighbours": KNeighborsClassifier(),
        "naive Bayes": GaussianNB(),
    }
    ensemble = Ensemble(classes=list(range(10)))
    for name, model in models.items():
        ensemble.add(Member.sklearn(model.fit(x, y), name=name))
    return ensemble


def worth_of(bank: Bank, said: Array) -> tuple[float, float]:
    answers = Answers("classification", {"truth": np.asarray(bank.truth), "probabilities": said}, bank.ids)
    return score_of(answers, "accuracy").value, score_of(answers, "log_loss").value


def means(found: Sequence[Figures]) -> Figures:
    """Over the draws."""
    each = {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}
    return {name: (float(right), float(loss)) for name, (right, loss) in each.items()}


def keeps(mean: Figures) -> bool:
    """Whether the bars are kept."""
    behind, ahead = mean[BARE][0] < mean[SOFT][0], mean[CALIBRATED][0] > mean[SOFT][0]
    return behind and ahead and mean[CALIBRATED][1] <= LOSS * mean[SOFT][1]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many draws")
    told = parser.parse_args(argv)
    mean = means([measured(seed) for seed in range(told.seeds)])
    print(f"{'':34}accuracy  log-loss")
    for name, (right, loss) in mean.items():
        print(f"{name:34}{right:8.4f}{loss:10.3f}")
    print(f"bars: {'kept' if keeps(mean) else 'MISSED'}")
    return 0 if keeps(mean) else 1


if __name__ == "__main__":
    sys.exit(main())
