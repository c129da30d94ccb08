"""Writing when the machine does not go along: full and small disks, limits, read-only places, kills, rivals."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cuvee.checkpoint import FolderWriter, SideFile, plan_layout
from cuvee.errors import InputError, OutputExists, ResourceError
from cuvee.execute.probe import disk_speeds
from cuvee.types import TensorSpec
from tests.support.checkpoints import tree
from tests.support.small_disk import make_read_only, mounted

ONE = plan_layout([TensorSpec("a", "float32", (4,))], 1000)


def write_one(out, layout=ONE, **settings):
    with FolderWriter(layout, out, **settings) as writer:
        for spec in layout.specs:
            writer.write(spec.name, 0, torch.zeros(spec.numel))
        writer.publish()


def refusal(out, layout=ONE, **settings):
    with pytest.raises(ResourceError) as caught:
        write_one(out, layout, **settings)
    assert [path.name for path in out.parent.iterdir()] == []
    assert str(out) in str(caught.value) or str(out.parent) in str(caught.value)
    return caught.value


def run(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


ENTER = """
import sys
from pathlib import Path
from cuvee.checkpoint import FolderWriter, plan_layout
from cuvee.errors import CuveeError
from cuvee.types import TensorSpec
layout = plan_layout([TensorSpec("a", "uint8", (1 << 20,)), TensorSpec("b", "uint8", (8,))], 1 << 20)
try:
    with FolderWriter(layout, Path(sys.argv[1])) as writer:
        writer.add_text("config.json", "{}")
        print("ready", flush=True)
        sys.stdin.read()
except CuveeError as error:
    print(*error.codes, error)
