"""Disks that fill up, wear out or lose power in the midst of a merge: the old output stays, byte for byte."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

import cuvee
from cuvee.errors import InputError, ResourceError
from tests.support.command_line import call
from tests.support.faulty_disk import FaultyDisk
from tests.support.forks import ROOT, Forks, forks
from tests.support.merging import decoder, files, hidden, linear, picture, recipe
from tests.support.small_disk import mounted
from tests.support.yard import Yard

ADVICE = {
    errno.ENOSPC: ("disk-full", "free some space"),
    errno.EDQUOT: ("disk-full", "free some space"),
    errno.EIO: ("io-error", "look at the path"),
    errno.EROFS: ("not-writable", "choose a folder"),
    errno.EFBIG: ("file-too-large", "smaller shards"),
}
STAGES: dict[str, Callable[[str, str], bool]] = {
    "write": lambda name, path: name == "pwrite",
    "make durable": lambda name, path: name == "fsync" and "cuvee-partial" in path,
    "publish": lambda name, path: name == "rename",
    "allocate": lambda name, path: name == "posix_fallocate",
    "make the folder": lambda name, path: name == "mkdir",
}


@pytest.fixture
def disk(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    return FaultyDisk(monkeypatch, yard.root)


def unexchangeable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders cannot be exchanged here: the old one is set aside, and renames are Python's own."""
    monkeypatch.setattr("cuvee.checkpoint.staging._exchange", lambda *_: False)


@pytest.mark.parametrize("number", sorted(ADVICE), ids=errno.errorcode.get)
@pytest.mark.parametrize("stage", sorted(STAGES))
def test_an_error_at_any_stage(
    yard: Yard, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch, stage: str, number: int
) -> None:
    path = yard.file(linear("a", "b"))
    unexchangeable(monkeypatch)
    cuvee.merge(linear(yard.root / "b", yard.root / "base"), yard.out)
    before = picture(yard.root)
    disk.fail(number, STAGES[stage])
    with pytest.raises(ResourceError) as caught:
        cuvee.merge(path, yard.out, overwrite=True)
    disk.fail(0, lambda name, path: False)
    code, advice = ADVICE[number]
    assert (caught.value.codes, caught.value.exit_code) == ((code,), 5)
    assert "could not" in str(caught.value)
    assert str(yard.root) in str(caught.value)
    assert advice in str(caught.value.faults[0].hint)
    assert picture(yard.root) == before
    cuvee.merge(path, yard.out, overwrite=True)
    assert cuvee.verify(yard.out).ok
    assert hidden(yard.root) == []


