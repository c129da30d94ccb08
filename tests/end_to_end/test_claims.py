"""`make claims` and the pools, on models hardly trained: everything runs, and nothing is claimed of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("sklearn")
pytest.importorskip("transformers")


def called(module: str, *words: str, room: Path) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "CUVEE_CLAIMS_CACHE": str(room / "cache")}
    command = [sys.executable, "-m", f"benchmarks.claims{module}", *words]
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)


@pytest.mark.slow
def test_a_small_run_of_every_track(tmp_path: Path) -> None:
    out = tmp_path / "results"
    done = called("", "--quick", "--tier", "0", "1", "2", "--seeds", "0", "--out", str(out), room=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "A smoke test" in done.stdout
    verdicts = json.loads((out / "verdicts.json").read_text("utf-8"))
    assert {row["verdict"] for row in verdicts} == {"not tested"}  # no gate is passed by models hardly trained
    assert (out / "README.md").read_text("utf-8").count("**Gates that failed**") == 4
    language = json.loads((out / "language-0.json").read_text("utf-8"))["outcome"]["pools"]["quick pt"]
    assert set(language["interface"]) == {"state dicts, cuvee.load and cuvee.merge agree bit by bit"}
    first = json.loads((out / "digits-0.json").read_text("utf-8"))["outcome"]
    again = called(
        "", "--quick", "--tier", "0", "--seeds", "0", "--out", str(tmp_path / "again"), room=tmp_path / "new"
    )
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "again" / "digits-0.json").read_text("utf-8"))["outcome"] == first


@pytest.mark.slow
def test_a_pool_is_written_whole_and_opens_anywhere(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "pool"
    done = called(".build", "strings-quick-it", "--out", str(out), room=tmp_path)
    assert done.returncode == 0, done.stderr
    roles = json.loads((out / "pool.json").read_text("utf-8"))["skills"]
    folders = ["base", "multitask", *(f"experts/{word}" for word in roles["held_in"])]
    for folder in folders:
        AutoModelForCausalLM.from_pretrained(out / folder)
    words = AutoTokenizer.from_pretrained(out / "base")
    assert {path.name for path in (out / "tasks").iterdir()} == {word for role in roles.values() for word in role}
    row = json.loads((out / "tasks" / "reverse" / "test.jsonl").read_text("utf-8").splitlines()[0])
    assert row["prompt"].split()[3:-2] == row["answer"].split()[::-1]
    assert "<unk>" not in words.convert_ids_to_tokens(words(row["prompt"]).input_ids)
    assert called(".build", "strings-quick-it", "--out", str(out), room=tmp_path).returncode != 0  # never written over
