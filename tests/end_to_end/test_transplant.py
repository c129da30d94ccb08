"""Transplants by the command line, and what they are worth: nearer to the model as it was than the mean of all rows."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path

import pytest

import cuvee
from tests.support import transplanting as pair
from tests.support.command_line import call

PAGE = Path(__file__).parents[2] / "docs" / "transplant.md"
Capsys = pytest.CaptureFixture[str]


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    pair.write_pair(tmp_path)
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert block
    lines = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    assert len(lines) > 2
    for line in lines:
        assert line[0] == "cuvee"
        code = call(capsys, *line[1:]).code
        assert code == 0, line


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.write_pair(tmp_path)
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert block
    exec(block[1], {"cuvee": cuvee})


def test_what_is_told(tmp_path: Path, capsys: Capsys) -> None:
    model, donor = pair.write_pair(tmp_path)
    ran = call(capsys, "tokens", "transplant", model, donor, "-o", tmp_path / "out", "--k", 3)
    assert ran.code == 0
    for said in (
        "23 tokens, 23 rows",
        "16 copied: the model has the token",
        "3 copied by role: [BEGIN] from <s>",
        "4 found by omp from 16 shared tokens; not reached:",
        "for example '▁purple': +1.00 'Ġ",
        "written to",
    ):
        assert said in ran.out, ran.out


def test_the_same_as_json(tmp_path: Path, capsys: Capsys) -> None:
    model, donor = pair.write_pair(tmp_path)
    data = call(capsys, "tokens", "transplant", model, donor, "-o", tmp_path / "out", "--k", 9, "--json").json
    assert data["command"] == "tokens transplant"
    assert (data["exact"], data["approximated"], data["rows"], data["k"]) == (16, 4, 23, 9)
    assert set(data["left"]) == {"embedding", "head"}
    assert any("follows noise; try --k 2" in note for note in data["notes"])


def test_a_fault_has_its_exit_code(tmp_path: Path, capsys: Capsys) -> None:
    model, donor = pair.write_pair(tmp_path)
    (donor / "tokenizer.json").unlink()
    ran = call(capsys, "tokens", "transplant", model, donor, "-o", tmp_path / "out", "--json")
    assert ran.code == 4
    assert json.loads(ran.out)["error"]["faults"][0]["code"] == "tokenizer-missing"
    assert call(capsys, "tokens", "transplnat", "a", "b").code == 2


@pytest.mark.slow
def test_perplexity_after_pursuit_is_clearly_nearer_than_after_the_mean(tmp_path: Path) -> None:
    from benchmarks.transplant import measure, recovered

    found = measure(tmp_path, 0, 400, ways=("omp", "subword-mean", "mean"))
    assert found["before"] < found["omp"] < found["subword-mean"] < found["mean"]
    assert recovered(found, "omp") > 0.5
    assert math.log(found["omp"]) - math.log(found["before"]) < 0.1  # nats per byte