def test_the_second_of_two_renames_fails(yard: Yard, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old output has been set aside by then, and is put back."""
    unexchangeable(monkeypatch)
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    before = picture(yard.root)
    disk.fail(errno.EIO, lambda name, path: name == "rename" and path.endswith("cuvee-partial"))
    with pytest.raises(ResourceError, match="publish"):
        cuvee.merge(linear(yard.root / "b", yard.root / "base"), yard.out, overwrite=True)
    assert picture(yard.root) == before


def test_the_parent_cannot_be_made_durable(yard: Yard, disk: FaultyDisk) -> None:
    """The output stands by then, whole; that it may not survive a power cut is told."""
    path = yard.file(linear("a", "b"))
    disk.fail(errno.EIO, lambda name, path: name == "fsync" and path == str(yard.root))
    with pytest.raises(ResourceError, match="publish") as caught:
        cuvee.merge(path, yard.out)
    assert caught.value.codes == ("io-error",)
    disk.fail(0, lambda name, path: False)
    assert cuvee.verify(yard.out).ok
    assert hidden(yard.root) == []


@pytest.mark.parametrize("which", ["a", "b"])
def test_an_input_that_cannot_be_read(yard: Yard, disk: FaultyDisk, which: str) -> None:
    path = yard.file(linear("a", "b"))
    cuvee.merge(path, yard.out)
    before = picture(yard.root)
    victim = str(yard.root / which / "model.safetensors")
    disk.fail(errno.EIO, lambda name, path: name == "preadv" and path == victim)
    with pytest.raises(InputError) as caught:
        cuvee.merge(path, yard.out, overwrite=True)
    assert (caught.value.codes, caught.value.exit_code) == (("io-error",), 4)
    assert victim in str(caught.value)
    assert "check the file" in str(caught.value.faults[0].hint)
    assert picture(yard.root) == before


def test_what_was_written_cannot_be_read_back(yard: Yard, disk: FaultyDisk) -> None:
    """Hashes of the output may be taken from what is on the disk; where they are not, nothing need be read."""
    path = yard.file(linear("a", "b"))
    before = picture(yard.root)
    disk.fail(errno.EIO, lambda name, path: name == "preadv" and "cuvee-partial" in path)
    try:
        cuvee.merge(path, yard.out, threads=1, tile=3)
    except ResourceError:
        assert picture(yard.root) == before
    else:
        disk.fail(0, lambda name, path: False)
        assert cuvee.verify(yard.out).ok


# --- full disks without reservation


@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
def test_a_disk_that_is_full_in_the_middle(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], overwrite: bool
) -> None:
    """A file system that cannot reserve blocks, and that tells of more room than it has: writing itself fails."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "cannot reserve")

    yard.model("large", decoder(3, width=160, vocabulary=200))
    path = yard.file(linear("large", "large/", weights=[1, 1]))
    small = yard.file(linear("a", "b"), "small.yml")
    with mounted(yard.root / "disk", "size=700k") as disk:
        if overwrite:
            cuvee.merge(small, disk / "out")
        before = picture(disk)
        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", refuse)
            usage = shutil.disk_usage(disk)._replace(free=10**12)
            patch.setattr(shutil, "disk_usage", lambda _: usage)
            ran = call(capsys, "merge", path, "-o", disk / "out", *(["--overwrite"] if overwrite else []))
        assert ran.code == 5
        assert "could not write" in ran.err
        assert "free some space" in ran.err
        assert picture(disk) == before
        cuvee.merge(small, disk / "out", overwrite=True)
        assert cuvee.verify(disk / "out").ok


# --- power cuts


@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
def test_the_order_in_which_things_become_durable(
    yard: Yard, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    """Files before their folder, folders before the rename, the parent after: at no instant is half a model named."""
    path = yard.file(linear("a", "b"))
    (yard.root / "a" / "sub").mkdir()
    (yard.root / "a" / "sub" / "vocab.txt").write_text("x")
    if overwrite:
        unexchangeable(monkeypatch)
        cuvee.merge(path, yard.out)
    disk.calls.clear()
    cuvee.merge(path, yard.out, overwrite=overwrite, shard_size=2000)
    staging = str(yard.root / ".out.cuvee-partial")
    synced = [path for name, path in disk.calls if name == "fsync"]
    renamed = next(i for i, call in enumerate(disk.calls) if call == ("rename", staging))
    last_write = max(i for i, (name, path) in enumerate(disk.calls) if name == "pwrite")
    written = {staging + "/" + name for name in files(yard.out)}
    assert Counter(synced[:-1]) == Counter([*written, staging + "/sub", staging])
    assert synced[-1] == str(yard.root)
    order = {path: i for i, (name, path) in enumerate(disk.calls) if name == "fsync"}
    assert last_write < min(order.values())
    assert order[staging + "/sub/vocab.txt"] < order[staging] < renamed < order[str(yard.root)]
    assert max(order[path] for path in (*written, staging + "/sub")) < order[staging]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_same_order_seen_from_outside(yard: Yard) -> None:
    """As the kernel sees it, with the exchange of folders that Python has no call for."""
    path = yard.file(linear("a", "b"))
    cuvee.merge(path, yard.out)
    trace = yard.root / "trace"
    watched = "trace=fsync,fdatasync,rename,renameat,renameat2,pwrite64"
    words = ["strace", "-f", "-y", "-e", watched, "-o", trace, sys.executable, "-m", "cuvee"]
    done = subprocess.run(
        [*words, "merge", path, "-o", yard.out, "--overwrite"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "PTRACE" in done.stderr or "ptrace" in done.stderr:
        pytest.skip("tracing is not allowed here")
    assert done.returncode == 0, done.stderr
    lines = [line for line in trace.read_text().splitlines() if str(yard.root) in line and "unfinished" not in line]
    kinds = [match[1] for line in lines if (match := re.search(r"\b(fsync|renameat2|rename|pwrite64)\(", line))]
    at = next(i for i, kind in enumerate(kinds) if kind.startswith("rename"))
    assert "pwrite64" not in kinds[kinds.index("fsync") :]
    assert kinds[:at].count("fsync") == len(files(yard.out)) + 1
    assert kinds[at:].count("fsync") == 1
    assert f"<{yard.root}>" in [line for line in lines if "fsync(" in line][-1]


# --- told to end


@pytest.fixture(scope="module")
def forked() -> Iterator[Forks]:
    with forks(__name__) as made:
        yield made


def merging(*words: str) -> int:
    """The command line, with ears for the signal that batch systems send."""
    from cuvee.cli import main

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return main(words)


@pytest.mark.slow
def test_told_to_end_at_random_moments(yard: Yard, forked: Forks) -> None:
    """From the first sign of work on: earlier, nothing has been touched."""
    for seed, name in enumerate("zxy"):
        yard.model(name, decoder(seed, layers=6, width=64), config=None)
    cuvee.merge(yard.file(linear("a", "b"), "old.yml"), yard.out)
    old, chance = files(yard.out), random.Random(5)
    path = yard.file(recipe("ties", "z", "x", "y"))
    words = ("merge", str(path), "-o", str(yard.out), "--overwrite", "--tile", "512", "--threads", "1")
    ends: Counter[int] = Counter()
    for _ in range(3):
        child = forked.start(merging, *words)
        while not (yard.root / ".out.cuvee-partial" / "model.safetensors").exists():
            time.sleep(0.001)
        time.sleep(0.2 * chance.random())
        os.kill(child, signal.SIGTERM)
        code = forked.wait(child)
        ends[code] += 1
        assert code in (0, 130)
        assert hidden(yard.root) == []
        is_new = files(yard.out) != old
        assert is_new or code == 130
        if is_new:  # with 130, the request came in the instant after it was complete
            assert cuvee.verify(yard.out).ok
            shutil.rmtree(yard.out)
            cuvee.merge(yard.root / "old.yml", yard.out)
    assert ends[130] > 0
