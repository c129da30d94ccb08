"""A search whose objective is a task file: candidates in memory are asked as the merge in its folder is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import cuvee
from cuvee.errors import ResourceError, UsageError
from cuvee.judging import read_task, scorer
from cuvee.searching.cellar import Candidate
from tests.support.calibration import make_model
from tests.support.judging import WORDS, write_task
from tests.support.searches import sums, write_units


def test_a_task_file_is_the_objective_and_another_the_report(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        make_model(tmp_path / name, "gpt2", seed)
    rows = [{"text": text} for text in WORDS]
    search = write_task(tmp_path, rows[:3], kind="perplexity", name="search", metric="nats_per_token")
    report = write_task(tmp_path, rows[3:], kind="perplexity", name="report", metric="nats_per_token")
    entries = [{"model": str(tmp_path / name), "parameters": {"weight": {"search": [0.1, 1]}}} for name in "ab"]
    asked = {"merge_method": "linear", "models": entries}
    result = cuvee.search(asked, search, report=report, strategy="random", trials=4, out=tmp_path / "found")
    judged = cuvee.evaluate(tmp_path / "found" / "best.yml", [search, report])
    model = judged.judged[0].model
    told = {task: judged.score(model, task).value for task in ("search", "report")}
    assert result.search.value == pytest.approx(-told["search"], rel=1e-5)  # a gain: fewer nats are better
    assert result.held_out.value == pytest.approx(-told["report"], rel=1e-5)


def test_tasks_of_lm_eval_are_no_objective(tmp_path: Path) -> None:
    (tmp_path / "lm.yml").write_text("kind: lm-eval\ntasks: [arc]\n")
    with pytest.raises(UsageError, match="not scored row by row"):
        cuvee.search({"merge_method": "linear", "models": []}, tmp_path / "lm.yml")


JUDGE = "def near(model, rows):\n    return [float(model.w[0]) * row['by'] for row in rows]\n"


def module(candidate: Candidate) -> torch.nn.Module:
    made = torch.nn.Module()
    made.w = torch.nn.Parameter(candidate.tensors["w"].clone())
    return made


def test_a_search_does_not_go_on_with_another_task(tmp_path: Path) -> None:
    """Trials of the old rows beside trials of the new ones would be compared as if they were of one task."""
    models = write_units(tmp_path / "models", 2)
    (tmp_path / "judge.py").write_text(JUDGE)
    named = {"kind": "function", "name": "near", "function": "judge.py:near"}
    rows = [{"by": number} for number in range(8)]
    task = write_task(tmp_path, rows, **named)
    how: dict[str, Any] = {"strategy": "random", "out": tmp_path / "found", "build": module}
    cuvee.search(sums(2, folder=models), task, trials=2, **how)
    assert cuvee.search(sums(2, folder=models), task, trials=3, resume=True, **how).log["evaluations"] == 1
    write_task(tmp_path, [*rows[:-1], {"by": 70}], **named)
    with pytest.raises(ResourceError, match="is of another search: `objectives` was "):
        cuvee.search(sums(2, folder=models), task, trials=4, resume=True, **how)
    write_task(tmp_path, rows, **named, direction="lower")
    with pytest.raises(ResourceError, match="is of another search"):
        cuvee.search(sums(2, folder=models), task, trials=4, resume=True, **how)


def test_what_a_task_is_judged_by_belongs_to_what_it_is(tmp_path: Path) -> None:
    rows = [{"text": "oak", "label": "red"}]
    told = [
        scorer(read_task(write_task(tmp_path, rows, kind="classification", **more))).content
        for more in ({}, {"metric": "accuracy"}, {"metric": "brier"}, {"metric": ["brier", "ece"]})
    ]
    assert len({*told}) == 3
    assert told[2] == told[3]  # a search maximises the first
