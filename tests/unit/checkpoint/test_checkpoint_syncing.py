"""Weight files while they are written: one call into a file at a time, and durable before the end."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from cuvee.checkpoint import FolderWriter, plan_layout, syncing
from cuvee.checkpoint.job import job_of
from cuvee.checkpoint.syncing import SyncAhead
from cuvee.errors import ResourceError
from cuvee.types import TensorSpec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and Linux's calls")
SPECS = [TensorSpec("a", "uint8", (256,)), TensorSpec("b", "uint8", (256,))]
ONE_FILE, TWO_FILES = plan_layout(SPECS, 1000), plan_layout(SPECS, 256)
JOB = job_of({"recipe": {}, "seed": 3}, [], TWO_FILES, {})
PATIENCE = 20.0
"""Seconds after which a test that waits for another thread gives up."""


def named(descriptor: int) -> str:
    """The file that a descriptor is open for."""
    return Path(f"/proc/self/fd/{descriptor}").readlink().name


def write_all(writer: FolderWriter, width: int = 16) -> None:
    for spec in SPECS:
        for start in range(0, spec.numel, width):
            writer.write(spec.name, start, torch.zeros(width, dtype=torch.uint8))


def wait_until(true: Callable[[], bool]) -> None:
    """Give another thread the time that it takes."""
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.001)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "STEP", 64)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the data of which file was made durable."""
    found: Counter[str] = Counter()
    plain = os.fdatasync

    def sync(descriptor: int) -> None:
        found[named(descriptor)] += 1
        plain(descriptor)

    monkeypatch.setattr(os, "fdatasync", sync)
    return found


def test_every_large_file_is_made_durable_while_it_is_written(
    tmp_path: Path, small_steps: None, synced: Counter[str]
) -> None:
    with FolderWriter(TWO_FILES, tmp_path / "out") as writer:
        write_all(writer)
        wait_until(lambda: set(synced) == {shard.name for shard in TWO_FILES.shards})
        writer.publish()
    assert not any(thread.name == "cuvee-sync" for thread in threading.enumerate())


def test_small_files_take_no_thread(tmp_path: Path, synced: Counter[str]) -> None:
    with FolderWriter(TWO_FILES, tmp_path / "out") as writer:
        write_all(writer)
        assert not any(thread.name == "cuvee-sync" for thread in threading.enumerate())
        writer.publish()
    assert not synced


def test_a_system_without_the_call_has_the_other_one(
    tmp_path: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fdatasync")
    found: Counter[str] = Counter()
    plain = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (found.update([named(descriptor)]), plain(descriptor)))
    with FolderWriter(ONE_FILE, tmp_path / "out") as writer:
        write_all(writer)
        wait_until(lambda: found["model.safetensors"] > 0)
        writer.publish()
    assert found["model.safetensors"] > 1


def interrupted(out: Path) -> None:
    """A run that left its work for the next one."""
    with suppress(KeyboardInterrupt), FolderWriter(TWO_FILES, out, job=JOB, resume=True) as writer:
        write_all(writer)
        raise KeyboardInterrupt


class Failing:
    """The system's call, which fails once it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def __call__(self, _descriptor: int) -> None:
        self.begun.set()
        assert self.let_go.wait(PATIENCE)
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, small_steps: None) -> Failing:
    call = Failing()
    monkeypatch.setattr(os, "fdatasync", call)
    return call


def test_what_could_not_be_made_durable_is_never_published(tmp_path: Path, failing: Failing) -> None:
    """The system tells an error once: to the thread, and not to the call at the end."""
    with FolderWriter(ONE_FILE, tmp_path / "out") as writer:
        write_all(writer)
        assert failing.begun.wait(PATIENCE)
        failing.let_go.set()
        with pytest.raises(ResourceError) as caught:
            writer.publish()
    assert caught.value.codes == ("io-error",)
    assert f"could not make durable {tmp_path / 'out' / 'model.safetensors'}" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_run_ends_at_the_next_write(tmp_path: Path, failing: Failing) -> None:
    values = torch.zeros(64, dtype=torch.uint8)
    failing.let_go.set()
    with FolderWriter(ONE_FILE, tmp_path / "out") as writer:
        writer.write("a", 0, values)
        wait_until(lambda: writer._files._ahead.failed is not None)
        with pytest.raises(ResourceError) as caught:
            writer.write("a", 64, values)
    assert caught.value.codes == ("io-error",)


def test_what_a_run_goes_on_from_is_read_from_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an error of the disk nobody may have been told but a process that is gone."""
    interrupted(tmp_path / "out")
    calls: list[tuple[str, str]] = []
    for name in ("fdatasync", "posix_fadvise"):
        plain = getattr(os, name)

        def call(descriptor: int, *more: int, name: str = name, plain: Callable[..., None] = plain) -> None:
            calls.append((name, named(descriptor)))
            plain(descriptor, *more)

        monkeypatch.setattr(os, name, call)
    with FolderWriter(TWO_FILES, tmp_path / "out", job=JOB, resume=True) as writer:
        found = list(calls)
        write_all(writer)
        writer.publish()
    files = [shard.name for shard in TWO_FILES.shards]
    assert found == [(call, file) for file in files for call in ("fdatasync", "posix_fadvise")]


