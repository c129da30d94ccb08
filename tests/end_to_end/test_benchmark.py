"""The benchmark script runs and writes what it should; its figures are nobody's business here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "run.py"


def smoke(results: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--smoke", "--results", str(results), *more]
    alone = {k: v for k, v in os.environ.items() if k != "PEER_PYTHON"}
    return subprocess.run(command, capture_output=True, text=True, env=alone)


def test_a_tiny_run(tmp_path: Path) -> None:
    done = smoke(tmp_path, "--folder", str(tmp_path / "room"))
    assert done.returncode == 0, done.stderr
    assert "net ÷ floor" in done.stdout
    found = json.loads((tmp_path / "tiny.json").read_text("utf-8"))
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
    assert list((tmp_path / "room").iterdir()) == [], "the models are taken away again"


def test_results_tell_no_names_and_no_paths(tmp_path: Path) -> None:
    assert smoke(tmp_path).returncode == 0
    for name in ("tiny.json", "tiny.md"):
        text = (tmp_path / name).read_text("utf-8")
        assert os.uname().nodename not in text
        assert str(Path.home()) not in text
        assert "/dev/shm" not in text
        assert str(tmp_path) not in text
    assert "| cuvee | linear |" in (tmp_path / "tiny.md").read_text("utf-8")
