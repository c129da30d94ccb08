"""Searches spread over a real Ray of two workers on this machine: the same journal and result, whoever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import cuvee
from cuvee.api import search_ray
from cuvee.errors import CuveeError, ResourceError, UsageError
from cuvee.types import Score
from tests.support.command_line import call, environment
from tests.support.searches import Logits, write_language_models

ray = pytest.importorskip("ray", reason="Ray is not installed")
GIVEN: dict[str, Any] = {"strategy": "random", "trials": 6, "batch": 3, "seed": 2}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_models(tmp_path_factory.mktemp("models"))


def asked(models: Path) -> dict[str, Any]:
    hole = {"search": [0, 1]}
    entries = [{"model": f"{models}/{name}", "parameters": {"weight": hole}} for name in "yz"]
    return {"merge_method": "task_arithmetic", "base_model": f"{models}/x", "models": entries}


def journal(folder: Path) -> list[dict[str, Any]]:
    """Its lines, without the seconds that trials took."""
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


# --- without a cluster


@pytest.mark.parametrize(
    ("options", "subjects"),
    [
        ({"executor": "dask"}, ["executor"]),
        ({"address": "local"}, ["address"]),
        ({"threads": 2}, ["threads"]),
        ({"executor": "ray", "address": ""}, ["address"]),
        ({"executor": "ray", "threads": 0}, ["threads"]),
        ({"executor": "ray", "build": lambda candidate: candidate}, ["build"]),
    ],
)
def test_options_that_do_not_go_together(models: Path, options: dict[str, Any], subjects: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        cuvee.search(asked(models), Logits([0.0]), **GIVEN, **options)
    assert [(f.code, f.subject) for f in caught.value.faults] == [("bad-argument", name) for name in subjects]


def test_ray_is_not_installed(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (models / "r.json").write_text(json.dumps(asked(models)))
    words = [
        "search",
        models / "r.json",
        "--objective",
        "tests.support.searches:logits",
        "-o",
        models / "out",
        "--json",
    ]
    ran = call(capsys, *words, "--executor", "ray")
    (fault,) = ran.json["error"]["faults"]
    assert (ran.code, fault["code"], fault["hint"]) == (2, "missing-extra", "install `cuvee[ray]`")


def test_a_worker_checks_that_it_sees_what_the_others_see(models: Path, tmp_path: Path) -> None:
    data = {"merge_method": "linear", "models": [{"model": "x", "parameters": {"weight": 1}}]}
    recipe = search_ray.portable(cuvee.api.recipe_from(data, root=models))
    good = search_ray.Told((recipe,), (), (models / "x",), {}, {}, 0, None, 1, torch.get_num_threads())

    def refused(**change: Any) -> CuveeError:
        from dataclasses import replace

        with pytest.raises(ResourceError) as caught:
            search_ray.evaluator(replace(good, **change))
        return caught.value

    search_ray.evaluator(good)
    assert refused(paths=(tmp_path / "gone",)).code == "not-shared"
    assert "cuvee" in str(refused(versions={"cuvee": "0.0.1"}))
    assert refused(facts={"x": []}).code == "worker-mismatch"
    assert refused(limit=1000).code == "memory"


def test_recipes_inside_recipes_and_relative_paths_are_sent_whole(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    monkeypatch.chdir(models)
    for file, names in (("inner.yml", ("x", "y")), ("outer.yml", ("inner.yml", "z"))):
        entries = [{"model": name, "parameters": {"weight": 1}} for name in names]
        (models / file).write_text(json.dumps({"merge_method": "linear", "models": entries}))
    recipe = cuvee.api.load_recipe("outer.yml")
    sent = pickle.loads(pickle.dumps(search_ray.portable(recipe)))
    assert sent == recipe
    assert sent.root == models
    assert all(one.root == models for one in sent.nested.values())


# --- with one


@pytest.mark.slow
def test_the_same_journal_and_result_as_without(cluster: str, models: Path, tmp_path: Path) -> None:
    given = {**GIVEN, "halving": True}
    here = cuvee.search(asked(models), Logits([0.0], count=140), out=tmp_path / "here", **given)
    there = cuvee.search(asked(models), Logits([0.0], count=140), out=tmp_path / "there", executor="ray", **given)
    assert journal(tmp_path / "here") == journal(tmp_path / "there")
    assert (tmp_path / "here/best.yml").read_text() == (tmp_path / "there/best.yml").read_text()
    assert (here.values, here.best) == (there.values, there.best)
    assert (here.search, here.held_out) == (there.search, there.held_out)
    assert {trial.state for trial in there.trials} == {"scored", "stopped"}
    assert not alive()


def alive() -> list[str]:
    """Workers that are still there."""
    from ray._private import state  # the public way needs the dashboard

    return [number for number, actor in state.actors().items() if actor["State"] not in ("DEAD", 4)]


@dataclass
class Marked(Logits):
    """Notes which process was asked; and kills it where a file says so."""

    folder: str = ""
    times: int = 0

    def score(self, model: Any, rows: Sequence[int] | None = None) -> Score:
        pid = os.getpid()
        (Path(self.folder) / f"asked-{pid}").touch()
        killed = Path(self.folder) / "killed"
        value = super().score(model, rows)
        with killed.open("a+") as file:
            file.seek(0)
            if str(os.getppid()) and len(file.read()) < self.times and pid != int(os.environ.get("SPARED", "0")):
                file.write("x")
                file.flush()
                os.kill(pid, signal.SIGKILL)
        return value


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_a_worker_dies_once_and_a_candidate_that_kills_every_worker(
    cluster: str, models: Path, tmp_path: Path, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One death costs nothing; a job that killed two workers has failed, and the search goes on."""
    plain = cuvee.search(asked(models), Logits([0.0]), out=tmp_path / "plain", **{**GIVEN, "batch": 1})
    task = Marked([0.0], folder=str(tmp_path), times=times)
    monkeypatch.setenv("SPARED", str(os.getpid()))
    found = cuvee.search(asked(models), task, out=tmp_path / "out", executor="ray", **{**GIVEN, "batch": 1})
    assert (tmp_path / "killed").read_text() == "x" * times
    states = [trial.state for trial in found.trials]
    if times == 1:
        assert found.values == plain.values
        assert journal(tmp_path / "plain")[1:] == journal(tmp_path / "out")[1:]
    else:
        assert states == ["failed"] + ["scored"] * 5
        assert "died, and so did a second one" in (found.trials[0].error or "")
        assert any("1 of 6 trials failed" in note for note in found.notes)
    pids = {int(path.name.partition("-")[2]) for path in tmp_path.glob("asked-*")} - {os.getpid()}
    assert len(pids) == times + 1


