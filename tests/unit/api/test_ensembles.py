"""`evaluate` and `compare` with the mean of what several models predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cuvee
from cuvee.errors import CuveeError, InputError, UsageError
from cuvee.families import loading
from cuvee.types import PredictionAverage
from tests.support.calibration import make_model
from tests.support.command_line import call
from tests.support.judging import WORDS, write_task

LINEAR = "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]\n"
BOTH = PredictionAverage(("a", "b"))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("models")
    for seed, name in enumerate("ab"):
        make_model(home / name, "bert classifier", seed)
    make_model(home / "other", "bert of five classes", 0)
    (home / "merge.yml").write_text(LINEAR, "utf-8")
    rows = [{"text": text, "label": i % 3} for i, text in enumerate(WORDS)]
    write_task(home, rows, kind="classification", metric="log_loss")
    (home / "documents.jsonl").write_text('{"id": "a", "text": "oak"}\n{"id": "b", "text": "wine"}\n', "utf-8")
    write_task(home, [{"query": "oak", "relevant": ["a"]}], kind="embedding-retrieval", documents="documents.jsonl")
    return home


@pytest.fixture(autouse=True)
def there(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(models)


def answers(made: Any, model: str) -> Any:
    return next(one.answers for one in made.judged if one.model == model).columns["probabilities"]


def test_an_ensemble_is_judged_as_a_model_is() -> None:
    made = cuvee.evaluate({"a": "a", "b": "b", "both": BOTH}, "classification.yml")
    np.testing.assert_allclose(answers(made, "both"), (answers(made, "a") + answers(made, "b")) / 2, atol=1e-6)
    listed = cuvee.evaluate(["a", BOTH], "classification.yml")
    assert listed.models == ("a", "ensemble")
    assert listed.score("ensemble", "classification") == made.score("both", "classification")


def test_a_recipe_may_be_a_member() -> None:
    made = cuvee.evaluate(
        {"a": "a", "merge": "merge.yml", "both": PredictionAverage(("a", "merge.yml"))}, "classification.yml"
    )
    np.testing.assert_allclose(answers(made, "both"), (answers(made, "a") + answers(made, "merge")) / 2, atol=1e-6)


def test_what_it_answered_is_kept_by_its_members(monkeypatch: pytest.MonkeyPatch) -> None:
    first = cuvee.evaluate({"both": BOTH}, "classification.yml")
    seen, load = [], loading.load_folder

    def noted(folder: Path, **how: Any) -> Any:
        seen.append(folder.name)
        return load(folder, **how)

    monkeypatch.setattr(loading, "load_folder", noted)
    again = cuvee.evaluate({"both": BOTH}, "classification.yml")
    assert (again.judged[0].cached, seen) == (True, [])
    assert again.judged[0].scores == first.judged[0].scores
    other = cuvee.evaluate({"one": PredictionAverage(("a",))}, "classification.yml")
    assert (other.judged[0].cached, seen) == (False, ["a"])


def test_members_that_differ_cost_the_ensemble_alone() -> None:
    made = cuvee.evaluate({"a": "a", "both": PredictionAverage(("a", "other"))}, "classification.yml")
    assert [one.model for one in made.judged] == ["a"]
    with pytest.raises(InputError, match="same classes in the same order; a and other differ"):
        made.check()


def test_vectors_cost_one_cell() -> None:
    made = cuvee.evaluate({"both": BOTH}, ["classification.yml", "embedding-retrieval.yml"])
    assert [one.task for one in made.judged] == ["classification"]
    assert [(one.task, one.error.faults[0].code) for one in made.failures] == [("embedding-retrieval", "wrong-model")]


@pytest.mark.parametrize("members", [(), "a", (3,)])
def test_an_ensemble_of_nothing(members: Any) -> None:
    with pytest.raises(UsageError, match="both: an ensemble should be of model folders"):
        cuvee.evaluate({"both": PredictionAverage(members)}, "classification.yml")


def test_members_that_are_not_there() -> None:
    with pytest.raises(InputError, match="gone"):
        cuvee.evaluate({"both": PredictionAverage(("a", "gone"))}, "classification.yml")


def test_compare_adds_the_ensemble_of_the_parents() -> None:
    found = cuvee.compare(["a", "b", "merge.yml"], ["classification.yml"], parents=["a", "b"], ensemble=True, draws=200)
    assert [standing.model for standing in found.standings] == ["a", "b", "merge.yml", "ensemble"]
    score = cuvee.evaluate({"both": BOTH}, "classification.yml").score("both", "classification")
    assert found["ensemble"].cells["classification"].score == score
    assert found["ensemble"].cost.parameters == found["a"].cost.parameters + found["b"].cost.parameters
    assert found["ensemble"].cost.seconds_per_row > 0
    assert found["ensemble"].against is not None


def test_without_known_parents_all_models_are_its_members() -> None:
    found = cuvee.compare(["a", "b"], ["classification.yml"], ensemble=True, draws=200)
    assert [(s.model, s.parent) for s in found.standings] == [("a", True), ("b", True), ("ensemble", False)]


def test_models_by_name() -> None:
    found = cuvee.compare({"one": "a", "both": BOTH}, ["classification.yml"], parents=["one"], draws=200)
    assert [standing.model for standing in found.standings] == ["one", "both"]


def test_the_command(capsys) -> None:
    ran = call(capsys, "compare", "a", "b", "--tasks", "classification.yml", "--ensemble", "--draws", 200, "--json")
    assert ran.code == 0
    assert [m["model"] for m in ran.json["models"]] == ["a", "b", "ensemble"]


@pytest.mark.parametrize(
    ("given", "how", "message"),
    [
        (["a"], {}, "two parents or more; found a"),
        ({"a": "a", "ensemble": "b"}, {}, "called `ensemble` already"),
        ({"a": "a", "both": BOTH}, {"parents": ["a", "both"]}, "should be folders"),
        (["a", "b"], {"parents": ["a", "nobody"]}, "among the models"),
    ],
)
def test_an_ensemble_that_cannot_be_made(given: Any, how: Any, message: str) -> None:
    with pytest.raises(CuveeError, match=message):
        cuvee.compare(given, ["classification.yml"], ensemble=True, **how)


def test_saved_answers_make_no_ensemble() -> None:
    with pytest.raises(UsageError, match="not made of saved answers"):
        cuvee.compare(answers={("a", "t"): None}, ensemble=True)