"""


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    error = refusal(tmp_path / "out")
    assert error.codes == ("disk-full",)
    assert f"needs {ONE.nbytes} B" in str(error)
    assert "10 B are free" in str(error)
    assert error.faults[0].hint


@pytest.mark.parametrize("free", [True, False], ids=["found out on allocating", "found out on asking"])
def test_a_small_disk_is_full(tmp_path, monkeypatch, free):
    layout = plan_layout([TensorSpec(name, "float32", (100_000,)) for name in "abc"], 500_000)
    with mounted(tmp_path / "disk", "size=1m") as disk:
        if free:
            usage = shutil.disk_usage(disk)._replace(free=10**12)
            monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        assert refusal(disk / "out", layout).codes == ("disk-full",)


def test_a_side_file_that_fills_the_disk_is_a_full_disk(tmp_path):
    (tmp_path / "big").write_bytes(bytes(2_000_000))
    with mounted(tmp_path / "disk", "size=1m") as disk:
        with pytest.raises(ResourceError) as caught, FolderWriter(ONE, disk / "out") as writer:
            writer.add_file(SideFile("big", tmp_path / "big"))
        assert caught.value.codes == ("disk-full",)
        assert list(disk.iterdir()) == []


def test_a_limit_on_the_size_of_files_is_told(tmp_path):
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
    said, _ = run(limit + ENTER, tmp_path / "out").communicate()
    assert said.startswith("file-too-large")
    assert "model-00001-of-00002.safetensors" in said
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_place_is_told(tmp_path):
    with mounted(tmp_path / "disk", "size=1m") as disk:
        make_read_only(disk)
        assert refusal(disk / "out").codes == ("not-writable",)
        with pytest.raises(ResourceError) as caught:
            write_one(disk / "new" / "out")
        assert caught.value.codes == ("not-writable",)


def test_a_place_that_cannot_hold_files_is_told(tmp_path):
    with pytest.raises(ResourceError) as caught:
        write_one(Path("/proc/self/out"))
    assert caught.value.code in ("not-writable", "io-error")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk-full"),
        (errno.EDQUOT, "disk-full"),
        (errno.EFBIG, "file-too-large"),
        (errno.EROFS, "not-writable"),
        (errno.EACCES, "not-writable"),
        (errno.ENOMEM, "memory"),
        (errno.EIO, "io-error"),
        (errno.EMFILE, "io-error"),
    ],
)
@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "fsync", "mkdir", "rename", "open"])
def test_whatever_call_fails_the_cause_is_told_and_no_trace_left(tmp_path, monkeypatch, call, number, code):
    out = tmp_path / "out"
    plain = getattr(os, call)

    def fail(*arguments, **settings):
        if call == "open" and ".cuvee-" not in str(arguments[0]):
            return plain(*arguments, **settings)  # only the writer's own files
        raise OSError(number, os.strerror(number), str(out))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        error = refusal(out)
    assert error.codes == (code,)
    assert error.faults[0].subject
    if number == errno.EMFILE:
        assert "larger shards" in str(error)
    write_one(out)  # and the next run succeeds


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_cannot_allocate_is_written_to_all_the_same(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    write_one(tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").stat().st_size == ONE.nbytes


def test_a_system_that_cannot_allocate_is_written_to_all_the_same(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    write_one(tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").stat().st_size == ONE.nbytes
    assert disk_speeds(tmp_path, blocks=1).write > 0


def test_a_file_system_without_locks_is_written_to_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", refuse)
    write_one(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folders_that_cannot_be_made_durable_are_left_at_that(tmp_path, monkeypatch):
    plain = os.fsync

    def sync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            raise OSError(errno.EINVAL, "not here")
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    write_one(tmp_path / "out")


def test_every_file_is_made_durable_before_it_is_visible(tmp_path, monkeypatch):
    done, plain, rename = [], os.fsync, Path.rename
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(Path(f"/proc/self/fd/{fd}").readlink()) or plain(fd))
    monkeypatch.setattr(Path, "rename", lambda self, to: done.append("rename") or rename(self, to))
    layout = plan_layout([TensorSpec("a", "float32", (4,)), TensorSpec("b", "float32", (4,))], 16)
    with FolderWriter(layout, tmp_path / "out") as writer:
        for name in "ab":
            writer.write(name, 0, torch.zeros(4))
        writer.add_text("sub/x.txt", "x")
        writer.publish()
    staging, at = tmp_path / ".out.cuvee-partial", done.index("rename")
    shards = {staging / shard.name for shard in layout.shards}
    others = {staging, staging / "sub", staging / "sub" / "x.txt", staging / "model.safetensors.index.json"}
    assert set(done[:at]) == shards | others
    assert done[at + 1 :] == [tmp_path]


def test_a_mount_point_is_refused_before_hours_of_work(tmp_path):
    with mounted(tmp_path / "disk", "size=1m") as disk:
        with pytest.raises(OutputExists) as caught:
            write_one(disk)
        assert caught.value.codes == ("unsafe-overwrite",)
        assert "inside it" in caught.value.faults[0].hint


def wait_until_ready(process):
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def test_a_killed_run_publishes_nothing_and_the_next_succeeds(tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", ENTER, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    wait_until_ready(process)
    process.kill()
    process.communicate()
    assert not out.exists()
    assert (tmp_path / ".out.cuvee-partial" / "config.json").exists()
    write_one(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert list(tree(out)) == ["model.safetensors"]


def test_an_interrupted_run_leaves_no_trace(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", ENTER, tmp_path / "out"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_until_ready(process)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode not in (0, None)
    assert list(tmp_path.iterdir()) == []


def test_two_runs_to_one_output_do_not_meet(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", ENTER, out]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_until_ready(first)
    before = tree(tmp_path)
    second = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert second.stdout.startswith("output-busy")
    assert str(out) in second.stdout
    assert tree(tmp_path) == before
    first.communicate("")
    write_one(out)  # the lock went with its holder


def test_two_writers_in_one_process_do_not_meet(tmp_path):
    with FolderWriter(ONE, tmp_path / "out") as writer:
        with pytest.raises(ResourceError) as caught:
            write_one(tmp_path / "out")
        assert caught.value.codes == ("output-busy",)
        writer.write("a", 0, torch.zeros(4))
        writer.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


RACE = """
import sys, time
from pathlib import Path
import cuvee.checkpoint as checkpoint
from cuvee.checkpoint.digest import digest_pieces
from cuvee.checkpoint.writer import FolderWriter
from cuvee.errors import CuveeError
layout = checkpoint.plan_layout([], 10)
won = 0
until = time.time() + 1.5
while time.time() < until:
    try:
        with FolderWriter(layout, Path(sys.argv[1]), overwrite=True) as writer:
            writer.add_text("config.json", sys.argv[2])
            writer.publish()
        won += 1
    except CuveeError as error:
        if error.code != "output-busy":
            raise
print(won)
"""


@pytest.mark.slow
def test_rivals_that_start_and_end_all_the_time_never_spoil_each_other(tmp_path):
    rivals = [run(RACE, tmp_path / "out", name) for name in "xyz"]
    won = [int(rival.communicate()[0]) for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0, 0, 0]
    assert sum(won) > 10
    assert sorted(tree(tmp_path / "out")) == ["config.json", "model.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_that_shrinks_while_it_is_written_is_told(tmp_path):
    with FolderWriter(ONE, tmp_path / "out") as writer:
        writer.write("a", 0, torch.zeros(4))
        os.truncate(tmp_path / ".out.cuvee-partial" / "model.safetensors", 20)
        with pytest.raises(ResourceError) as caught:
            writer.digest("a")
    assert caught.value.codes == ("io-error",)


def test_a_side_file_that_is_gone_is_told(tmp_path):
    """A fault of the input, not of the place that is written to."""
    with FolderWriter(ONE, tmp_path / "out") as writer, pytest.raises(InputError) as caught:
        writer.add_file(SideFile("x", tmp_path / "gone"))
    assert caught.value.codes == ("io-error",)
    assert f"could not read {tmp_path / 'gone'}" in str(caught.value)
