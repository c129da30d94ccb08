"""`cuvee serve` as a process: it says where it is, answers, and ends well when it is told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.support.command_line import call, environment
from tests.support.ensembles import SOME, function, of
from tests.support.rules import by_sum, by_sum_slowly, evenly
from tests.support.served import TOKEN, served

ROOT = Path(__file__).parents[2]


def test_a_service_answers_and_ends_when_answers_under_way_are_finished(tmp_path: Path) -> None:
    slow, even = function(by_sum_slowly, "slow"), function(evenly, "even")
    of(slow, even).save(tmp_path / "e", rows=())  # golden rows would be asked slowly
    of(even).save(tmp_path / "members/one", rows=SOME)
    (tmp_path / "token").write_text(TOKEN + "\n")
    options = ("--token-file", tmp_path / "token", "--members-from", tmp_path / "members", "--trust", "slow")
    options += ("--trust", "even")
    answers: list[httpx.Response] = []

    def ask(address: str) -> None:
        answers.append(httpx.post(f"{address}/predict", json={"rows": SOME.tolist()}, timeout=60))

    with served(tmp_path / "e", *map(str, options)) as running, httpx.Client(base_url=running.address) as client:
        assert running.address.startswith("http://127.0.0.1:")
        assert (running.said["command"], running.said["members"]) == ("serve", ["slow", "even"])
        may = {"Authorization": f"Bearer {TOKEN}"}
        assert client.post("/members", json={"path": "one", "name": "x"}, headers=may).json()["version"] == 2
        assert client.get("/ready").status_code == 200
        asking = threading.Thread(target=ask, args=(running.address,))
        asking.start()
        time.sleep(0.5)  # `by_sum_slowly` takes a second
        os.kill(running.process.pid, signal.SIGTERM)
        asking.join(60)
        said = answers[0].json()
        expected = (by_sum(SOME) + 2 * evenly(SOME)) / 3
        assert np.allclose(said["probabilities"], expected, atol=1e-12)
        assert said["version"] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--token-file", "none"], "the token cannot be read"),
        (["--token-file", "short"], "at least 16 characters"),
        (["--members-from", "none"], "--members-from must be a folder"),
        (["--port", "70000"], "65535"),
        (["--max-rows", "0"], ">= 1"),
    ],
)
def test_what_cannot_be_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("abc")
    found = call(capsys, "serve", "e", *options)
    assert found.code != 0
    assert words in found.err


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of(function(evenly, "even")).save(tmp_path / "e", rows=SOME)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        found = call(capsys, "serve", tmp_path / "e", "--port", port, "--trust", "even")
    assert (found.code, "could not listen at 127.0.0.1" in found.err) == (5, True)


@pytest.mark.slow
def test_no_answer_fails_or_is_mixed_under_load(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/ensembles/serving.py", "--seconds", "5", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "serving.json").read_text())
    assert (result["failed"], result["mixed"], result["changes_failed"], result["clients"]) == (0, 0, 0, 200)
    assert result["answers"] > 200
    assert result["versions_that_answered"] > 1
