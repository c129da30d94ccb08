"""`compare` with models that are run: real ones, small, on tasks from files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import cuvee
from cuvee.errors import CuveeError
from tests.support.calibration import make_model
from tests.support.command_line import call
from tests.support.judging import WORDS, write_task

LINEAR = "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]\n"
JUDGE = """
import torch

def norm(model):
    return float(sum((p.detach() ** 2).sum() for p in model.parameters()))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("models")
    for seed, name in enumerate("ab"):
        make_model(home / name, "llama", seed)
    (home / "merge.yml").write_text(LINEAR, "utf-8")
    rows = [{"text": text, "kind": "long" if len(text) > 8 else "short"} for text in WORDS]
    write_task(home, rows, kind="perplexity", group="kind")
    return home


@pytest.fixture(autouse=True)
def there(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(models)


def test_models_and_a_recipe_on_a_task() -> None:
    found = cuvee.compare(["a", "b", "merge.yml"], ["perplexity.yml"], parents=["a", "b"], groups=["kind"], draws=200)
    scores = cuvee.evaluate(["a", "b", "merge.yml"], "perplexity.yml")
    for standing in found.standings:
        cell = standing.cells["perplexity"]
        assert cell.score == scores.score(standing.model, "perplexity")
        assert standing.cost.seconds_per_row > 0
    best = min("ab", key=lambda model: scores.score(model, "perplexity").value)
    assert dict(found.experts) == {"perplexity": best}
    share = scores.score(best, "perplexity").value / scores.score("merge.yml", "perplexity").value
    assert found["merge.yml"].mean == pytest.approx(share)
    assert found["a"].cost.parameters > 0
    assert found["merge.yml"].cost.parameters is None
    assert {figure.name for figure in found.groups[0].figures} == {"long", "short"}


def test_a_model_compared_with_a_copy_of_itself(tmp_path: Path) -> None:
    make_model(tmp_path / "copy", "llama", 0)
    found = cuvee.compare(["a", tmp_path / "copy"], ["perplexity.yml"], parents=["a"], draws=200)
    against = found[str(tmp_path / "copy")].against.difference
    assert (against.value, against.low, against.high, against.verdict) == (0, 0, 0, "within noise")


def test_the_command(capsys) -> None:
    ran = call(capsys, "compare", "a", "b", "--tasks", "perplexity.yml", "--draws", 200, "--limit", 5, "--json")
    assert ran.code == 0
    assert [m["model"] for m in ran.json["models"]] == ["a", "b"]
    assert ran.json["models"][0]["tasks"]["perplexity"]["n"] == 5
    assert "fewer than 30 rows" in ran.json["notes"][-1]


def test_a_task_that_is_a_function_is_better_the_way_it_says(models: Path) -> None:
    (models / "judge.py").write_text(JUDGE)
    for direction, sign in (("higher", 1), ("lower", -1)):
        task = write_task(models, kind="function", function="judge.py:norm", direction=direction, name=direction)
        found = cuvee.compare(["a", "b"], [task], parents=["a"], raw=True, draws=100)
        values = [float(found[model].cells[direction].score.value) for model in "ab"]
        assert found["b"].against.difference.value == pytest.approx(sign * (values[1] - values[0]))
        assert math.isnan(found["b"].against.difference.low)
        assert torch.isfinite(torch.tensor(values)).all()


def test_a_model_that_is_not_there_is_told(models: Path) -> None:
    with pytest.raises(CuveeError) as caught:
        cuvee.compare(["a", "none"], ["perplexity.yml"])
    assert "none" in str(caught.value)
