"""Merges spread over a real Ray of two workers on this machine: the same bytes, whoever dies, and plain refusals."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import cuvee
from cuvee.checkpoint import FolderWriter
from cuvee.errors import InputError, ResourceError, UsageError
from cuvee.execute import Progress
from tests.end_to_end.test_merged_vocabularies import model
from tests.support.adapters import write_adapter
from tests.support.command_line import call, environment
from tests.support.merging import decoder, files, hidden, recipe, write
from tests.support.tokenizers import CODE, ENGLISH, byte_level, save
from tests.support.yard import HEAD, Yard, copied, refused, spoilt

ray = pytest.importorskip("ray", reason="Ray is not installed")
SIZES: dict[str, int] = {"width": 128, "vocabulary": 6000}
SHARDS = {"linear": "5GB", "ties": "1MB", "dare_ties": "5GB"}
"""The methods, each with a size of files."""
TILE = 1024
JOURNAL = re.compile(r"\.out\.cuvee-journal-(\w+-(\d+))-.*-(\d+)")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models, and what threads make of them."""
    root = tmp_path_factory.mktemp("built")
    for seed, name in enumerate(("base", "a", "b")):
        write(root / name, decoder(seed, **SIZES))
    for method, size in SHARDS.items():
        path = Yard(root).file(recipe(method, "base", "a", "b"), f"{method}.yml")
        cuvee.merge(path, root / "made" / method, seed=3, shard_size=size)
    return root


@pytest.fixture
def room(built: Path, tmp_path: Path) -> Yard:
    return copied(built, tmp_path)


def spread(room: Yard, method: str = "ties", **options: Any) -> cuvee.MergeResult:
    given = {"executor": "ray", "threads": 1, "seed": 3, "tile": TILE, "shard_size": SHARDS[method], **options}
    return cuvee.merge(room.root / f"{method}.yml", room.out, **given)


def assert_made(room: Yard, built: Path, method: str = "ties") -> None:
    """The output is what threads make, record and all, and nothing else is left."""
    assert files(room.out) == files(built / "made" / method)
    assert hidden(room.root) == []


# --- without a cluster


