"""lm-eval for real, on tasks and data that lie here: `make lm-eval`. Where it is not installed all of it is skipped."""

from __future__ import annotations

import math
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing

import cuvee
from cuvee.errors import InputError
from cuvee.judging import read_task
from cuvee.judging.answering import answers_of
from cuvee.judging.asking.subject import Subject
from cuvee.judging.lm_evaluation import scores_by_lm_eval
from tests.support.calibration import make_model, write_lines
from tests.support.judging import QUESTIONS, WORDS, nats_by_hand, subject, task, write_task

pytestmark = [
    pytest.mark.lm_eval,
    pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed (`make lm-eval` sets it up)"),
    pytest.mark.filterwarnings("ignore"),  # of the libraries below lm-eval, and not about our calls
]
CHOICE = """task: local_choice
dataset_path: json
dataset_kwargs: {data_files: {test: choice.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
ROLLING = """task: local_rolling
dataset_path: json
dataset_kwargs: {data_files: {test: texts.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - metric: word_perplexity
  - metric: bits_per_byte
"""


def numbered(row: Any) -> dict[str, Any]:
    answer = row["answer"]
    return {**row, "answer": row["choices"].index(answer) if isinstance(answer, str) else answer}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks with their data, and a model; what lm-eval keeps of data goes here too."""
    folder = tmp_path_factory.mktemp("lm-eval")
    (folder / "tasks").mkdir()
    (folder / "tasks" / "choice.yaml").write_text(CHOICE, "utf-8")
    (folder / "tasks" / "rolling.yaml").write_text(ROLLING, "utf-8")
    write_lines(folder / "tasks" / "choice.jsonl", [numbered(row) for row in QUESTIONS])
    write_lines(folder / "tasks" / "texts.jsonl", [{"text": text} for text in WORDS])
    make_model(folder / "model", "llama")
    return folder


@pytest.fixture(autouse=True)
def caches(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_CACHE", str(home / "cache"))
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")


def asked(home: Path, *tasks: str, **more: Any) -> Any:
    name = "-".join(tasks)
    return read_task(write_task(home, kind="lm-eval", name=name, tasks=list(tasks), include="tasks", **more))


@pytest.fixture(params=["as Llama's", "as GPT-2's"])
def model(request: pytest.FixtureRequest, home: Path) -> Subject:
    """A model whose tokenizer puts a token before every text, or knows one and does not."""
    made = subject(home / "model", "llama")
    tokenizer = made.tokenizer
    tokenizer.bos_token, tokenizer.eos_token = "[CLS]", "[SEP]"
    template = "[CLS] $A" if request.param == "as Llama's" else "$A"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=[("[CLS]", 1)])
    return made


def test_choices_come_to_what_our_own_task_says(model: Subject, home: Path, tmp_path: Path) -> None:
    acc, norm = scores_by_lm_eval(model, asked(home, "local_choice"))
    own = answers_of(model, task(tmp_path, QUESTIONS, kind="multiple-choice")).columns["correct"]
    assert acc.metric == "acc"
    assert acc.rows == tuple(own.tolist())
    assert acc.value == pytest.approx(own.mean())
    assert (acc.n, acc.direction) == (3, "higher")
    by_bytes = answers_of(model, task(tmp_path, QUESTIONS, kind="multiple-choice", length="bytes")).columns["correct"]
    assert norm.rows == tuple(by_bytes.tolist())
    assert norm.stderr == pytest.approx(by_bytes.std(ddof=1) / math.sqrt(3))


def test_rolling_likelihoods_come_to_what_our_own_task_says(model: Subject, home: Path, tmp_path: Path) -> None:
    words, bits = scores_by_lm_eval(model, asked(home, "local_rolling"))
    own = answers_of(model, task(tmp_path, [{"text": text} for text in WORDS], kind="perplexity")).columns
    nats = own["nats"].sum()
    if model.tokenizer("")["input_ids"]:
        # lm-eval puts a token before the one that the tokenizer puts before every text, and has that predicted too
        nats = sum(nats_by_hand(model.model, (1, *model.tokenizer(text)["input_ids"]), 1) for text in WORDS)
    assert bits.metric == "bits_per_byte"
    assert bits.value == pytest.approx(nats / math.log(2) / own["bytes"].sum(), rel=1e-4)
    assert words.direction == bits.direction == "lower"  # read from lm-eval
    assert math.isnan(bits.stderr) or bits.stderr > 0
    assert bits.rows is None
    assert bits.n == len(WORDS)


def test_evaluate_keeps_what_lm_eval_said(home: Path) -> None:
    asked(home, "local_choice", "local_rolling", metric=["local_choice/acc", "local_rolling/bits_per_byte"])
    path = home / "local_choice-local_rolling.yml"
    made = cuvee.evaluate(home / "model", path)
    assert made.failures == ()
    assert [score.metric for score in made.judged[0].scores] == ["local_choice/acc", "local_rolling/bits_per_byte"]
    again = cuvee.evaluate(home / "model", path)
    assert again.judged[0].cached
    assert again.judged[0].scores[0] == made.judged[0].scores[0]


def test_fewer_rows(home: Path) -> None:
    assert scores_by_lm_eval(subject(home / "model", "llama"), asked(home, "local_choice", limit=2))[0].n == 2


def test_nothing_is_said_and_nothing_is_changed(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    here, before = Path.cwd(), {name: os.environ.get(name) for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}
    scores_by_lm_eval(subject(home / "model", "llama"), asked(home, "local_choice"))
    said = capfd.readouterr()
    assert said.out == ""
    assert [line for line in said.err.splitlines() if not line.startswith("fatal: not a git repository")] == []
    assert Path.cwd() == here
    assert {name: os.environ.get(name) for name in before} == before


def test_tasks_that_are_not_in_the_folder(home: Path) -> None:
    with pytest.raises(InputError) as caught:
        scores_by_lm_eval(subject(home / "model", "llama"), asked(home, "local_chioce", "hellaswag"))
    assert caught.value.codes == ("unknown-task", "unknown-task")
    assert "did you mean `local_choice`?" in str(caught.value)


def test_metrics_that_lm_eval_does_not_give(home: Path) -> None:
    asked(home, "local_choice", metric="accuracy")
    made = cuvee.evaluate(home / "model", home / "local_choice.yml")
    assert made.failures[0].error.code == "wrong-value"


def test_data_that_are_damaged(home: Path) -> None:
    (home / "tasks" / "broken.yaml").write_text(CHOICE.replace("choice", "broken"), "utf-8")
    (home / "tasks" / "broken.jsonl").write_text('{"prompt": "a"}\n', "utf-8")
    with pytest.raises(InputError) as caught:
        scores_by_lm_eval(subject(home / "model", "llama"), asked(home, "local_broken"))
    assert caught.value.codes == ("task-crashed",)
    assert "lm-eval failed" in str(caught.value)


def test_a_score_that_is_no_number_is_told(home: Path) -> None:
    model = subject(home / "model", "llama")
    with torch.no_grad():
        model.model.lm_head.weight.fill_(math.nan)
    made = cuvee.evaluate({"nan": model.model}, asked(home, "local_rolling"), tokenizer=model.tokenizer, cache=False)
    assert made.failures[0].error.code == "no-score"
