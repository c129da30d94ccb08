"""`evaluate`: every model on every task; what is wrong told before anything runs, and nothing lost by what fails."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import cuvee
from cuvee.api import candidates
from cuvee.errors import InputError, RecipeError, UsageError
from cuvee.families import loading
from cuvee.judging import answering, read_task
from tests.support.calibration import load, make_model, make_tokenizer
from tests.support.command_line import call
from tests.support.judging import WORDS, nats_by_hand, write_task

TEXTS = [{"text": text} for text in WORDS]
LABELLED = [{"text": text, "label": i % 3} for i, text in enumerate(WORDS)]
LINEAR = """merge_method: linear
models:
  - model: a
    parameters: {weight: 1}
  - model: b
    parameters: {weight: 1}
"""
JUDGES = """
def crash(model):
    raise ValueError("out of luck")

def size(model):
    return sum(p.numel() for p in model.parameters())

def spoil(model):
    for parameter in model.parameters():
        parameter.data.zero_()
    return 0.0

def files(folder):
    return len(list(folder.iterdir()))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("models")
    for name, case, seed in (("a", "llama", 0), ("b", "llama", 1), ("c", "bert classifier", 0)):
        make_model(home / name, case, seed)
    (home / "merge.yml").write_text(LINEAR, "utf-8")
    (home / "judges.py").write_text(JUDGES, "utf-8")
    return home


