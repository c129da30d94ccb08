"""Weight files while they are written: one call into a file at a time, and durable before the end."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cuvee.checkpoint import FolderWriter, plan_layout, syncing
from cuvee.checkpoint.syncing import SyncAhead
from cuvee.errors import ResourceError
from cuvee.types import TensorSpec

SPECS = [TensorSpec("a", "uint8", (256,)), TensorSpec("b", "uint8", (256,))]
ONE_FILE, TWO_FILES = plan_layout(SPECS, 1000), plan_layout(SPECS, 256)
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


def test_what_could_not_be_made_durable_is_never_published(
    tmp_path: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system tells an error once: to the thread, and not to the call at the end."""
    met = threading.Event()

    def fail(_descriptor: int) -> None:
        met.set()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)
    with FolderWriter(ONE_FILE, tmp_path / "out") as writer:
        write_all(writer)
        assert met.wait(PATIENCE)
        with pytest.raises(ResourceError) as caught:
            writer.publish()
    assert caught.value.codes == ("io-error",)
    assert f"could not make durable {tmp_path / 'out' / 'model.safetensors'}" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


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
    assert ahead.finish() is None
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
