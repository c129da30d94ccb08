"""From rows to an answer: members cross-fitted, kept on disk, joined by one that came later, combined."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from cuvee.judging.answers import Answers
from cuvee.judging.metrics import score_of
from cuvee.predict import append_members, cross_fit, read_bank, save_bank
from cuvee.predict.bank import class_names
from cuvee.predict.combiners import Batch
from tests.support.banks import fresh
from tests.support.tiny_combiner import Shares

ROOT = Path(__file__).parents[2]


def test_a_member_that_comes_later_joins_a_bank_on_disk(tmp_path: Path) -> None:
    X, numbers = load_iris(return_X_y=True)
    y = np.array(["setosa", "versicolor", "virginica"])[numbers]
    ids = [f"flower {n}" for n in range(len(y))]
    save_bank(tmp_path / "bank", cross_fit([fresh("nb", GaussianNB())], X, y, ids=ids).bank)

    turned = np.arange(len(y))[::-1]  # the later run has the rows in another order, and other members
    later = [fresh("near", KNeighborsClassifier()), fresh("linear", LogisticRegression(max_iter=500))]
    more = cross_fit(later, X[turned], y[turned], ids=[ids[n] for n in turned], seed=1).bank
    append_members(tmp_path / "bank", more)

    bank = read_bank(tmp_path / "bank")
    assert bank.members == ("nb", "near", "linear")
    assert [bank.classes[t] for t in bank._known_truth()] == y.tolist()
    pooled = Shares().fit(bank).apply(Batch(bank.P, bank.mask))
    answers = Answers(
        "classification", {"truth": bank._known_truth(), "probabilities": pooled}, bank.ids, class_names(bank.classes)
    )
    assert score_of(answers, "accuracy").value > 0.93
    assert all(score_of(bank.answers(name), "accuracy").value > 0.93 for name in bank.members)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "small"),
    [
        ("overhead", ["--rounds", "2", "--rows", "200"]),
        ("side_by_side", ["--data", "digits", "--folds", "2"]),
    ],
)
def test_the_timed_benchmarks_come_to_an_end(tmp_path: Path, name: str, small: list[str]) -> None:
    if "side_by_side" in str(name):
        pytest.importorskip("mlxtend", reason="the other tool of the benchmark, installed by hand")
    script = ROOT / "benchmarks" / "ensembles" / f"{name}.py"
    done = subprocess.run([sys.executable, script, *small, "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr  # so few rows are no measure of the bar
    assert {path.suffix for path in tmp_path.iterdir()} == {".md", ".json"}
