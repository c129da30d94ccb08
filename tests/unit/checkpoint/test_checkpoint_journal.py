"""The journal: what is written is read back, what is damaged says nothing, and another job is told by name."""

from __future__ import annotations

import errno
import json
import os
import tracemalloc
from pathlib import Path
from typing import NoReturn

import pytest
import torch
import xxhash

from cuvee.checkpoint import FolderWriter, digest_tensor, plan_layout
from cuvee.checkpoint.attached import AttachedWriter
from cuvee.checkpoint.digest import CHUNK, TensorHash, digest_cuts
from cuvee.checkpoint.flat import tensor_bytes
from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.job import differences, job_faults, job_of, touched_files
from cuvee.checkpoint.journal import Entry, Journal, disjoint, read_journal
from cuvee.checkpoint.staged import StagedFiles
from cuvee.errors import ResourceError
from cuvee.types import TensorSpec
from tests.support.checkpoints import tree
from tests.support.small_disk import make_read_only, mounted

ONE = Entry("model.w", 0, 1024, b"a" * 16, (b"b" * 16, b""))
TWO = Entry("ü\ud800", 1024, 1030, b"c" * 16, (b"d" * 16, b"e" * 16))
JOB = {"seed": 3, "inputs": {}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of two entries."""
    journal = Journal(tmp_path / "journal", JOB)
    for entry in (ONE, TWO):
        journal.add(entry)
    journal.close()
    return tmp_path / "journal"


def entries(path: Path) -> tuple[Entry, ...]:
    past = read_journal(path)
    assert past is not None
    return past.entries


def test_what_is_noted_is_read_back(path: Path) -> None:
    past = read_journal(path)
    assert past is not None
    assert (past.job, past.entries, past.length) == (JOB, (ONE, TWO), path.stat().st_size)
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_a_line_that_was_cut_off_says_nothing_and_is_written_over(path: Path) -> None:
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for cut in range(1, last + 1):
        path.write_bytes(whole[:-cut])
        past = read_journal(path)
        assert past is not None
        assert (past.entries, past.length) == ((ONE,), len(whole) - last)
        again = Journal.again(path, past.length)
        again.add(TWO)
        again.close()
        assert path.read_bytes() == whole


@pytest.mark.parametrize("number", [0, 1, 2])
def test_no_byte_of_a_journal_can_change_unnoticed(path: Path, number: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    for at in range(0, len(lines[number]) - 1, 3):
        spoilt = bytearray(lines[number])
        spoilt[at] ^= 1
        path.write_bytes(b"".join([*lines[:number], bytes(spoilt), *lines[number + 1 :]]))
        if number == 0:
            with pytest.raises(ResourceError) as caught:
                read_journal(path)
            assert caught.value.code == "resume-mismatch"
        else:
            assert entries(path) == ((TWO,) if number == 1 else (ONE,))


def test_lines_that_a_power_cut_left_empty_say_nothing(path: Path) -> None:
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\0" * (len(second) - 1) + b"\n" + third)
    assert entries(path) == (TWO,)
    path.write_bytes(first + second + b"\0" * 5000)
    assert entries(path) == (ONE,)


@pytest.mark.parametrize("kept", [0, 1, 20])
def test_a_journal_that_was_only_begun_is_none(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    assert read_journal(path) is None
    path.unlink()
    assert read_journal(path) is None


def test_the_journal_of_another_version_is_not_read(path: Path) -> None:
    body = b'{"format":2,"job":{}'
    path.write_bytes(body + b',"check":"' + xxhash.xxh3_64_hexdigest(body).encode() + b'"}\n')
    with pytest.raises(ResourceError, match="another version of Cuvee") as caught:
        read_journal(path)
    assert caught.value.code == "resume-mismatch"
    assert "without --resume" in str(caught.value.faults[0].hint)


def add_many(journal: Journal) -> None:
    for _ in range(200):
        journal.add(ONE)


def test_a_journal_on_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=16k") as disk:
        journal = Journal(disk / "journal", JOB)
        (disk / "filler").write_bytes(b"x" * 8192)
        with pytest.raises(ResourceError) as caught:
            add_many(journal)
        journal.close()
        assert caught.value.code == "disk-full"
        assert set(entries(disk / "journal")) == {ONE}


def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        Journal(disk / "journal", JOB).close()
        make_read_only(disk)
        with pytest.raises(ResourceError) as caught:
            Journal.again(disk / "journal", 10)
        assert caught.value.code == "not-writable"
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResourceError, match="could not read the journal"):
        read_journal(tmp_path / "folder")


def test_a_journal_behind_a_link_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ResourceError):
        Journal(tmp_path / "link", JOB)
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "elsewhere").write_bytes(b"mine")
    with pytest.raises(ResourceError):
        Journal.again(tmp_path / "link", 2)
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


def test_ranges_that_overlap_count_once() -> None:
    def noted(*ranges: tuple[int, int]) -> list[Entry]:
        return [Entry("w", start, stop, b"") for start, stop in ranges]

    assert list(disjoint(noted((4, 6), (0, 2), (0, 4), (3, 5), (6, 7)))) == noted((0, 4), (4, 6), (6, 7))
    assert len(list(disjoint([*noted((0, 4)), Entry("v", 0, 4, b"")]))) == 2


# --- fingerprints of ranges


@pytest.mark.parametrize("numel", [5, CHUNK, CHUNK + 1, 3 * CHUNK - 7])
@pytest.mark.parametrize("tile", [1024, CHUNK, 2 * CHUNK])
def test_a_tensor_is_hashed_from_the_fingerprints_of_its_ranges(numel: int, tile: int) -> None:
    tensor = torch.arange(numel, dtype=torch.int32)
    found = TensorHash(numel)
    for start in reversed(range(0, numel, tile)):
        stop = min(start + tile, numel)
        piece = tensor[start:stop].clone()
        digests = digest_cuts(start, tensor_bytes(piece), 4)
        found.take(start, stop, digests)
        assert found.known(start, stop) == digests
    whole = tile >= CHUNK or numel <= tile
    assert found.hexdigest() == (digest_tensor(tensor) if whole else None)
    assert (found.known(0, 1) == b"") == (numel > 1)


# --- jobs


def job(**changes: object) -> dict[str, object]:
    file = InputFile("m/w.safetensors", {"size": 8, "mtime_ns": 5}, {"inode": 1, "ctime_ns": 5}, frozenset("w"))
    file = InputFile(**{**{f: getattr(file, f) for f in ("name", "fixed", "loose", "tensors")}, **changes})
    settings = {"recipe": {"merge_method": "linear", "models": [{"parameters": {"weight": 1}}]}, "seed": 3}
    return job_of(settings, [1], plan_layout([TensorSpec("w", "float32", (2,))], 100), {"0: m": [file]})


def test_the_same_job_wherever_its_inputs_are_called_from() -> None:
    assert job_faults(job(), job(name="elsewhere/w.safetensors", loose={"inode": 2})) == []
    assert touched_files(job(), job()) == frozenset()
    assert touched_files(job(), job(loose={"inode": 1, "ctime_ns": 6})) == {"m/w.safetensors"}


def test_what_makes_it_another_job_is_named() -> None:
    was, now = job(), job(fixed={"size": 8, "mtime_ns": 6})
    now["recipe"]["models"][0]["parameters"]["weight"] = 0.5  # type: ignore[index]
    now["seed"] = 4
    now["steps"] = "other"
    found = {fault.subject: fault for fault in job_faults(was, now)}
    assert set(found) == {"recipe", "seed", "inputs"}
    assert "the recipe was edited" in found["recipe"].message
    assert "`models[0].parameters.weight` was 1, is 0.5" in found["recipe"].message
    assert "`seed` was 3, is 4" in found["seed"].message
    assert "`0: m[0].mtime_ns` was 5, is 6" in found["inputs"].message
    assert {fault.code for fault in found.values()} == {"resume-mismatch"}
    assert all("without --resume" in str(fault.hint) for fault in found.values())


def test_steps_are_told_of_only_where_nothing_else_explains_them() -> None:
    assert [fault.subject for fault in job_faults(job(), {**job(), "steps": "other"})] == ["steps"]


def test_differences_of_data() -> None:
    assert list(differences({"a": 1}, {"a": 1.0})) == []
    assert list(differences([1], [1, 2], "a")) == ["`a` was [1], is [1, 2]"]
    assert next(differences({}, {"a": "x" * 100})).endswith("…")


# --- several processes


def test_workers_write_into_a_folder_that_another_run_publishes(tmp_path: Path) -> None:
    values = torch.arange(4096.0)
    layout = plan_layout([TensorSpec("w", "float32", (4096,))], 1 << 20)
    out = tmp_path / "out"

    def put(writer: FolderWriter | AttachedWriter, start: int, stop: int) -> Entry:
        piece = values[start:stop].clone()
        writer.write("w", start, piece)
        entry = Entry("w", start, stop, digest_cuts(start, tensor_bytes(piece), 4))
        writer.note(entry)
        return entry

    with FolderWriter(layout, out, job=job(), resume=True) as driver:
        noted = [put(driver, 0, 1024)]
        for i in (1, 2):
            with AttachedWriter(layout, out, job=job(), worker=str(i)) as worker:
                noted.append(put(worker, 1024 * i, 1024 * (i + 1)))
        with AttachedWriter(layout, out, job=job(), worker="2") as worker:  # it died and came again
            noted.append(put(worker, 3072, 4096))
        with (
            pytest.raises(ResourceError, match="seed"),
            AttachedWriter(layout, out, job={**job(), "seed": 4}, worker="2"),
        ):
            pass
        assert [driver.noted_by(name) for name in "123"] == [(noted[1],), tuple(noted[2:]), ()]
    assert driver.kept
    with FolderWriter(layout, out, job=job(), resume=True) as driver:
        assert set(driver.past) == set(noted)
        assert all(map(driver.holds, driver.past))
        for entry in driver.past:
            driver.take_over(entry)
        driver.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert tree(out)["model.safetensors"][-values.nbytes :] == values.numpy().tobytes()


def test_a_worker_without_a_folder_to_write_into(tmp_path: Path) -> None:
    layout = plan_layout([TensorSpec("w", "float32", (4,))], 1 << 20)
    with (
        pytest.raises(ResourceError, match="no output of this layout has been begun"),
        AttachedWriter(layout, tmp_path / "out", job=job(), worker="1"),
    ):
        pass
    assert not any(tmp_path.iterdir())


def test_a_long_range_is_compared_without_being_held(tmp_path: Path):
    layout = plan_layout([TensorSpec("a", "float32", (40 * CHUNK + 7,))], 1 << 40)
    values = torch.arange(40 * CHUNK + 7, dtype=torch.float32)
    digests = digest_cuts(0, tensor_bytes(values), 4)
    with FolderWriter(layout, tmp_path / "out") as writer:
        writer.write("a", 0, values)
        tracemalloc.start()
        assert writer.holds(Entry("a", 0, len(values), digests, ()))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert not writer.holds(Entry("a", 0, len(values), digests[:-1] + b"x", ()))
        assert not writer.holds(Entry("a", 0, len(values), digests[:-16], ()))
    assert most < 2 * 4 * CHUNK


# --- letting go


TWO_FILES = plan_layout([TensorSpec(name, "float32", (64,)) for name in "vw"], 300)


def held() -> list[str]:
    """What this process has open under a folder of an output."""
    links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return [str(link) for link in links if "out.cuvee" in str(link)]


def broken(*_: object) -> NoReturn:
    raise OSError(errno.EIO, "bad")


def test_a_journal_that_cannot_be_closed_keeps_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close = Journal.close

    def fail(journal: Journal) -> None:
        close(journal)
        broken()

    monkeypatch.setattr(Journal, "close", fail)
    with FolderWriter(TWO_FILES, tmp_path / "out", job=job()):
        pass
    assert not any(tmp_path.iterdir())


def test_one_file_that_cannot_be_closed_leaves_no_other_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close, failed = os.close, []

    def once(descriptor: int) -> None:
        close(descriptor)
        if not failed:
            failed.append(descriptor)
            broken()

    (tmp_path / "out.cuvee").mkdir()
    files = StagedFiles(TWO_FILES, tmp_path / "out.cuvee", tmp_path)
    files.create()
    assert len(held()) == 2
    monkeypatch.setattr(os, "close", once)
    with pytest.raises(ResourceError, match="could not close"):
        files.close()
    assert held() == []


@pytest.mark.parametrize("what", ["open", "header"])
def test_an_attached_writer_that_cannot_enter_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    with FolderWriter(TWO_FILES, tmp_path / "out", job=job()) as driver:
        if what == "open":
            last = driver.staging / TWO_FILES.shards[-1].name
            last.unlink()
            last.mkdir()
        else:
            monkeypatch.setattr(os, "pread", broken)
        before = sorted(held())
        with pytest.raises(ResourceError), AttachedWriter(TWO_FILES, tmp_path / "out", job=job(), worker="1"):
            pass
        assert sorted(held()) == before