def test_ray_is_not_installed(room: Yard, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    ran = call(capsys, "merge", room.root / "ties.yml", "-o", room.out, "--executor", "ray", "--json")
    (fault,) = ran.json["error"]["faults"]
    assert (ran.code, fault["code"], fault["hint"]) == (2, "missing-extra", "install `cuvee[ray]`")
    assert not room.out.exists()
    assert hidden(room.root) == []


@pytest.mark.parametrize(
    "words",
    [
        ("--address", "127.0.0.1:1"),
        pytest.param((), marks=pytest.mark.slow),
    ],
    ids=["address", "environment"],
)
def test_there_is_no_cluster(room: Yard, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "cuvee", "merge", str(room.root / "ties.yml"), "-o", str(room.out), "--json"]
    surroundings = environment(RAY_ADDRESS="127.0.0.1:1")
    ran = subprocess.run([*command, "--executor", "ray", *words], capture_output=True, text=True, env=surroundings)
    (fault,) = json.loads(ran.stdout)["error"]["faults"]
    assert (ran.returncode, fault["code"]) == (5, "no-cluster")
    assert fault["message"].startswith("there is no Ray cluster at 127.0.0.1:1: ")
    assert "--address local" in fault["hint"]
    assert not room.out.exists()
    assert hidden(room.root) == []


@pytest.mark.parametrize(
    ("options", "subject"),
    [
        ({"executor": "dask"}, "executor"),
        ({"executor": "ray", "runner": "plain"}, "runner"),
        ({"address": "local"}, "address"),
        ({"executor": "ray", "address": ""}, "address"),
        ({"executor": "ray", "address": 5}, "address"),
    ],
)
def test_options_that_do_not_go_together(room: Yard, options: dict[str, Any], subject: str) -> None:
    with pytest.raises(UsageError) as caught:
        cuvee.merge(room.root / "ties.yml", room.out, **options)
    assert [(f.code, f.subject) for f in caught.value.faults] == [("bad-argument", subject)]


# --- with one


@pytest.mark.slow
@pytest.mark.parametrize("method", SHARDS, ids=str)
def test_the_same_bytes_as_with_threads(
    cluster: str, room: Yard, built: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Progress] = []
    here: list[str] = []
    write_here = FolderWriter.write

    def noted(writer: FolderWriter, name: str, start: int, values: Tensor) -> None:
        here.append(name)
        write_here(writer, name, start, values)

    monkeypatch.setattr(FolderWriter, "write", noted)
    found = spread(room, method, progress=told.append)
    assert_made(room, built, method)
    assert here == []  # all of it was written by the workers
    assert found.resumed_ranges == 0
    assert told[0].tensor in decoder(0, **SIZES)
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert told[-1].done == told[-1].total == sum(t.nbytes for t in decoder(0, **SIZES).values())


class Killer(threading.Thread):
    """Kills the first worker that is in the middle of a lot, and notes whoever writes."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.writers: set[tuple[str, int]] = set()
        self.killed: tuple[str, int] | None = None
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.002):
            for path in self.folder.iterdir():
                if found := JOURNAL.fullmatch(path.name):
                    self.look(path, (found[1], int(found[3])))

    def look(self, path: Path, writer: tuple[str, int]) -> None:
        self.writers.add(writer)
        if self.killed is None and path.read_bytes().count(b"\n") > 5:
            os.kill(writer[1], signal.SIGKILL)
            self.killed = writer


@pytest.mark.slow
def test_vocabularies_adapters_and_tokenizers_alone_come_along(cluster: str, tmp_path: Path) -> None:
    a, b = (model(tmp_path / n, byte_level(t), seed=s) for s, (n, t) in enumerate((("a", ENGLISH), ("b", CODE))))
    save(tmp_path / "words", byte_level(ENGLISH + CODE))
    base, adapter = write_adapter("lora", tmp_path / "adapted")
    models = {"models": [{"model": str(a)}, {"model": str(b)}], "parameters": {"weight": 1}, "merge_method": "linear"}
    lora = {"models": [{"model": f"{base}+{adapter}"}, {"model": str(base)}], "parameters": {"weight": 0.5}}
    recipes = [
        {**models, "tokenizer": {"source": "union", "pad_to_multiple_of": 64}},
        {**models, "tokenizer_source": str(tmp_path / "words")},
        {**lora, "merge_method": "linear"},
    ]
    for number, asked in enumerate(recipes):
        cuvee.merge(asked, tmp_path / f"threads{number}")
        cuvee.merge(asked, tmp_path / f"ray{number}", executor="ray", threads=1, tile=TILE)
        assert files(tmp_path / f"ray{number}") == files(tmp_path / f"threads{number}")


@pytest.mark.slow
def test_a_worker_is_killed(cluster: str, room: Yard, built: Path) -> None:
    killer = Killer(room.root)
    killer.start()
    try:
        spread(room, tile=1)
    finally:
        killer.over.set()
        killer.join()
    assert killer.killed is not None
    lot, number = killer.killed
    assert [n for name, n in killer.writers if name == lot and n != number] != []  # Ray gave it to somebody else
    assert_made(room, built)


@pytest.mark.slow
def test_what_a_worker_finds_in_an_input(cluster: str, room: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it is told before this process would find it itself")

    monkeypatch.setattr(FolderWriter, "gather", never)
    shutil.rmtree(room.root / "b")
    room.model("b", spoilt(2, HEAD, 7, float("nan"), **SIZES))
    asked = room.root / "ties.yml"
    error = refused(room, asked, InputError, "non-finite", "entry 7 is nan", executor="ray", threads=1, tile=TILE)
    assert error.faults[0].subject == HEAD


class Enough(KeyboardInterrupt):
    """The interrupt that a test makes."""


def interrupt(_: Progress) -> None:
    raise Enough


@pytest.mark.slow
def test_an_interrupt_leaves_nothing(cluster: str, room: Yard) -> None:
    with pytest.raises(KeyboardInterrupt):
        spread(room, progress=interrupt, tile=1)
    assert hidden(room.root) == []
    assert not room.out.exists()


def sizes(folder: Path) -> dict[str, int]:
    """Every journal of a worker with its size."""
    return {path.name: path.stat().st_size for path in folder.iterdir() if JOURNAL.fullmatch(path.name)}


@pytest.mark.slow
@pytest.mark.parametrize("then", ["ray", "threads"])
def test_going_on_after_an_interrupt(cluster: str, room: Yard, built: Path, then: str) -> None:
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        spread(room, "dare_ties", progress=interrupt, resume=True, tile=1)
    left = sizes(room.root)
    time.sleep(0.5)
    assert sizes(room.root) == left  # nobody writes any more
    found = spread(room, "dare_ties", executor=then, resume=True)
    assert found.resumed_ranges > 0
    assert_made(room, built, "dare_ties")


def test_more_threads_than_any_machine_has(cluster: str, room: Yard) -> None:
    error = refused(room, room.root / "ties.yml", UsageError, "bad-argument", "at most 2", executor="ray", threads=3)
    assert error.faults[0].subject == "threads"


def test_another_cluster_than_the_one_in_use(cluster: str, room: Yard) -> None:
    options = {"executor": "ray", "address": "10.0.0.1:6379"}
    refused(room, room.root / "ties.yml", UsageError, "bad-argument", cluster, **options)


@pytest.mark.slow
def test_work_that_kills_every_worker(cluster: str, room: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    from cuvee.execute import ray_tasks

    monkeypatch.setattr(ray_tasks, "RETRIES", 1)
    monkeypatch.setattr(ray_tasks, "deliver", dying)
    options = {"executor": "ray", "threads": 1}
    refused(room, room.root / "ties.yml", ResourceError, "worker-died", "Ray", **options)


def dying(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_the_command_on_a_running_cluster(cluster: str, room: Yard, built: Path) -> None:
    command = [sys.executable, "-m", "cuvee", "merge", str(room.root / "linear.yml"), "-o", str(room.out), "--json"]
    words = ["--executor", "ray", "--address", cluster, "--threads", "1", "--seed", "3"]
    ran = subprocess.run([*command, *words], capture_output=True, text=True, env=environment())
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["resumed"]["ranges"] == 0
    assert ran.stderr.splitlines()[-1].startswith("merging: done")  # after how far it is, where that takes long
    assert_made(room, built, "linear")
