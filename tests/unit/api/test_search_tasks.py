"""A search whose objective is a task file: candidates in memory are asked as the merge in its folder is."""

from __future__ import annotations

from pathlib import Path

import pytest

import cuvee
from cuvee.errors import UsageError
from tests.support.calibration import make_model
from tests.support.judging import WORDS, write_task


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
