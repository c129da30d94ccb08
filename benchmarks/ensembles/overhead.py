"""What an ensemble takes over its members' own time: eight members, ten thousand rows.

    python benchmarks/ensembles/overhead.py [--rounds 21] [--rows 10000] [--out benchmarks/results]

In each round the members' own `predict_proba` are called one after the other, then `Ensemble.predict_proba`, which
calls the same, checks what they say and combines it; the members are then timed once more. What counts is the median
over rounds of ensemble ÷ members, where members is the mean of the two timings around it, so that a machine that grows
slower or faster during a round counts on both sides. The ratio of the two timings of the same members is the noise.

Where members are slow the noise hides what the ensemble adds, so that is looked at by itself too: within one call, the
time that is not spent inside members, as a share of the time that is.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import timed

timed.one_thread()

import numpy as np  # noqa: E402 - after the number of threads is said

from cuvee.predict import Ensemble, Member  # noqa: E402

BAR = 1.05
CLASSES, FEATURES, TRAIN = 10, 20, 2000


def data(rows: int) -> tuple[Any, Any, Any]:
    """Rows to learn from with their labels, and rows to be asked about."""
    from sklearn.datasets import make_classification

    x, y = make_classification(TRAIN + rows, FEATURES, n_informative=12, n_classes=CLASSES, random_state=0)
    return x[:TRAIN], y[:TRAIN], x[TRAIN:]


def mixed() -> list[Any]:
    """Eight families, from the quickest to the slowest."""
    from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    return [
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
        DecisionTreeClassifier(max_depth=12, random_state=0),
        GaussianNB(),
        make_pipeline(StandardScaler(), MLPClassifier((64,), max_iter=60, random_state=0)),
        RandomForestClassifier(100, random_state=0),
        ExtraTreesClassifier(100, random_state=0),
        HistGradientBoostingClassifier(max_iter=50, random_state=0),
        KNeighborsClassifier(),
    ]


def light() -> list[Any]:
    """Eight of the quickest there are: nothing to hide an overhead behind."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return [make_pipeline(StandardScaler(), LogisticRegression(C=10.0**n, max_iter=500)) for n in range(-4, 4)]


class Inside:
    """Counts the seconds that are spent inside members."""

    def __init__(self) -> None:
        self.spent = 0.0

    def timed(self, ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(rows: Any) -> Any:
            took, answers = timed.seconds(lambda: ask(rows))
            self.spent += took
            return answers

        return call


def measure(make: Callable[[], list[Any]], rows: int, rounds: int) -> dict[str, Any]:
    """The ratios of all rounds."""
    import warnings

    x, y, asked = data(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a network that could learn longer is as slow as any
        models = [model.fit(x, y) for model in make()]
    ens = Ensemble(classes=list(range(CLASSES)))
    inside = Inside()
    for number, model in enumerate(models):
        member = Member.sklearn(model, name=f"{number} {type(model).__name__}")
        ens.add(replace(member, ask=inside.timed(member.ask)))
    expected = np.mean([model.predict_proba(asked) for model in models], axis=0)
    np.testing.assert_allclose(ens.predict_proba(asked), expected)  # and all is warm

    def own() -> float:
        return sum(timed.seconds(lambda model=model: model.predict_proba(asked))[0] for model in models)

    ratios, noise, members, whole, added = [], [], [], [], []
    for _ in range(rounds):
        before = own()
        inside.spent = 0.0
        together, _ = timed.seconds(lambda: ens.predict_proba(asked))
        added.append((together - inside.spent) / inside.spent)
        after = own()
        ratios.append(2 * together / (before + after))
        noise.append(after / before)
        members.append((before + after) / 2)
        whole.append(together)
    return {
        "ratio": timed.spread(ratios),
        "noise": timed.spread(noise),
        "added_within": timed.spread(added),
        "members_ms": 1e3 * statistics.median(members),
        "ensemble_ms": 1e3 * statistics.median(whole),
        "rounds": rounds,
        "ratios": ratios,
    }


def row(name: str, found: dict[str, Any]) -> list[str]:
    ratio, noise = found["ratio"], found["noise"]
    return [
        name,
        f"{found['members_ms']:.1f}",
        f"{found['ensemble_ms']:.1f}",
        f"**{ratio['median']:.3f}**",
        f"{ratio['lower_quartile']:.3f} – {ratio['upper_quartile']:.3f}",
        f"{noise['lower_quartile']:.3f} – {noise['upper_quartile']:.3f}",
        f"{found['added_within']['median']:.2%}",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=timed.RESULTS)
    told = parser.parse_args(argv)
    found = {"eight families": measure(mixed, told.rows, told.rounds)}
    found["eight linear models"] = measure(light, told.rows, told.rounds)
    ratio = found["eight families"]["ratio"]["median"]
    head = [
        "members",
        "their own ms",
        "ensemble ms",
        "ratio",
        "quartiles",
        "quartiles of the noise",
        "added within a call",
    ]
    lines = [
        "# What an ensemble takes over its members' own time",
        "",
        f"Soft vote of eight members on {told.rows:,} rows of {FEATURES} numbers, {CLASSES} classes; one thread; "
        f"medians of {told.rounds} interleaved rounds. The ratio is ensemble ÷ members; the noise is the same for "
        "members ÷ the same members. Added within a call is the time not spent in members ÷ the time spent in them.",
        "",
        *timed.table(head, [row(name, one) for name, one in found.items()]),
        "",
        f"Bar: at most {BAR} for eight families; measured {ratio:.3f}, "
        f"{'kept' if ratio <= BAR else '**not kept**'}. The linear models are there to show the checks and the "
        "combination by themselves: nothing is asked of them.",
    ]
    timed.written(
        "overhead", lines, {"rows": told.rows, "bar": BAR, "found": found}, ["scikit-learn", "numpy"], told.out
    )
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
