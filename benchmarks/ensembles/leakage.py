"""What a stack loses that is fitted on rows its members were trained on, and what it seems to know of pure noise.

    python benchmarks/ensembles/leakage.py [--seeds 10] [--out benchmarks/results]

A forest and a nearest neighbour know the labels of their training rows by heart, wrong ones too. Where a label in five
is wrong, a meta-learner that sees this trusts them blindly. Test rows have right labels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import found
import numpy as np
from found import RESULTS, Array, Makers, accuracy, asked, out_of_fold

from cuvee.errors import InputError
from cuvee.predict import Stack
from cuvee.predict.combiners import Batch

NOISE = 0.2
ROWS, TEST = 600, 2000


def members(seed: int) -> Makers:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    return {
        "random forest": lambda: RandomForestClassifier(100, random_state=seed),
        "nearest neighbour": lambda: KNeighborsClassifier(1),
        "logistic regression": lambda: LogisticRegression(max_iter=1000),
    }


def drawn(seed: int, rows: int, noise: float) -> tuple[Array, Array, Array, Array]:
    """Training rows, of whose labels some are turned round, and test rows."""
    from sklearn.datasets import make_classification

    x, y = make_classification(rows + TEST, 20, n_informative=6, n_redundant=2, flip_y=0.0, random_state=seed)
    draw = np.random.default_rng(seed)
    wrong = draw.random(rows) < noise
    return x[:rows], np.where(wrong, 1 - y[:rows], y[:rows]), x[rows:], y[rows:]


def measure(seed: int, rows: int, noise: float) -> dict[str, float]:
    """Both stacks on one draw."""
    x, y, new_x, new_y = drawn(seed, rows, noise)
    makers = members(seed)
    models = {name: make().fit(x, y) for name, make in makers.items()}
    new = asked(models, new_x, new_y, 2)
    banks = {"out of fold": out_of_fold(makers, x, y, 2, folds=5, seed=seed)}
    banks["in sample"] = asked(models, x, y, 2, "in-sample")
    told: dict[str, float] = {"refused": float(refused(banks["in sample"]))}
    for name, bank in banks.items():
        stack = Stack(allow_in_sample=True).fit(bank)
        told[f"{name}, train"] = accuracy(stack.apply(Batch(bank.P, bank.mask)), y)
        told[f"{name}, test"] = accuracy(stack.apply(Batch(new.P, new.mask)), new_y)
        told[f"{name}, own estimate"] = stack.about["nested_accuracy"]
    told["best single, test"] = max(accuracy(p, new_y) for p in new.P)
    return told


def refused(bank: Any) -> bool:
    """Whether a stack says no to such a bank unless it is told to take it."""
    try:
        Stack().fit(bank)
    except InputError as error:
        return error.code == "in-sample"
    return False


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    told = parser.parse_args(argv)
    parts, results = [], {}
    for title, noise in ((f"{NOISE:.0%} of the labels are wrong", NOISE), ("labels are pure noise", 0.5)):
        each = [measure(seed, told.rows, noise) for seed in range(told.seeds)]
        results[title] = each
        means = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
        spread = {key: float(np.std([one[key] for one in each])) for key in each[0]}
        rows = [(key, value, spread[key]) for key, value in means.items() if key != "refused"]
        parts.append(f"## {title}\n\n" + found.table(("accuracy of the stack", "mean", "deviation"), rows))
    noisy, pure = results.values()
    gap = 100 * float(np.mean([one["out of fold, test"] - one["in sample, test"] for one in noisy]))
    bars = {
        "out of fold − in sample, test, points": (gap, "≥", 5.0),
        "pure noise: out of fold, train": (float(np.mean([one["out of fold, train"] for one in pure])), "<", 0.62),
        "in-sample banks refused": (float(np.mean([one["refused"] for one in (*noisy, *pure)])), "=", 1.0),
    }
    text = f"{told.seeds} draws of {told.rows} training and {TEST:,} test rows; members: {', '.join(members(0))}."
    page = f"{text}\n\n" + "\n\n".join(parts) + f"\n\n## What was to be shown\n\n{found.bars(bars)}"
    found.written(
        "leakage", "Stacks on rows that their members know", page, {"results": results, "bars": bars}, told.out
    )
    return found.kept(bars)


if __name__ == "__main__":
    found.one_thread()
    sys.exit(main())
