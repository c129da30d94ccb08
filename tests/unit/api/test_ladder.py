"""`ladder`: real classifiers, small, in every form; what rungs say is worked out again from the models themselves."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import cuvee
from cuvee.api import ladder_run
from cuvee.api.ladder_files import ladder_files
from cuvee.api.ladder_measure import Measure, Parts
from cuvee.errors import InputError, OutputExists, RecipeError, UsageError
from cuvee.judging.answers import Answers
from cuvee.judging.ladder import RUNGS, Ladder, words
from cuvee.judging.metrics import metric_named
from tests.support.command_line import call
from tests.support.experts import load, logits, rows
from tests.support.text_experts import write_text_experts

COUNT = 60


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text_experts(tmp_path_factory.mktemp("ladder"), COUNT)


@pytest.fixture(autouse=True)
def there(home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_CACHE", str(home / "cache"))
    monkeypatch.chdir(home)


@pytest.fixture(scope="module")
def found(home: Path) -> Ladder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUVEE_CACHE", str(home / "cache"))
        patch.chdir(home)
        return cuvee.ladder("arithmetic.yml", ["a.yml", "b.yml"], draws=200, time_rows=4)


def probabilities(home: Path, name: str, task: str) -> np.ndarray[Any, Any]:
    return torch.softmax(logits(load(home / name), [ids for ids, _ in rows(task, COUNT, 5)]).double(), -1).numpy()


def judged_rows(task: str, ids: list[str]) -> list[int]:
    """The rows of a task that rungs are judged on, by the division itself."""
    whole = {task: Answers("regression", {"truth": np.zeros(COUNT), "predicted": np.zeros(COUNT)}, tuple(ids))}
    judged = Parts.of(whole, 0.5, 0).judged[task]
    return [number for number, one in enumerate(ids) if one in judged]


def ids_of(home: Path, task: str) -> list[str]:
    made = cuvee.evaluate(["a"], f"{task}.yml").judged[0].answers
    assert made is not None
    return list(made.ids)


def test_every_rung_is_made(found: Ladder) -> None:
    assert tuple(one.name for one in found.rungs) == RUNGS
    assert all(one.is_made for one in found.rungs), [one.why_not for one in found.rungs]
    assert (found.unit, found.direction) == ("accuracy", "higher")
    assert (dict(found.judged), dict(found.chosen)) == ({"a": 30, "b": 30}, {"a": 30, "b": 30})
    for rung in found.rungs:
        assert {score.n for score in rung.scores.values()} == {30}
        assert rung.mean == pytest.approx(np.mean([score.value for score in rung.scores.values()]))
        spread = math.sqrt(sum(score.stderr**2 for score in rung.scores.values())) / 2
        assert rung.stderr == pytest.approx(spread)
        assert rung.price.seconds_per_row > 0


def test_the_ensemble_is_the_mean_of_what_the_models_say(home: Path, found: Ladder) -> None:
    for task in "ab":
        mean = (probabilities(home, "a", task) + probabilities(home, "b", task)) / 2
        truth = np.array([label for _, label in rows(task, COUNT, 5)])
        at = judged_rows(task, ids_of(home, task))
        hits = (mean.argmax(-1) == truth)[at]
        assert found["ensemble"].scores[task].value == pytest.approx(hits.mean())


def test_the_best_single_was_chosen_on_other_rows(home: Path, found: Ladder) -> None:
    worth = {}
    for name in "ab":
        shares = []
        for task in "ab":
            hits = probabilities(home, name, task).argmax(-1) == [label for _, label in rows(task, COUNT, 5)]
            at = judged_rows(task, ids_of(home, task))
            shares.append(hits[[i for i in range(COUNT) if i not in at]].mean())
        worth[name] = np.mean(shares)
    assert found["best single"].what == f"{max(worth, key=worth.__getitem__)}, the best of 2"
    assert found["best single"].against is None


def test_masks_give_every_task_its_own_model(found: Ladder) -> None:
    masked, merged = found["merge + masks"], found["merge"]
    assert "(a: a, b: b)" in " ".join(found.notes)
    assert masked.mean >= merged.mean
    assert masked.price.active == merged.price.parameters
    assert masked.price.parameters == 2 * merged.price.parameters
    assert masked.price.mask_bits >= 2 * merged.price.parameters  # one bit for each of two models, in whole bytes


def test_prices(found: Ladder) -> None:
    one = found["best single"].price.parameters
    assert one == found["merge"].price.parameters == found["soup"].price.parameters
    assert found["ensemble"].price.parameters == 2 * one
    cascade = found["cascade"]
    share = float(cascade.what.rpartition(": ")[2].partition("%")[0]) / 100
    assert cascade.price.active == pytest.approx(one + share * 2 * one, rel=0.01)
    times = found["best single"].price.seconds_per_row, found["ensemble"].price.seconds_per_row
    assert cascade.price.seconds_per_row == pytest.approx(times[0] + share * times[1], rel=0.02)


@pytest.mark.slow
def test_the_same_again_is_the_same_but_for_times(found: Ladder) -> None:
    again = cuvee.ladder("arithmetic.yml", ["a.yml", "b.yml"], draws=200, timed=False)
    assert [one.scores for one in again.rungs] == [one.scores for one in found.rungs]
    assert [one.what for one in again.rungs] == [one.what for one in found.rungs]
    assert {one.price.seconds_per_row for one in again.rungs} == {None}
    other = cuvee.ladder("arithmetic.yml", ["a.yml", "b.yml"], draws=200, timed=False, seed=3, soup="uniform")
    assert [one.scores for one in other.rungs] != [one.scores for one in found.rungs]
    assert other["soup"].what == "uniform: a, b"


def test_rungs_that_cannot_be_made_say_why(home: Path) -> None:
    (home / "counts.py").write_text(
        "def label(model, rows):\n    return [float(len(row['text']) % 2) for row in rows]\n", "utf-8"
    )
    text = "kind: function\nfunction: counts.py:label\ndata: a.jsonl\nname: own\n"
    (home / "own.yml").write_text(text, "utf-8")
    made = cuvee.ladder("linear.yml", "own.yml", draws=200, timed=False)
    assert not made["cascade"].is_made
    assert "own: a cascade needs the probabilities" in made["cascade"].why_not
    assert not made["merge + masks"].is_made
    assert "the recipe names none" in made["merge + masks"].why_not
    assert "--base" in made["merge + masks"].why_not
    assert cuvee.ladder("linear.yml", "a.yml", base="base", draws=200, timed=False)["merge + masks"].is_made


def test_tall_masks_need_deltas() -> None:
    made = cuvee.ladder("linear.yml", "a.yml", base="base", masks="tall", draws=200, timed=False)
    assert "merges weights as they are" in made["merge + masks"].why_not
    good = cuvee.ladder("arithmetic.yml", "a.yml", masks="tall", draws=200, timed=False)
    assert good["merge + masks"].what.startswith("TALL pack over base")


def test_metrics_that_differ_are_told_as_shares(home: Path) -> None:
    (home / "loss.yml").write_text("kind: classification\ndata: b.jsonl\nmetric: log_loss\nname: loss\n", "utf-8")
    made = cuvee.ladder("arithmetic.yml", ["a.yml", "loss.yml"], draws=200, timed=False)
    assert made.unit == "share of the best single model's scores"
    single, ensemble = made["best single"], made["ensemble"]
    assert single.mean == 1
    a = ensemble.scores["a"].value / single.scores["a"].value
    b = single.scores["loss"].value / ensemble.scores["loss"].value
    assert ensemble.mean == pytest.approx((a + b) / 2)


def test_a_share_of_nothing_has_no_value() -> None:
    measure = Measure({"t": metric_named("accuracy", "classification")}, {"t": 0.0})
    answers = Answers("classification", {"truth": np.array([0]), "probabilities": np.array([[1.0, 0.0]])}, ("r",))
    with pytest.raises(InputError, match="cannot be told as shares of 0"):
        measure({"t": answers})


def test_too_few_rows_for_all_tasks_at_once(home: Path) -> None:
    for task in "ab":
        lines = (home / f"{task}.jsonl").read_text("utf-8").splitlines()[:3]
        (home / f"few-{task}.jsonl").write_text("\n".join(lines), "utf-8")
        (home / f"few-{task}.yml").write_text(f"kind: classification\ndata: few-{task}.jsonl\n", "utf-8")
    with pytest.raises(InputError) as caught:
        cuvee.ladder("arithmetic.yml", ["few-a.yml", "few-b.yml"])
    assert caught.value.codes == ("too-few-rows", "too-few-rows")
    assert "few-b should have 4 rows or more; it has 3" in str(caught.value)


def test_arguments_that_are_wrong_are_told_at_once() -> None:
    wrong = {"soup": "tomato", "masks": "none", "holdout": 1, "loss": -1, "time_rows": 0, "asking": {"modle": 1}}
    with pytest.raises(UsageError) as caught:
        cuvee.ladder("arithmetic.yml", [], **wrong)
    told = str(caught.value)
    for name in ("tasks", "soup", "masks", "holdout", "loss", "time_rows", "modle"):
        assert name in told
    assert len(caught.value.faults) == 7


def test_one_model_is_no_ladder(home: Path) -> None:
    (home / "one.yml").write_text("merge_method: task_arithmetic\nbase_model: base\nmodels: [{model: a}]\n", "utf-8")
    with pytest.raises(RecipeError, match="two models or more; the recipe merges 1"):
        cuvee.ladder({"merge_method": "linear", "models": [{"model": "a", "parameters": {"weight": 1}}]}, "a.yml")


def test_what_follows_is_told_in_words(found: Ladder) -> None:
    told = words(found)
    assert len(told) == 3
    assert told[0].startswith("averaging cost")
    assert "50% of the parameters" in told[0]
    assert told[1].startswith("ensembling ")
    assert told[2].startswith("the cascade ")


def test_the_command(
    found: Ladder, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, chart = tmp_path / "l.html", tmp_path / "l.svg"
    asked = ["ladder", "arithmetic.yml", "--tasks", "a.yml", "b.yml", "--draws", 200]
    ran = call(capsys, *asked, "--no-times", "-o", page, "--chart", chart, "--json")
    assert ran.code == 0, ran.err
    assert [one["name"] for one in ran.json["rungs"]] == list(RUNGS)
    assert [one["mean"] for one in ran.json["rungs"]] == [one.mean for one in found.rungs]
    assert {one["seconds_per_row"] for one in ran.json["rungs"]} == {None}
    assert ran.json["rungs"][0]["against_best_single"] is None
    assert ran.json["files"] == [str(page), str(chart)]
    assert "merge + masks" in chart.read_text("utf-8")
    text = page.read_text("utf-8")
    assert "Score against cost" in text
    assert "averaging cost" in text
    again = call(capsys, *asked, "-o", page)
    assert again.code == 7
    monkeypatch.setattr("cuvee.api.ladder", lambda *_, **__: found)
    plain = call(capsys, *asked)
    assert plain.code == 0
    assert "best single" in plain.out
    assert "task" in plain.out
    assert "all rungs are judged on the same 60 rows" in plain.err


@pytest.mark.parametrize(
    ("worth", "kept"),
    [
        ({"a": 0.5, "b": 0.5, "c": 0.1, "ab": 0.5, "abc": 0.4}, "ab"),  # of equally good soups the larger
        ({"a": 0.5, "b": 0.5, "c": 0.1, "ab": 0.4, "ac": 0.3}, "a"),  # of equally good models the first
        ({"a": 0.1, "b": 0.5, "c": 0.4, "bc": 0.4, "ab": 0.6}, "ab"),
    ],
)
def test_a_greedy_soup_by_hand(worth: dict[str, float], kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder_run, "_soup_of", lambda _, names: "".join(names))
    run = SimpleNamespace(names=("a", "b", "c"), answers={name: name for name in "abc"})
    run.ask, run.worth = (lambda _, model: model), worth.__getitem__
    assert "".join(ladder_run._greedy(run)) == kept


def test_files_are_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"written as \.svg or \.png; found 'x.pdf'"):
        ladder_files(chart=tmp_path / "x.pdf")
    (tmp_path / "x.html").write_text("")
    with pytest.raises(OutputExists):
        ladder_files(tmp_path / "x.html")
    assert ladder_files(tmp_path / "x.html", overwrite=True).given == (tmp_path / "x.html",)
