"""Merges that are killed, stopped or robbed of their journal, and gone on with: the same bytes, or a refusal."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import cuvee
from cuvee.checkpoint.equality import SAMPLE
from cuvee.checkpoint.stored import SafetensorsFile
from cuvee.errors import CuveeError, InputError, OutputExists, ResourceError
from cuvee.execute import Progress
from tests.support.command_line import call, environment
from tests.support.command_line import command as words
from tests.support.forks import Forks, forks
from tests.support.interrupted import kill_after, lines, merge_on, stop
from tests.support.lanes import rarely
from tests.support.merging import decoder, files, hidden, picture, recipe, write
from tests.support.small_disk import make_read_only, mounted
from tests.support.yard import Yard, copied

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
SIZES: dict[str, int] = {"width": 64, "vocabulary": 1500}
TILE = 1024
STAGED = Path(".out.cuvee-partial/model.safetensors")
JOURNAL = ".out.cuvee-journal"


@pytest.fixture(scope="module")
def forked() -> Iterator[Forks]:
    with forks("tests.support.interrupted") as made:
        yield made


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models of about 240 tiles, and what every recipe makes of them."""
    root = tmp_path_factory.mktemp("built")
    for seed, name in enumerate(("base", "a", "b")):
        write(root / name, decoder(seed, **SIZES))
    for method in ("ties", "dare_ties", "linear"):
        path = Yard(root).file(recipe(method, "base", "a", "b"), f"{method}.yml")
        cuvee.merge(path, root / "made" / method, seed=3)
    return root


@pytest.fixture
def room(built: Path, tmp_path: Path) -> Yard:
    return copied(built, tmp_path)


def assert_made(room: Yard, built: Path, method: str = "ties") -> None:
    """The output is what an uninterrupted merge makes, and nothing else is left."""
    assert files(room.out) == files(built / "made" / method)
    assert hidden(room.root) == []


def go_on(room: Yard, method: str = "ties", **options: Any) -> cuvee.MergeResult:
    return cuvee.merge(room.root / f"{method}.yml", room.out, resume=True, **{"seed": 3, "tile": TILE, **options})


def stopped(room: Yard, writes: int, method: str = "ties") -> None:
    stop(room.root / f"{method}.yml", room.out, writes, seed=3, tile=TILE)


# --- going on


@pytest.mark.parametrize("method", ["dare_ties", *rarely("ties")])
def test_killed_at_random_moments(room: Yard, built: Path, forked: Forks, method: str) -> None:
    draw = random.Random(method)
    asked = room.root / f"{method}.yml"
    kills = most = 0
    for _ in range(20):
        options = {"seed": 3, "tile": draw.choice([1024, 3072]), "threads": draw.choice([1, 2, 3])}
        ended = kill_after(forked, asked, room.out, draw.randrange(1, 20), draw.random() / 200, options)
        kills, most = kills + (ended == -signal.SIGKILL), max(most, lines(room.out))
        if kills == 5:
            break
        if room.out.exists():  # it was faster than the kill
            assert files(room.out) == files(built / "made" / method)
            shutil.rmtree(room.out)
    assert most > 10
    assert forked.run(merge_on, asked, room.out, {"seed": 3}) == 0
    assert_made(room, built, method)


def test_what_a_kill_left_is_gone_on_with_although_nobody_had_asked_for_it(
    room: Yard, built: Path, forked: Forks
) -> None:
    options = {"resume": False, "seed": 3, "tile": TILE, "threads": 1}
    assert kill_after(forked, room.root / "ties.yml", room.out, 20, 0.0, options) == -signal.SIGKILL
    assert go_on(room).resumed_ranges >= 19
    assert_made(room, built)


