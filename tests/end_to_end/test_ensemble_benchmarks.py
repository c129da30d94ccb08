"""The benchmarks of selection, leakage and dynamic selection at reduced size: they run, and their bars hold."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "ensembles"
NAMES = ("found", "selection", "leakage", "dynamic")

pytestmark = pytest.mark.slow


@pytest.fixture
def script():
    """The modules of the scripts, which import each other by their bare names."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(FOLDER))
        for name in NAMES:
            sys.modules.pop(name, None)


def bars(folder, name):
    told = json.loads((folder / f"ensemble-{name}.json").read_text())
    assert (folder / f"ensemble-{name}.md").read_text().startswith("# ")
    return {what: value for what, (value, _, _) in told["bars"].items()}


def test_leakage(script, tmp_path):
    assert script("leakage").main(["--seeds", "2", "--rows", "300", "--out", str(tmp_path)]) == 0
    found = bars(tmp_path, "leakage")
    assert found["out of fold − in sample, test, points"] >= 5
    assert found["pure noise: out of fold, train"] < 0.62


def test_dynamic(script, tmp_path):
    assert script("dynamic").main(["--seeds", "2", "--out", str(tmp_path)]) == 0
    assert bars(tmp_path, "dynamic")["KNORA-E"] >= 0.93


def test_selection(script):
    """Three families on 600 rows of the synthetic set: less than the bars ask, but the right way round."""
    selection = script("selection")
    quick = {name: selection.members()[name] for name in ("logistic regression", "random forest", "support vectors")}
    x, y = selection.data("synthetic")
    found = selection.measure(x[:600], y[:600], quick, 2)
    scores, best = found["scores"], found["scores"]["best by out-of-fold"]
    assert scores["greedy selection"]["log_loss"] < best["log_loss"]
    assert {*selection.COMBINERS, *quick} <= set(scores)  # stacks need more rows than these to be worth anything
    assert found["junk"] == [[0.0, 0.0]] * 2


def test_a_bar_that_is_missed_is_told(script):
    found = script("found")
    missed = {"a": (0.8, "≤", 0.75), "b": (1.0, "=", 1.0)}
    assert found.kept(missed) == 1
    assert "**no**" in found.bars(missed)
    assert found.kept({"b": missed["b"]}) == 0
