"""The benchmark script runs and writes what it should; its figures are nobody's business here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "run.py"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmark")


@pytest.fixture(scope="module")
def done(room: Path) -> subprocess.CompletedProcess[str]:
    """One run, on tiny models, without the peer."""
    options = ["--smoke", "--results", str(room / "results"), "--folder", str(room / "models")]
    alone = {k: v for k, v in os.environ.items() if k != "PEER_PYTHON"}
    return subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, env=alone)


@pytest.mark.slow
def test_a_tiny_run(done: subprocess.CompletedProcess[str], room: Path) -> None:
    assert done.returncode == 0, done.stderr
    assert "net ÷ floor" in done.stdout
    found = json.loads((room / "results" / "tiny.json").read_text("utf-8"))
    rows = {(row["who"], row["what"]): row for row in found["rows"]}
    assert rows.keys() == {
        ("floor", "3 models"),
        ("floor", "4 models"),
        ("cuvee", "start-up"),
        ("cuvee", "linear"),
        ("cuvee", "ties"),
    }
    for row in rows.values():
        assert 0 < row["wall"]["low"] <= row["wall"]["middle"] <= row["wall"]["high"]
    assert rows["cuvee", "ties"]["net_by_floor"] is not None
    assert [row["runs"] for row in rows.values()] == [1] * len(rows)
    predictions = {one["what"]: one for one in found["predictions"]}
    assert predictions.keys() == {"linear", "ties"}
    assert predictions["ties"]["ratio"] == predictions["ties"]["seconds"] / rows["cuvee", "ties"]["wall"]["middle"]
    assert predictions["ties"]["memory"] > predictions["ties"]["measured_memory"] > 0
    assert list((room / "models").iterdir()) == [], "the models are taken away again"


@pytest.mark.slow
def test_results_tell_no_names_and_no_paths(done: subprocess.CompletedProcess[str], room: Path) -> None:
    for name in ("tiny.json", "tiny.md"):
        text = (room / "results" / name).read_text("utf-8")
        for private in (os.uname().nodename, str(Path.home()), str(SCRIPT.parents[1]), str(room)):
            assert len(private) < 4 or private not in text
    assert "| cuvee | linear |" in (room / "results" / "tiny.md").read_text("utf-8")


def test_a_failing_process_is_told(tmp_path: Path) -> None:
    """Figures of runs that failed would be worse than none."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import measure, cases; from pathlib import Path; "
        "measure.run(cases.Case('cuvee', 'linear', ('sh', '-c', 'echo why >&2; exit 3'), Path(sys.argv[2]), 0, 0))"
    )
    command = [sys.executable, "-c", code, str(SCRIPT.parent), str(tmp_path / "out")]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode != 0
    assert "cuvee linear failed:\nwhy" in failed.stderr


@pytest.mark.slow
def test_small_giants(tmp_path: Path) -> None:
    script = SCRIPT.with_name("giants.py")
    options = ["--smoke", "--results", str(tmp_path / "results"), "--folder", str(tmp_path / "models")]
    options += ["--methods", "ties", "dare_ties"]
    subprocess.run([sys.executable, str(script), *options], check=True, capture_output=True)
    found = json.loads((tmp_path / "results" / "giants.json").read_text("utf-8"))
    assert [plan["form"] for plan in found["plans"]] == ["text", "JSON"]
    for merged in found["merges"]:
        assert merged["compared"] > 10**6
        assert merged["unlike"] < 100, "the formulas in numpy give the same, but for roundings"
        assert merged["peak"] <= merged["estimate"] <= 1 << 30
    assert list((tmp_path / "models").iterdir()) == [], "the models are taken away again"