@pytest.mark.parametrize(("first", "then"), [("threaded", "plain"), ("plain", "threaded")])
@pytest.mark.parametrize("method", ["linear", "ties"])
def test_either_runner_goes_on_from_the_other(room: Yard, built: Path, method: str, first: Any, then: Any) -> None:
    writes = 40 if first == "threaded" else 3
    stop(room.root / f"{method}.yml", room.out, writes, seed=3, tile=2048, runner=first)
    assert go_on(room, method, runner=then).resumed_ranges == writes
    assert_made(room, built, method)


def test_a_tile_that_is_finished_in_part_is_done_in_part(room: Yard, built: Path) -> None:
    stopped(room, 50)
    found = go_on(room, tile=10_240, threads=2)
    assert (found.resumed_ranges, found.resumed_bytes) == (50, 50 * TILE * 4)
    assert_made(room, built)


def test_what_is_finished_is_not_read_again(room: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(room, 200)
    noted = [json.loads(line) for line in (room.root / JOURNAL).read_text().splitlines()[1:]]
    done = {entry["tensor"] for entry in noted}
    read: set[str] = set()
    read_file = SafetensorsFile.read

    def noting(file: SafetensorsFile, name: str, start: int, stop: int) -> Tensor:
        if stop - start != SAMPLE:  # by which planning tells a head of its own from a copy
            read.add(name)
        return read_file(file, name, start, stop)

    monkeypatch.setattr(SafetensorsFile, "read", noting)
    found = go_on(room, "ties", tile=None)
    assert found.resumed_ranges == 200
    assert len(done) >= 5
    # the one that was being written is measured again
    assert len(done & read) == 1


def test_progress_begins_with_what_is_finished(room: Yard) -> None:
    stopped(room, 30)
    told: list[Progress] = []
    found = go_on(room, progress=told.append, threads=1)
    assert [told[0].done, told[-1].done] == [30 * TILE * 4, found.nbytes - len_of_header(room.out)]
    assert [p.done for p in told] == sorted(p.done for p in told)


def len_of_header(out: Path) -> int:
    return 8 + int.from_bytes((out / "model.safetensors").read_bytes()[:8], "little")


def test_with_nothing_to_resume_it_is_an_ordinary_merge(room: Yard, built: Path, capsys: Any) -> None:
    ran = call(capsys, "merge", room.root / "ties.yml", "-o", room.out, "--seed", 3, "--resume", "--json")
    assert ran.code == 0
    assert ran.json["resumed"] == {"ranges": 0, "bytes": 0, "was_complete": False}
    assert_made(room, built)


def test_resume_of_a_run_that_replaces_a_model(room: Yard, built: Path) -> None:
    cuvee.merge(room.root / "linear.yml", room.out)
    before = files(room.out)
    stop(room.root / "ties.yml", room.out, 20, seed=3, tile=TILE, overwrite=True)
    assert files(room.out) == before
    with pytest.raises(OutputExists):
        go_on(room)
    assert go_on(room, overwrite=True).resumed_ranges == 20
    assert_made(room, built)


def test_a_run_killed_between_setting_the_old_output_aside_and_the_new_one_in(room: Yard, built: Path) -> None:
    cuvee.merge(room.root / "linear.yml", room.out)
    stop(room.root / "ties.yml", room.out, 20, seed=3, tile=TILE, overwrite=True)
    room.out.rename(room.root / ".out.cuvee-old")
    with pytest.raises(OutputExists):
        go_on(room)
    assert go_on(room, overwrite=True).resumed_ranges == 20
    assert_made(room, built)


def test_what_another_run_left_beside_the_weights_does_not_stay(room: Yard, built: Path) -> None:
    stopped(room, 10)
    staging = room.root / ".out.cuvee-partial"
    (staging / "old.json").write_text("{}")
    (staging / "sub").mkdir()
    (staging / "config.json").symlink_to(room.root / "a" / "config.json")
    go_on(room)
    assert_made(room, built)


def test_without_resume_it_begins_again(room: Yard, built: Path) -> None:
    stopped(room, 10)
    found = cuvee.merge(room.root / "ties.yml", room.out, seed=3)
    assert found.resumed_ranges == 0
    assert_made(room, built)


# --- damage


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_a_byte_that_changed_in_the_staging_folder_is_written_again(room: Yard, built: Path) -> None:
    stopped(room, 50)
    end = (room.root / STAGED).stat().st_size - 1
    header = len_of_header(built / "made" / "ties")
    for at in range(header, end, 4 * TILE * 10):
        flip(room.root / STAGED, at)
    assert 30 <= go_on(room).resumed_ranges < 50
    assert_made(room, built)


def test_a_journal_that_is_torn_or_damaged(room: Yard, built: Path) -> None:
    stopped(room, 50)
    path = room.root / JOURNAL
    flip(path, path.stat().st_size // 2)
    os.truncate(path, path.stat().st_size - 7)
    assert go_on(room).resumed_ranges == 48
    assert_made(room, built)


@pytest.mark.parametrize("lost", ["staging", "journal", "header", *rarely("file", "first line", "size")])
def test_half_of_what_was_left_is_nothing(room: Yard, built: Path, lost: str) -> None:
    stopped(room, 50)
    staged, journal = room.root / STAGED, room.root / JOURNAL
    deeds: dict[str, Callable[[], object]] = {
        "staging": lambda: shutil.rmtree(staged.parent),
        "file": staged.unlink,
        "journal": journal.unlink,
        "first line": lambda: os.truncate(journal, 20),
        "size": lambda: os.truncate(staged, staged.stat().st_size - 1),
        "header": lambda: flip(staged, 30),
    }
    deeds[lost]()
    assert go_on(room).resumed_ranges == 0
    assert_made(room, built)


def test_a_journal_that_cannot_be_written_is_refused_and_kept(room: Yard, built: Path) -> None:
    with mounted(room.root / "disk", "size=8m") as disk:
        out = disk / "out"
        stop(room.root / "ties.yml", out, 50, seed=3, tile=TILE)
        make_read_only(disk)
        before = picture(disk)
        with pytest.raises(ResourceError) as caught:
            cuvee.merge(room.root / "ties.yml", out, resume=True, seed=3)
        assert caught.value.code == "not-writable"
        assert picture(disk) == before
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        assert cuvee.merge(room.root / "ties.yml", out, resume=True, seed=3).resumed_ranges == 50
        assert files(out) == files(built / "made" / "ties")


def test_a_disk_that_is_full_for_a_while(room: Yard, built: Path) -> None:
    with mounted(room.root / "disk", "size=1m") as disk:
        filler = disk / "filler"

        def fill(progress: Progress) -> None:
            if progress.done > 100_000 and not filler.exists():
                with filler.open("wb", buffering=0) as file, suppress(OSError):
                    while True:
                        file.write(b"x" * 4096)

        options: dict[str, Any] = {"resume": True, "seed": 3, "tile": TILE, "progress": fill}
        with pytest.raises(ResourceError) as caught:
            cuvee.merge(room.root / "ties.yml", disk / "out", **options)
        assert caught.value.code == "disk-full"
        assert "--resume" in str(caught.value.faults[0].hint)
        assert (disk / JOURNAL).exists()
        filler.unlink()
        found = cuvee.merge(room.root / "ties.yml", disk / "out", resume=True, seed=3, tile=TILE)
        assert found.resumed_bytes > 90_000
        assert files(disk / "out") == files(built / "made" / "ties")
        assert hidden(disk) == []


# --- refusals


def refused(room: Yard, kind: type[CuveeError], *said: str, asked: str = "ties", **options: Any) -> None:
    """Going on is refused with these words, and what was left stays as it is."""
    before = picture(room.root)
    with pytest.raises(kind) as caught:
        go_on(room, asked, **options)
    assert caught.value.code == "resume-mismatch"
    assert [word for word in said if word not in str(caught.value)] == [], str(caught.value)
    assert "without --resume" in str(caught.value)
    assert picture(room.root) == before


def test_another_job_is_refused_and_the_first_one_can_still_go_on(room: Yard, built: Path) -> None:
    stopped(room, 50)
    edited = recipe("ties", "base", "a", "b")
    edited["models"][1]["parameters"]["density"] = 0.6
    room.file(edited, "edited.yml")
    refused(
        room, ResourceError, "the recipe was edited", "models[1].parameters.density` was 0.7, is 0.6", asked="edited"
    )
    refused(room, ResourceError, "merge_method", asked="linear")
    refused(room, ResourceError, "`seed` was 3, is 4", seed=4)
    refused(room, ResourceError, "`allow_nonfinite` was false, is true", allow_nonfinite=True)
    refused(room, ResourceError, "laid out otherwise", "model-00001-of-00003.safetensors", shard_size=300_000)
    assert go_on(room, threads=2, tile=None).resumed_ranges == 50
    assert_made(room, built)


def test_all_differences_are_told_at_once(room: Yard) -> None:
    stopped(room, 5)
    refused(room, ResourceError, "the recipe was edited", "`seed` was 3, is 4", asked="linear", seed=4)


def change(path: Path, at: int, *, put_back: bool) -> None:
    before = path.stat()
    time.sleep(0.02)  # the clock of a file system may tick in hundredths
    flip(path, at)
    if put_back:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("put_back", [False, True], ids=["changed", "time put back"])
def test_an_input_that_changed_is_refused(room: Yard, put_back: bool) -> None:
    stopped(room, 130)
    path = room.root / "b" / "model.safetensors"
    change(path, path.stat().st_size // 4, put_back=put_back)
    kind, fact = (InputError, "has changed since") if put_back else (ResourceError, "mtime_ns` was")
    refused(room, kind, fact)


def test_an_input_of_another_size_is_refused(room: Yard) -> None:
    stopped(room, 10)
    save_file(decoder(5, **SIZES, layers=3), room.root / "b" / "model.safetensors", {"format": "pt"})
    with pytest.raises(CuveeError):
        go_on(room)
    assert (room.root / JOURNAL).exists()


def test_rights_links_and_copies_of_the_same_content_change_nothing(room: Yard, built: Path) -> None:
    cut = 1 << 17
    asked = room.root / "ties.yml"
    for seed, name in enumerate(("base", "a", "b")):
        tensors = {f"w{i}": torch.randn(cut * 2 + 5, generator=torch.Generator().manual_seed(seed)) for i in range(3)}
        save_file(tensors, room.root / name / "model.safetensors", {"format": "pt"})
    cuvee.merge(asked, room.root / "whole", seed=3)
    stop(asked, room.out, 5, seed=3, tile=cut)
    (room.root / "a" / "model.safetensors").chmod(0o600)
    os.link(room.root / "b" / "model.safetensors", room.root / "link")
    found = go_on(room, tile=cut)
    assert found.resumed_ranges == 3  # the first tensor; the second is measured and written again
    assert files(room.out) == files(room.root / "whole")


def test_what_changed_before_it_was_used_is_used_as_it_is(room: Yard) -> None:
    """Its time put back, it is like a change of rights; the result is that of the inputs as they are now."""
    asked = room.root / "ties.yml"
    stopped(room, 20)
    path = room.root / "b" / "model.safetensors"
    untouched = {json.loads(line)["tensor"] for line in (room.root / JOURNAL).read_text().splitlines()[1:]}
    tensors = load_file(path)
    last = next(name for name in reversed(tensors) if name not in untouched)
    header = json.loads(path.read_bytes()[8 : len_of_file_header(path)])
    change(path, len_of_file_header(path) + header[last]["data_offsets"][0], put_back=True)
    go_on(room)
    assert files(room.out) == files(cuvee.merge(asked, room.root / "again", seed=3).path)


def len_of_file_header(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


# --- an output that is complete


def test_an_output_that_the_same_merge_made_is_left_alone(room: Yard, built: Path, capsys: Any) -> None:
    go_on(room)
    before = picture(room.out)
    shutil.copytree(room.out, room.root / ".out.cuvee-partial")  # what a kill just after publishing may leave
    (room.root / JOURNAL).write_text("x")
    ran = call(capsys, "merge", room.root / "ties.yml", "-o", room.out, "--seed", 3, "--resume")
    assert (ran.code, ran.out) == (0, f"nothing to do: {room.out} was made by the same merge\n")
    assert picture(room.out) == before
    assert go_on(room, overwrite=True).was_complete
    assert_made(room, built)


@pytest.mark.parametrize("what", ["seed", "input", "weights", "record", *rarely("recipe", "config", "sums")])
def test_an_output_of_another_merge_is_in_the_way(room: Yard, what: str) -> None:
    go_on(room)
    options: dict[str, Any] = {"seed": {"seed": 4}, "recipe": {"method": "linear"}, "sums": {"sha256": True}}.get(
        what, {}
    )
    deeds: dict[str, Callable[[], object]] = {
        "input": lambda: change(room.root / "b" / "model.safetensors", 5000, put_back=True),
        "config": lambda: (room.root / "base" / "tokenizer.json").write_text("{}"),
        "weights": lambda: os.truncate(room.out / "model.safetensors", 5000),
        "record": lambda: (room.out / "cuvee.json").write_text("{}"),
    }
    deeds.get(what, lambda: None)()
    with pytest.raises(OutputExists):
        go_on(room, **options)


@pytest.mark.parametrize("what", ["link", "renamed", "root"])
def test_an_output_of_other_models_of_the_same_names_is_in_the_way(room: Yard, what: str) -> None:
    older = room.root / "older"
    older.mkdir()
    write(older / "b", decoder(7, **SIZES))
    go_on(room)
    if what == "root":
        for name in ("base", "a"):
            (room.root / name).rename(older / name)
        shutil.copy(room.root / "ties.yml", older)
        with pytest.raises(OutputExists):
            cuvee.merge(older / "ties.yml", room.out, seed=3, resume=True)
        return
    (room.root / "b").rename(room.root / "newer")
    if what == "link":
        (room.root / "b").symlink_to(older / "b")
    else:
        (older / "b").rename(room.root / "b")
    with pytest.raises(OutputExists):
        go_on(room)


def test_an_output_of_models_that_were_copied_is_left_alone(room: Yard) -> None:
    go_on(room)
    shutil.copytree(room.root / "b", room.root / "copy")
    shutil.rmtree(room.root / "b")
    (room.root / "copy").rename(room.root / "b")
    assert go_on(room).was_complete


# --- what is said


@pytest.mark.parametrize(
    "name", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.slow), pytest.param("SIGHUP", marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_a_request_to_end_says_how_to_go_on(tmp_path: Path, name: str) -> None:
    for seed, model in enumerate(("base", "a", "b")):
        write(tmp_path / model, decoder(seed, width=512, vocabulary=3000))
    asked = Yard(tmp_path).file(recipe("ties", "base", "a", "b"))
    cuvee.merge(asked, tmp_path / "whole")
    line = words("merge", asked, "-o", tmp_path / "out", "--threads", 1, "--tile", TILE, "--resume")
    process = subprocess.Popen(line, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while lines(tmp_path / "out") < 5:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    said = "interrupted; what is finished is kept: run the same command again with --resume\n"
    assert process.communicate(timeout=60) == ("", said)
    assert process.returncode == 130
    found = cuvee.merge(asked, tmp_path / "out", resume=True)
    assert found.resumed_ranges >= 4
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_merge_that_can_never_succeed_leaves_nothing(room: Yard) -> None:
    tensors = load_file(room.root / "b" / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, room.root / "b" / "model.safetensors", {"format": "pt"})
    before = picture(room.root)
    with pytest.raises(InputError, match="must be finite"):
        go_on(room)
    assert picture(room.root) == before