@pytest.mark.slow
def test_both_workers_open_the_models_once_and_judge(cluster: str, models: Path, tmp_path: Path) -> None:
    cuvee.search(asked(models), Marked([0.0], folder=str(tmp_path)), executor="ray", **GIVEN)
    pids = {int(path.name.partition("-")[2]) for path in tmp_path.glob("asked-*")} - {os.getpid()}
    assert len(pids) == 2


@pytest.mark.slow
def test_an_error_of_a_candidate_is_noted_with_its_traceback(cluster: str, models: Path, tmp_path: Path) -> None:
    task = Failing([0.0])
    here = cuvee.search(asked(models), task, out=tmp_path / "here", **GIVEN)
    there = cuvee.search(asked(models), task, out=tmp_path / "there", executor="ray", **GIVEN)
    assert [trial.state for trial in here.trials] == [trial.state for trial in there.trials]
    (failed, *_) = [trial for trial in there.trials if trial.state == "failed"]
    assert "ArithmeticError: too cold" in (failed.error or "")


@dataclass
class Failing(Logits):
    """Fails for some candidates."""

    def score(self, model: Any, rows: Sequence[int] | None = None) -> Score:
        found = super().score(model, rows)
        if int(abs(found.value) * 1e6) % 3 == 0:
            raise ArithmeticError("too cold")
        return found


@pytest.mark.slow
def test_a_task_that_cannot_be_sent_is_refused_before_anything_is_tried(
    cluster: str, models: Path, tmp_path: Path
) -> None:
    task = Logits([0.0])
    task.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"the task `logits` cannot be sent to workers: TypeError: .*lock"):
        cuvee.search(asked(models), task, out=tmp_path / "out", executor="ray", **GIVEN)
    assert not (tmp_path / "out").exists()
    assert not alive()


@pytest.mark.slow
def test_what_a_worker_is_not_ready_for_is_told_before_anything_is_tried(
    cluster: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_ray, "version", lambda name: "0.0.1")
    with pytest.raises(ResourceError, match=r"a worker has cuvee .* instead of 0\.0\.1") as caught:
        cuvee.search(asked(models), Logits([0.0]), executor="ray", **GIVEN)
    assert caught.value.code == "worker-mismatch"
    assert not alive()


@pytest.mark.slow
def test_an_interrupt_ends_the_workers(cluster: str, models: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cuvee.search(asked(models), Logits([0.0]), out=tmp_path / "out", executor="ray", progress=stop, **GIVEN)
    time.sleep(0.5)
    assert not alive()
    found = cuvee.search(asked(models), Logits([0.0]), out=tmp_path / "out", resume=True, **GIVEN)  # without Ray
    assert len(found.trials) == 6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_the_command_on_a_cluster_and_an_interrupt_of_it(cluster: str, models: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(json.dumps(asked(models)))
    words = [sys.executable, "-m", "cuvee", "search", str(tmp_path / "r.yml"), "--executor", "ray"]
    words += ["--address", cluster, "--objective", "tests.support.searches:logits"]
    words += ["--strategy", "random", "--batch", "2", "--trials"]
    first = [*words, "4", "-o", str(tmp_path / "a"), "--json"]
    ran = subprocess.run(first, capture_output=True, text=True, env=environment())
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["trials"]["scored"] == 4
    second = [*words, "100000", "-o", str(tmp_path / "b")]
    process = subprocess.Popen(second, stderr=subprocess.PIPE, text=True, env=environment())
    while not (tmp_path / "b/journal.jsonl").exists() or len(journal(tmp_path / "b")) < 4:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume goes on from there" in err
    time.sleep(1)
    assert not alive()