@pytest.fixture(autouse=True)
def home(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUVEE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(models)
    write_task(tmp_path, TEXTS, kind="perplexity")
    write_task(tmp_path, LABELLED, kind="classification", metric=["accuracy", "log_loss"])
    return tmp_path


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were loaded."""
    seen, first = [], loading.load_folder

    def noted(folder: Path, **how: Any) -> Any:
        seen.append(folder.name)
        return first(folder, **how)

    monkeypatch.setattr(loading, "load_folder", noted)
    return seen


def test_every_model_on_every_task(home: Path) -> None:
    made = cuvee.evaluate(["a", "b"], home / "perplexity.yml")
    assert (made.models, made.tasks) == (("a", "b"), ("perplexity",))
    assert [(one.model, one.task) for one in made.judged] == [("a", "perplexity"), ("b", "perplexity")]
    assert made.failures == ()
    made.check()
    model, tokenizer = load(Path("a")), make_tokenizer()
    rows = [tokenizer(text)["input_ids"][:-1] for text in WORDS]
    nats = sum(nats_by_hand(model, ids, 1) for ids in rows)
    score = made.score("a", "perplexity")
    assert score.value == pytest.approx(math.exp(nats / sum(len(ids) - 1 for ids in rows)), rel=1e-5)
    assert (score.n, score.direction) == (6, "lower")
    with pytest.raises(UsageError):
        made.score("a", "perplexity", "recall")


def test_what_is_known_is_not_asked_again(home: Path, loads: list[str]) -> None:
    first = cuvee.evaluate("a", home / "perplexity.yml")
    again = cuvee.evaluate({"renamed": "a"}, home / "perplexity.yml")
    assert loads == ["a"]
    assert [one.cached for one in (*first.judged, *again.judged)] == [False, True]
    assert again.score("renamed", "perplexity").value == first.score("a", "perplexity").value
    cuvee.evaluate("a", home / "perplexity.yml", limit=3)
    cuvee.evaluate("a", home / "perplexity.yml", cache=False)
    cuvee.evaluate("a", home / "perplexity.yml", dtype="bfloat16")
    assert loads == ["a"] * 4


def test_nothing_is_kept_without_the_cache(home: Path) -> None:
    cuvee.evaluate("a", home / "perplexity.yml", cache=False)
    assert not (home / "cache").exists()


def test_other_metrics_of_known_answers_cost_nothing(home: Path, loads: list[str]) -> None:
    cuvee.evaluate("a", home / "perplexity.yml")
    write_task(home, TEXTS, kind="perplexity", metric=["bits_per_byte"])
    scores = cuvee.evaluate("a", home / "perplexity.yml").judged[0].scores
    assert [score.metric for score in scores] == ["bits_per_byte"]
    assert loads == ["a"]


def test_a_failure_costs_one_model_on_one_task(home: Path, loads: list[str]) -> None:
    tasks = ["judges.py:crash", home / "classification.yml", "judges.py:size", home / "perplexity.yml"]
    made = cuvee.evaluate(["a", "c"], tasks)
    failed = [(one.model, one.task, one.error.code) for one in made.failures]
    assert failed == [
        ("a", "crash", "task-crashed"),
        ("a", "classification", "wrong-model"),
        ("c", "crash", "task-crashed"),
        ("c", "perplexity", "wrong-model"),
    ]
    assert [(one.model, one.task) for one in made.judged] == [
        ("a", "size"),
        ("a", "perplexity"),
        ("c", "classification"),
        ("c", "size"),
    ]
    assert loads == ["a", "c"]
    with pytest.raises(InputError) as caught:
        made.check()
    assert len(caught.value.faults) == 4
    with pytest.raises(InputError, match="out of luck"):
        made.score("a", "crash")
    assert made.score("c", "classification", "log_loss").direction == "lower"


def test_a_model_that_cannot_be_loaded_fails_on_each_task_and_is_tried_once(home: Path, loads: list[str]) -> None:
    make_model(home / "broken", "llama")
    (home / "broken" / "config.json").write_text('{"model_type": "nothing of the kind"}', "utf-8")
    made = cuvee.evaluate([home / "broken", "b"], [home / "perplexity.yml", "judges.py:size"])
    assert [one.model for one in made.failures] == [str(home / "broken")] * 2
    assert [one.model for one in made.judged] == ["b", "b"]
    assert loads == ["broken", "b"]


def test_damaged_weights_are_told_as_such(home: Path) -> None:
    make_model(home / "broken", "llama")
    whole = (home / "broken" / "model.safetensors").read_bytes()
    (home / "broken" / "model.safetensors").write_bytes(whole[:-10])
    made = cuvee.evaluate([home / "broken", "a"], home / "perplexity.yml")
    assert [one.error.code for one in made.failures] == ["truncated"]
    assert [one.model for one in made.judged] == ["a"]


def test_what_transformers_trips_over_costs_that_model_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = loading.load_folder

    def trips(folder: Path, **how: Any) -> Any:
        if folder.name == "a":
            raise RuntimeError("size mismatch")
        return first(folder, **how)

    monkeypatch.setattr(loading, "load_folder", trips)
    made = cuvee.evaluate(["a", "b"], home / "perplexity.yml")
    assert [(one.model, one.error.code) for one in made.failures] == [("a", "not-a-checkpoint")]
    assert "size mismatch" in str(made.failures[0].error)
    assert [one.model for one in made.judged] == ["b"]


def test_a_model_that_fails_while_it_is_asked_costs_that_task_only(home: Path) -> None:
    model = cuvee.load("a")
    model.forward = lambda **_: 1 / 0
    made = cuvee.evaluate({"mine": model}, [home / "perplexity.yml", "judges.py:size"], tokenizer=make_tokenizer())
    assert [(one.task, one.error.code) for one in made.failures] == [("perplexity", "task-crashed")]
    assert "ZeroDivisionError" in str(made.failures[0].error)
    assert [one.task for one in made.judged] == ["size"]


def test_tasks_that_were_read_are_not_drawn_from_again(home: Path) -> None:
    read = read_task(home / "perplexity.yml", limit=2)
    assert cuvee.evaluate("a", read).score("a", "perplexity").n == 2
    with pytest.raises(UsageError, match="read_task"):
        cuvee.evaluate("a", [read], limit=1)


def test_a_crash_that_is_no_error_of_ours_keeps_what_was_answered(home: Path, loads: list[str], monkeypatch) -> None:
    first = answering.answers_of

    def interrupted(subject: Any, *given: Any, **how: Any) -> Any:
        if subject.label == "b":
            raise KeyboardInterrupt
        return first(subject, *given, **how)

    with monkeypatch.context() as patched:
        patched.setattr("cuvee.judging.judged.answers_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cuvee.evaluate(["a", "b"], home / "perplexity.yml")
    made = cuvee.evaluate(["a", "b"], home / "perplexity.yml")
    assert [one.cached for one in made.judged] == [True, False]


def test_answers_are_kept_though_their_metric_fails(home: Path, loads: list[str], monkeypatch) -> None:
    from cuvee.judging import scoring
    from cuvee.types.scores import Score

    with monkeypatch.context() as patched:
        patched.setattr(scoring, "score_of", lambda *_: Score("perplexity", math.nan, math.nan, 6, "lower"))
        made = cuvee.evaluate("a", home / "perplexity.yml")
    assert [one.error.code for one in made.failures] == ["no-score"]
    assert cuvee.evaluate("a", home / "perplexity.yml").judged[0].cached
    assert loads == ["a"]


def test_a_recipe_is_judged_as_its_result_would_be(home: Path) -> None:
    cuvee.merge("merge.yml", home / "merged")
    made = cuvee.evaluate(["merge.yml", home / "merged"], home / "perplexity.yml")
    values = [one.scores[0].value for one in made.judged]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    again = cuvee.evaluate({"x": cuvee.load_recipe("merge.yml")}, home / "perplexity.yml")
    assert again.judged[0].cached


def test_a_function_may_get_the_folder(home: Path) -> None:
    (home / "folder.yml").write_text("kind: function\nfunction: judges.py:files\ngets: folder\n", "utf-8")
    (home / "judges.py").write_text(JUDGES, "utf-8")
    made = cuvee.evaluate(["a", "merge.yml"], home / "folder.yml")
    assert made.score("a", "folder").value == len(list(Path("a").iterdir()))
    assert made.failures[0].error.code == "wrong-model"


def test_what_a_function_does_to_a_model_is_not_asked_of_it_and_not_kept(home: Path, loads: list[str]) -> None:
    tasks = ["judges.py:size", "judges.py:spoil", home / "perplexity.yml"]
    found = cuvee.evaluate("a", tasks).score("a", "perplexity").value
    assert loads == ["a", "a"]
    assert found == cuvee.evaluate("a", home / "perplexity.yml", cache=False).score("a", "perplexity").value
    tasks = [home / "perplexity.yml", "judges.py:spoil", write_task(home, TEXTS, kind="perplexity", name="again")]
    made = cuvee.evaluate({"m": load(Path("a"))}, tasks, tokenizer=make_tokenizer())
    assert made.score("m", "perplexity").value == found
    assert made.score("m", "again").value != found  # one in memory cannot be loaded anew: it is judged as it is now


def test_a_model_in_memory(home: Path) -> None:
    model = cuvee.load("a")
    made = cuvee.evaluate({"mine": model}, home / "perplexity.yml", tokenizer=make_tokenizer())
    assert made.score("mine", "perplexity").value == pytest.approx(
        cuvee.evaluate("a", home / "perplexity.yml").score("a", "perplexity").value
    )
    assert cuvee.evaluate([model], home / "perplexity.yml", tokenizer=make_tokenizer()).judged[0].cached
    assert cuvee.evaluate(model, home / "perplexity.yml").failures[0].error.code == "no-tokenizer"


def test_what_is_wrong_with_any_task_is_told_before_a_model_is_loaded(home: Path, loads: list[str]) -> None:
    write_task(home, [{"txt": "a"}], kind="perplexity", name="columns")
    (home / "typo.yml").write_text("kind: perplexity\ndta: x\n", "utf-8")
    with pytest.raises(InputError) as caught:
        cuvee.evaluate("a", [home / "perplexity.yml", home / "columns.yml", home / "typo.yml", home / "gone.yml"])
    assert caught.value.codes == ("bad-data", "unknown-key", "task-missing")
    assert loads == []


@pytest.mark.parametrize(
    ("given", "error", "code"),
    [
        (["a", "./gone"], InputError, "model-missing"),
        (["a", "gone.yml"], RecipeError, "recipe-missing"),
        (["a", "a"], UsageError, "bad-argument"),
        ([], UsageError, "bad-argument"),
        (["a", 3], UsageError, "bad-argument"),
    ],
)
def test_models_that_are_not_there_are_told_before_one_is_loaded(home: Path, loads, given, error, code) -> None:
    with pytest.raises(error) as caught:
        cuvee.evaluate(given, home / "perplexity.yml")
    assert caught.value.codes == (code,)
    assert loads == []


def test_arguments_that_are_wrong_are_told_together(home: Path) -> None:
    with pytest.raises(UsageError) as caught:
        cuvee.evaluate([], [], batch_size=0, limit=-1, seed=0.5, dtype="int8", device="abacus", cache="no", progress=3)
    assert len(caught.value.faults) == 9
    with pytest.raises(UsageError):
        cuvee.evaluate("a", [3])
    with pytest.raises(UsageError, match="names of their own"):
        cuvee.evaluate("a", [home / "perplexity.yml"] * 2)


def test_progress_reaches_its_end(home: Path) -> None:
    said: list[tuple[int, int, str]] = []
    cuvee.evaluate(["a", "b"], home / "perplexity.yml", progress=lambda *news: said.append(news), batch_size=2)
    done = [one[0] for one in said]
    assert done == sorted(done)
    assert {one[1] for one in said} == {12}
    assert done[-1] == 12
    assert said[0][2] == "a: perplexity"
    assert len(said) > 6


def test_names_of_models() -> None:
    assert list(candidates.named(["x", Path("y/z")])) == ["x", "y/z"]
    assert list(candidates.named({"merge_method": "linear", "name": "blend", "models": []})) == ["blend"]
    assert list(candidates.named({"one": "x"})) == ["one"]


def test_the_command_tells_a_table(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    ran = call(capsys, "eval", "a", "b", "--tasks", home / "perplexity.yml", "judges.py:size")
    assert ran.code == 0, ran
    lines = [line.split() for line in ran.out.splitlines() if line.strip()]
    assert lines[0] == ["task", "metric", "model", "value", "n", "time"]
    assert [line[:3] for line in lines[2:]] == [
        ["perplexity", "perplexity", "a"],
        ["perplexity", "perplexity", "b"],
        ["perplexity", "bits_per_byte", "a"],
        ["perplexity", "bits_per_byte", "b"],
        ["size", "mean", "a"],
        ["size", "mean", "b"],
    ]
    assert "↓" in ran.out


def test_the_command_as_json_and_its_exit_code(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--limit", 4, "--batch-size", 2, "--seed", 1, "--no-cache", "--json")
    ran = call(capsys, "eval", "a", "--tasks", home / "perplexity.yml", "judges.py:crash", *options)
    assert ran.code == 4
    found = json.loads(ran.out)
    assert found["command"] == "eval"
    score, other = found["scores"]
    assert other["metric"] == "bits_per_byte"
    assert (score["model"], score["task"], score["metric"], score["n"]) == ("a", "perplexity", "perplexity", 4)
    assert score["direction"] == "lower"
    assert score["cached"] is False
    (failure,) = found["failures"]
    assert (failure["task"], failure["code"]) == ("crash", "task-crashed")


def test_the_command_tells_what_failed_after_what_did_not(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = call(capsys, "eval", "a", "--tasks", home / "perplexity.yml", "--tasks", "judges.py:crash")
    assert ran.code == 4
    assert "failed" in ran.out
    assert "out of luck" in ran.err
    assert call(capsys, "eval", "a", "--tasks", home / "perplexity.yml", "--batch-size", "many").code == 2
