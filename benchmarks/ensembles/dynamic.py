"""Dynamic selection where no weighting can help: a hundred stumps on XOR.

    python benchmarks/ensembles/dynamic.py [--seeds 10] [--stumps 100] [--out benchmarks/results]

Two numbers decide: the class is whether they have the same sign. A stump asks about one of them and is right on half
of the plane at most; for every point some stumps are right. Selection knows which from 500 rows held out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import found
import numpy as np
from found import RESULTS, Array, accuracy, asked, bank_of

from cuvee.predict import Bank, Greedy
from cuvee.predict.combiners import COMBINERS, Batch

RULES = ("knora-e", "knora-u", "ola", "des-p")
TRAIN, HELD_OUT, TEST = 500, 500, 2000


def stumps(x: Array, y: Array, count: int, seed: int) -> dict[str, object]:
    """Trees of one question, each trained on a handful of rows."""
    from sklearn.tree import DecisionTreeClassifier

    draw = np.random.default_rng(seed)
    made: dict[str, object] = {}
    while len(made) < count:
        rows = draw.choice(len(y), 20, replace=False)
        if len(np.unique(y[rows])) == 2:
            tree = DecisionTreeClassifier(max_depth=1, max_features=1, random_state=int(draw.integers(2**31)))
            made[f"stump {len(made)}"] = tree.fit(x[rows], y[rows])
    return made


def measure(seed: int, count: int) -> dict[str, float]:
    draw = np.random.default_rng(seed)
    x = draw.uniform(-1, 1, (TRAIN + HELD_OUT + TEST, 2))
    y = ((x[:, 0] > 0) == (x[:, 1] > 0)).astype(int)
    train, held, test = np.split(np.arange(len(y)), [TRAIN, TRAIN + HELD_OUT])
    models = stumps(x[train], y[train], count, seed)
    bank, new = (asked(models, x[rows], y[rows], 2) for rows in (held, test))
    right = new.P.argmax(axis=2) == y[test]
    told = {
        "majority": accuracy(np.eye(2)[new.P.argmax(axis=2)].mean(axis=0), y[test]),
        "best member, on the test rows": float(right.mean(axis=1).max()),
        "greedy selection": _of(Greedy(metric="accuracy").fit(bank), new),
    }
    told |= {rule: _of(COMBINERS.get(rule)().fit(bank), new) for rule in RULES}
    profiles = bank_of(dict(zip(bank.members, bank.P)), y[held], 2, "hold-out")
    told["knora-e by what members say"] = _of(COMBINERS.get("knora-e")().fit(profiles), new)
    return told | {"oracle": float(right.any(axis=0).mean())}


def _of(fitted: object, bank: Bank) -> float:
    return accuracy(fitted.apply(Batch(bank.P, bank.mask, bank.features)), bank.truth)  # type: ignore[attr-defined]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--stumps", type=int, default=100)
    parser.add_argument("--out", type=Path, default=RESULTS)
    told = parser.parse_args(argv)
    each = [measure(seed, told.stumps) for seed in range(told.seeds)]
    rows = [(key, *(float(f([one[key] for one in each])) for f in (np.mean, np.std, np.min))) for key in each[0]]
    means = {row[0]: row[1] for row in rows}
    bars = {"KNORA-E": (means["knora-e"], "≥", 0.93)}
    text = f"{told.seeds} draws, {told.stumps} stumps; {HELD_OUT} rows held out, {TEST:,} test rows; k = 7."
    page = f"{text}\n\n{found.table(('accuracy', 'mean', 'deviation', 'worst'), rows)}\n\n{found.bars(bars)}"
    found.written("dynamic", "Dynamic selection on XOR", page, {"results": each, "bars": bars}, told.out)
    return found.kept(bars)


if __name__ == "__main__":
    found.one_thread()
    sys.exit(main())