def test_what_cannot_be_read_from_the_disk_is_not_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(tmp_path / "out")

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    before = sorted(path.name for path in tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(ResourceError) as caught, FolderWriter(TWO_FILES, tmp_path / "out", job=JOB, resume=True):
            pass
    assert caught.value.codes == ("io-error",)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_output_that_is_given_up_waits_for_no_disk(
    tmp_path: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended, open_at_end = threading.Event(), threading.Event(), []

    def slow(descriptor: int) -> None:
        begun.set()
        ended.wait(PATIENCE)
        open_at_end.append(os.fstat(descriptor).st_size)  # still a file of ours, though its owner has closed it

    monkeypatch.setattr(os, "fdatasync", slow)
    with FolderWriter(ONE_FILE, tmp_path / "out") as writer:
        write_all(writer)
        assert begun.wait(PATIENCE)
    assert list(tmp_path.iterdir()) == []
    thread = next(thread for thread in threading.enumerate() if thread.name == "cuvee-sync")
    ended.set()
    thread.join(PATIENCE)
    assert open_at_end == [ONE_FILE.nbytes]


@pytest.mark.parametrize("scarce", ["threads", "descriptors"])
def test_where_nothing_can_be_done_ahead_all_waits_for_the_end(
    tmp_path: Path, small_steps: None, synced: Counter[str], monkeypatch: pytest.MonkeyPatch, scarce: str
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no more threads") if scarce == "threads" else OSError(errno.EMFILE, "too many")

    if scarce == "threads":
        monkeypatch.setattr(threading.Thread, "start", refuse)
    else:
        monkeypatch.setattr(os, "dup", refuse)
    with FolderWriter(ONE_FILE, tmp_path / "out") as writer:
        write_all(writer)
        writer.publish()
    assert (tmp_path / "out" / "model.safetensors").stat().st_size == ONE_FILE.nbytes
    assert not synced


def test_nothing_is_begun_once_it_was_stopped(tmp_path: Path, small_steps: None, synced: Counter[str]) -> None:
    ahead = SyncAhead()
    ahead.stop()
    with (tmp_path / "x").open("wb") as file:
        ahead.wrote("x", file.fileno(), 1000)
    ahead.finish()
    assert ahead.failed is None
    assert not synced


def most_at_once(monkeypatch: pytest.MonkeyPatch, writer: FolderWriter, wait: Callable[[], object]) -> int:
    """How many of two writes, of tensors `a` and `b`, were ever inside the system's call."""
    inside, most, plain = 0, 0, os.pwrite
    counting = threading.Lock()

    def pwrite(*arguments: object) -> int:
        nonlocal inside, most
        with counting:
            inside += 1
            most = max(most, inside)
        wait()
        with counting:
            inside -= 1
        return plain(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        values = torch.zeros(256, dtype=torch.uint8)
        threads = [threading.Thread(target=writer.write, args=(name, 0, values)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    return most


def test_one_write_at_a_time_goes_into_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pause = threading.Event()
    with FolderWriter(ONE_FILE, tmp_path / "out") as writer:
        assert most_at_once(monkeypatch, writer, lambda: pause.wait(0.05)) == 1


def test_two_files_are_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2)
    with FolderWriter(TWO_FILES, tmp_path / "out") as writer:
        assert most_at_once(monkeypatch, writer, lambda: together.wait(PATIENCE)) == 2
