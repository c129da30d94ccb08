"""`cuvee eval` of a saved ensemble: its scores are those of its own predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cuvee import api
from cuvee.errors import InputError
from tests.support.command_line import call
from tests.support.ensemble_files import trees, write_csv

CONFIG = """\
label: kind
members:
  - {name: words, kind: sklearn, estimator: tfidf-logistic, reads: note}
  - {name: letters, kind: sklearn, estimator: tfidf-logistic, reads: note, settings: {analyzer: char}}
cv: 2
combiner: soft
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("judged")
    rows = trees(120, seed=3)
    for number, row in enumerate(rows):  # a note is sometimes of another tree
        row["note"] = f"{rows[(number + number % 7 % 2) % len(rows)]['note']} {number % 5}"
    write_csv(home / "t.csv", rows)
    (home / "e.yml").write_text(CONFIG, "utf-8")
    api.fit_ensemble(home / "e.yml", home / "t.csv", home / "ens")
    (home / "trees.yml").write_text("kind: classification\ndata: t.csv\ncolumns: {text: note, label: kind}\n", "utf-8")
    return home


@pytest.fixture(autouse=True)
def there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_CACHE", str(home / "cache"))
    monkeypatch.chdir(home)


def test_its_score_is_that_of_its_predictions(capsys: pytest.CaptureFixture[str]) -> None:
    said = [row["prediction"] for row in api.predict_ensemble("ens", "t.csv").as_rows()]
    right = np.mean([one == row["kind"] for one, row in zip(said, trees(120, seed=3))])
    assert 0.5 < right < 1
    for _ in range(2):  # asked, and then known
        made = api.evaluate(["ens"], "trees.yml")
        assert made.score("ens", "trees", "accuracy").value == pytest.approx(right)
    assert made.judged[0].cached
    ran = call(capsys, "eval", "ens", "--tasks", "trees.yml", "--json")
    assert ran.code == 0
    assert json.dumps(ran.json).count("accuracy") > 0


def test_it_is_compared_without_parameters_that_nobody_counted() -> None:
    made = api.compare({"ens": "ens"}, tasks=["trees.yml"])
    assert made["ens"].cost.parameters is None


def test_what_it_cannot_answer_is_refused(home: Path, tmp_path: Path) -> None:
    (home / "other.yml").write_text("kind: regression\ndata: t.csv\ncolumns: {text: note, label: height}\n", "utf-8")
    with pytest.raises(InputError, match="an ensemble for classification") as caught:
        api.evaluate(["ens"], "other.yml").check()
    assert caught.value.code == "wrong-model"
    (home / "wrong.yml").write_text("kind: classification\ndata: t.csv\ncolumns: {text: note, label: tree}\n", "utf-8")
    with pytest.raises(InputError, match=r"a class of ens \(oak, pine, yew\); found 't0'"):
        api.evaluate(["ens"], "wrong.yml").check()
