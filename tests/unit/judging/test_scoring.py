"""Scores of answers and of functions; what is no number, and what fails, is told by the task's name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cuvee.errors import InputError, UsageError
from cuvee.judging import read_task, scorer
from cuvee.judging.answers import Answers
from cuvee.judging.asking import likelihood
from cuvee.judging.scoring import scores_of
from cuvee.judging.tasks.model import FunctionOptions, Task
from tests.support.judging import WORDS, subject, task, write_task

FUNCTIONS = """
import math
import torch

def number(model):
    return sum(p.numel() for p in model.parameters())

def rows(model):
    return [1.0, 0.0, 1.0, 1.0]

def tensor(model):
    return torch.tensor([1.0, 3.0])

def lengths(model, rows):
    return [len(row["text"]) for row in rows]

def one_short(model, rows):
    return [1.0] * (len(rows) - 1)

def crash(model):
    return {}["nothing"]

def leave(model):
    raise SystemExit(0)

def not_a_number(model):
    return [1.0, math.nan]

def word(model):
    return "good"

def nothing(model):
    return None

def weights(folder):
    return folder.stat().st_size
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "judges.py").write_text(FUNCTIONS, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model() -> nn.Module:
    return nn.Linear(3, 2)


def own(name: str, **settings: Any) -> Task:
    return Task(name, "function", FunctionOptions(f"judges.py:{name}", **settings))


def test_a_number_of_a_function_is_a_score_without_an_error(functions: Path, model: nn.Module) -> None:
    asked = scorer(read_task("judges.py:number"))
    score = asked.score(model)
    assert (score.value, score.n, score.direction, asked.count, asked.name) == (8.0, 1, "higher", 1, "number")
    assert math.isnan(score.stderr)


def test_rows_of_a_function_are_a_mean_with_its_error(functions: Path, model: nn.Module) -> None:
    score = scorer(own("rows", direction="lower")).score(model)
    assert score.value == 0.75
    assert score.stderr == pytest.approx(0.25)  # √(3/4 · 1/4 · 4/3) / √4
    assert score.rows == (1.0, 0.0, 1.0, 1.0)
    assert score.gain == -0.75
    assert scorer(own("tensor")).score(model).value == 2.0


def test_a_function_with_data_is_given_the_rows(functions: Path, model: nn.Module) -> None:
    rows = [{"text": text, "part": "ab"[i % 2]} for i, text in enumerate(WORDS)]
    about = task(functions, rows, kind="function", function="judges.py:lengths", group="part")
    asked = scorer(about)
    assert asked.count == len(WORDS)
    assert asked.score(model).rows == tuple(map(float, map(len, WORDS)))
    found = asked.answers(model, [3, 0])
    assert found.columns["value"].tolist() == [len(WORDS[3]), len(WORDS[0])]
    assert found.ids == ("4", "1")
    assert found.groups == {"part": ("b", "a")}


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("crash", "task-crashed", "KeyError: 'nothing'"),
        ("leave", "task-crashed", "SystemExit"),
        ("not_a_number", "no-score", "NaN"),
        ("word", "task-crashed", "'good'"),
        ("nothing", "task-crashed", "None"),
    ],
)
def test_functions_that_fail_are_told_by_name(
    functions: Path, model: nn.Module, name: str, code: str, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        scorer(own(name)).score(model)
    assert caught.value.codes == (code,)
    assert f"`{name}`" in str(caught.value)
    assert said in str(caught.value)
    if name == "crash":
        assert "judges.py:21" in str(caught.value)
        assert isinstance(caught.value.__cause__, KeyError)


def test_functions_that_are_not_there(functions: Path, model: nn.Module) -> None:
    for function in ("judges.py:gone", "no_such_module:number", "gone.py:number"):
        with pytest.raises(UsageError):
            scorer(Task("t", "function", FunctionOptions(function))).score(model)


def test_one_outcome_for_each_row(functions: Path, model: nn.Module) -> None:
    about = task(functions, [{"text": "a"}] * 3, kind="function", function="judges.py:one_short")
    with pytest.raises(InputError) as caught:
        scorer(about).score(model)
    assert "should give 3 numbers" in str(caught.value)


def test_a_folder_is_not_there_for_a_model_in_memory(functions: Path, model: nn.Module) -> None:
    with pytest.raises(InputError) as caught:
        scorer(own("weights", gets="folder")).score(model)
    assert caught.value.codes == ("wrong-model",)


def test_a_function_is_called_with_the_model_at_rest(functions: Path, model: nn.Module) -> None:
    (functions / "rest.py").write_text(
        "import torch\ndef look(model):\n    return [model.training, torch.is_grad_enabled()]\n", "utf-8"
    )
    model.train()
    assert scorer(read_task("rest.py:look")).answers(model).columns["value"].tolist() == [0.0, 0.0]
    assert model.training


def test_a_scorer_makes_rows_ready_once_for_all_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (subject(tmp_path / str(seed), "llama", seed) for seed in (0, 1))
    asked = scorer(task(tmp_path, [{"text": text} for text in WORDS], kind="perplexity"), tokenizer=a.tokenizer)
    first, calls = likelihood.prepare, []
    monkeypatch.setattr(likelihood, "prepare", lambda *given: (calls.append(1), first(*given))[1])
    whole, other, some = asked.score(a.model), asked.score(b.model), asked.score(a.model, [0, 2])
    assert len(calls) == 1
    assert whole.value != other.value
    assert (whole.n, some.n) == (6, 2)
    assert asked.score(a.model).value == whole.value


def test_a_scorer_may_use_another_metric(tmp_path: Path) -> None:
    asked = subject(tmp_path / "model", "llama")
    about = task(tmp_path, [{"text": text} for text in WORDS], kind="perplexity")
    by_bytes = scorer(about, tokenizer=asked.tokenizer, metric="bits_per_byte").score(asked.model)
    nats = scorer(about, tokenizer=asked.tokenizer).answers(asked.model).columns
    assert by_bytes.value == pytest.approx(nats["nats"].sum() / math.log(2) / nats["bytes"].sum())


def test_a_model_whose_outputs_are_no_numbers(tmp_path: Path) -> None:
    asked = subject(tmp_path / "model", "llama")
    with torch.no_grad():
        asked.model.lm_head.weight.fill_(math.nan)
    about = task(tmp_path, [{"text": text} for text in WORDS], kind="perplexity")
    with pytest.raises(InputError) as caught:
        scorer(about, tokenizer=asked.tokenizer).score(asked.model)
    assert caught.value.code in ("no-score", "bad-answers")


def test_metrics_that_are_no_numbers_are_all_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cuvee.judging import scoring
    from cuvee.types.scores import Score

    monkeypatch.setattr(scoring, "score_of", lambda _, name: Score(name, math.nan, math.nan, 2, "higher"))
    rows = [{"text": text, "label": i % 2} for i, text in enumerate(WORDS)]
    about = task(tmp_path, rows, kind="classification", metric=["accuracy", "log_loss"])
    columns = {"truth": np.array([0]), "probabilities": np.array([[1.0, 0.0]])}
    with pytest.raises(InputError) as caught:
        scores_of(Answers("classification", columns, ("1",), ("a", "b")), about, "merged")
    assert caught.value.codes == ("no-score", "no-score")
    assert "accuracy of merged" in str(caught.value)


def test_the_share_that_parses_stands_beside_the_answers(tmp_path: Path) -> None:
    columns = {"correct": np.array([1.0, 0.0]), "parsed": np.array([1.0, 1.0])}
    about = task(tmp_path, [{"prompt": "a", "answer": "b"}], kind="exact-match", parse="x")
    scores = scores_of(Answers("match", columns, ("1", "2")), about)
    assert [(score.metric, score.value) for score in scores][-1] == ("parsed", 1.0)
    assert scores[0].value == 0.5
    without = scores_of(Answers("match", {"correct": columns["correct"]}, ("1", "2")), about)
    assert len(without) == 1


def test_a_mean_of_one_row_has_no_error() -> None:
    about = Task("own", "function", FunctionOptions("mine:own", direction="lower"), rows=())
    (found,) = scores_of(Answers("outcome", {"value": np.array([2.0])}, ("1",)), about)
    assert math.isnan(found.stderr)
    assert (found.metric, found.value, found.direction) == ("mean", 2.0, "lower")


def test_tasks_of_lm_eval_are_no_scorers(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        scorer(read_task(write_task(tmp_path, kind="lm-eval", tasks=["a"])))
