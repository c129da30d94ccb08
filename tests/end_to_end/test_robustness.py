"""Merges that are killed, doubled, or robbed of their inputs: the output is whole or it is not there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import cuvee
from cuvee.cli import main
from tests.support.checkpoints import assert_same
from tests.support.forks import CRASHED, ROOT, Forks, forks
from tests.support.lanes import rarely
from tests.support.merging import Tensors, decoder, hidden, linear, read, recipe, write
from tests.support.yard import Q, Yard

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
DISK = ("open", "mkdir", "pwrite", "posix_fallocate", "fsync", "rename", "unlink", "rmdir", "close")
"""Calls of the operating system between which a run can die; the last ones are few and matter most."""


@pytest.fixture(scope="module")
def forked() -> Iterator[Forks]:
    with forks(__name__) as made:
        yield made


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensors]:
    """What a merge of the yard's models gives, and what an older one had given."""
    root = tmp_path_factory.mktemp("reference")
    for seed, name in enumerate(("base", "a", "b")):
        write(root / name, decoder(seed))
    return {
        "new": read(cuvee.merge(linear(root / "a", root / "b"), root / "new").path),
        "old": read(cuvee.merge(linear(root / "b", root / "base"), root / "old").path),
    }


def assert_whole(folder: Path, expected: Tensors) -> None:
    assert cuvee.verify(folder).ok
    assert_same(read(folder), expected)


def assert_next_run_succeeds(yard: Yard, expected: Tensors, **options: Any) -> None:
    """The same merge again, which also clears away what the one before left."""
    cuvee.merge(yard.root / "recipe.yml", yard.out, **options)
    assert_whole(yard.out, expected)
    assert hidden(yard.root) == []


# --- death at every step of the disk


def die_at(number: int, path: str, out: str, overwrite: bool, counted: str) -> int:
    """Merge, and die before the given call to the disk; the calls so far are kept in a file."""
    calls = 0

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted_call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return counted_call

    cuvee.plan(path)  # everything is imported before the calls are counted
    for name in DISK:
        setattr(os, name, counting(getattr(os, name)))
    cuvee.merge(path, out, overwrite=overwrite, threads=1)
    Path(counted).write_text(str(calls))
    return 0


@pytest.mark.parametrize("overwrite", [False, *rarely(True)], ids=["new", "overwrite"])
@pytest.mark.slow
def test_a_run_killed_at_any_step_leaves_the_old_or_the_new(
    yard: Yard, forked: Forks, reference: dict[str, Tensors], overwrite: bool
) -> None:
    path = yard.file(linear("a", "b"))
    if overwrite:
        cuvee.merge(linear(yard.root / "b", yard.root / "base"), yard.root / "old")

    def run(number: int) -> int:
        shutil.rmtree(yard.out, ignore_errors=True)
        if overwrite:
            shutil.copytree(yard.root / "old", yard.out)
        return forked.run(die_at, number, path, yard.out, overwrite, yard.root / "count")

    assert run(0) == 0
    calls = int((yard.root / "count").read_text())
    assert calls > 40
    ends = set()
    for number in (*range(1, calls - 20, 9), *range(calls - 20, calls + 1)):
        assert run(number) == -signal.SIGKILL
        if not yard.out.exists():
            assert not overwrite
            ends.add("nothing")
        else:
            is_new = torch.equal(read(yard.out)[Q], reference["new"][Q])
            ends.add("new" if is_new else "old")
            assert_whole(yard.out, reference["new" if is_new else "old"])
        if number % 4 == 0:
            assert_next_run_succeeds(yard, reference["new"], overwrite=True)
    assert ends == ({"old", "new"} if overwrite else {"nothing", "new"})
    assert_next_run_succeeds(yard, reference["new"], overwrite=True)


# --- death at any moment


def command(*words: str) -> int:
    """The command line."""
    return main(words)


@pytest.fixture
def long(yard: Yard) -> tuple[str, ...]:
    """A merge that takes a moment: many tensors, several passes, many files."""
    for seed, name in enumerate(("z", "x", "y")):
        yard.model(name, decoder(seed, layers=8, width=64), config=None)
    path = yard.file(recipe("ties", "z", "x", "y"))
    return ("merge", str(path), "-o", str(yard.out), "--shard-size", "60KB", "--threads", "2", "--tile", "1024")


def test_runs_killed_at_any_moment(yard: Yard, forked: Forks, long: tuple[str, ...]) -> None:
    start = time.monotonic()
    assert forked.run(command, *long) == 0
    whole, expected = time.monotonic() - start, read(yard.out)
    ends = []
    for step in range(8):
        shutil.rmtree(yard.out, ignore_errors=True)
        number = forked.start(command, *long)
        time.sleep(whole * (step + 0.5) / 8)
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
        ends.append(forked.wait(number))
        if yard.out.exists():
            assert_whole(yard.out, expected)
    assert -signal.SIGKILL in ends
    shutil.rmtree(yard.out, ignore_errors=True)
    assert forked.run(command, *long) == 0
    assert_whole(yard.out, expected)
    assert hidden(yard.root) == []


@pytest.mark.slow
def test_overwriting_runs_killed_at_any_moment(yard: Yard, forked: Forks, long: tuple[str, ...]) -> None:
    cuvee.merge(linear(yard.root / "x", yard.root / "y"), yard.out)
    old = read(yard.out)
    start = time.monotonic()
    assert forked.run(command, *long, "--overwrite") == 0
    whole, new = time.monotonic() - start, read(yard.out)
    for step in range(6):
        shutil.rmtree(yard.out)
        cuvee.merge(linear(yard.root / "x", yard.root / "y"), yard.out)
        number = forked.start(command, *long, "--overwrite")
        time.sleep(whole * (step + 0.5) / 6)
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
        forked.wait(number)
        assert_whole(yard.out, new if len(list(yard.out.glob("*.safetensors"))) > 1 else old)


def when_at_work(yard: Yard, running: Callable[[], bool]) -> None:
    """Wait until a run has begun to write."""
    while not (yard.root / ".out.cuvee-partial" / "model.safetensors").exists():
        assert running()
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGKILL, -signal.SIGKILL)],
    ids=str,
)
def test_a_process_of_its_own(yard: Yard, number: int, code: int) -> None:
    """`python -m cuvee`, as a user starts it."""
    for seed, name in enumerate(("z", "x", "y")):
        yard.model(name, decoder(seed, layers=40, width=64), config=None)
    path = yard.file(recipe("ties", "z", "x", "y"))
    words = [sys.executable, "-m", "cuvee", "merge", path, "-o", yard.out, "--tile", "1024"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        when_at_work(yard, lambda: process.poll() is None)
        process.send_signal(number)
        _, told = process.communicate()
    assert process.returncode == code
    assert not yard.out.exists()
    assert "Traceback" not in told
    if number == signal.SIGINT:
        assert "nothing was written" in told
        assert hidden(yard.root) == []
    cuvee.merge(path, yard.out)
    assert cuvee.verify(yard.out).ok
    assert hidden(yard.root) == []


def heeding(*words: str) -> int:
    """Run a command that has ears for a closed terminal, even where the tests run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    return command(*words)


def told_to_end(yard: Yard, forked: Forks, words: tuple[str, ...], number: int) -> int:
    """How a run ends that is sent a signal while it writes."""
    child = forked.start(heeding, *words[:4], "--tile", "1024", "--threads", "1")
    when_at_work(yard, lambda: True)
    os.kill(child, number)
    return forked.wait(child)


def test_a_run_that_is_told_to_end_cleans_up(yard: Yard, forked: Forks, long: tuple[str, ...]) -> None:
    """SIGTERM is what `kill`, systemd and batch systems send first."""
    assert told_to_end(yard, forked, long, signal.SIGTERM) == 130
    assert not yard.out.exists()
    assert hidden(yard.root) == []


def test_a_run_whose_terminal_is_closed(yard: Yard, forked: Forks, long: tuple[str, ...]) -> None:
    assert told_to_end(yard, forked, long, signal.SIGHUP) == 130
    assert not yard.out.exists()
    assert hidden(yard.root) == []
    assert forked.run(command, *long) == 0
    assert cuvee.verify(yard.out).ok
    assert hidden(yard.root) == []


def interrupted_in_the_lock(path: str, out: str) -> int:
    """Merge, with a second interrupt in the instant in which the caller, for the first one, took the workers' lock."""
    struck = []

    class Fragile(threading.Condition):
        def __enter__(self) -> bool:
            taken = super().__enter__()
            if threading.current_thread() is threading.main_thread() and not struck:
                struck.append(True)
                raise KeyboardInterrupt
            return taken

    names = {**vars(threading), "Condition": Fragile}
    sys.modules["cuvee.execute.threaded"].threading = SimpleNamespace(**names)  # type: ignore[attr-defined]

    def interrupt(_: object) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    try:
        cuvee.merge(path, out, threads=2, progress=interrupt)
    except KeyboardInterrupt:
        return 130
    return 0


def test_a_second_interrupt_at_the_worst_moment_is_no_deadlock(yard: Yard, forked: Forks) -> None:
    child = forked.start(interrupted_in_the_lock, yard.file(linear("a", "b")), yard.out)
    rescue = threading.Timer(6, os.kill, (child, signal.SIGKILL))
    rescue.start()
    code = forked.wait(child)
    rescue.cancel()
    assert code == 130
    assert hidden(yard.root) == []


# --- two at a time


def test_two_runs_into_one_output(yard: Yard, forked: Forks, long: tuple[str, ...]) -> None:
    for _ in range(4):
        shutil.rmtree(yard.out, ignore_errors=True)
        both = [forked.start(command, *long) for _ in range(2)]
        codes = sorted(forked.wait(number) for number in both)
        assert codes in ([0, 5], [0, 7])  # the other is at work, or was
        assert cuvee.verify(yard.out).ok
        assert hidden(yard.root) == []


@pytest.mark.slow
def test_two_overwriting_runs_into_one_output(yard: Yard, forked: Forks, long: tuple[str, ...]) -> None:
    cuvee.merge(linear(yard.root / "x", yard.root / "y"), yard.out)
    for _ in range(3):
        both = [forked.start(command, *long, "--overwrite") for _ in range(2)]
        codes = sorted(forked.wait(number) for number in both)
        assert codes in ([0, 0], [0, 5])
        assert cuvee.verify(yard.out).ok
        assert hidden(yard.root) == []


def test_many_runs_into_outputs_of_their_own(yard: Yard, forked: Forks) -> None:
    path = yard.file(linear("a", "b"))
    children = [forked.start(command, "merge", str(path), "-o", str(yard.root / f"o{i}")) for i in range(4)]
    assert [forked.wait(child) for child in children] == [0] * 4
    first = read(yard.root / "o0")
    for i in range(4):
        assert_whole(yard.root / f"o{i}", first)


# --- inputs that change under a merge


def spoil(how: str, path: str, out: str, victim: str) -> int:
    """Merge, and do something to an input once the first tensor is complete; gives the exit code."""
    done = []

    def progress(_: object) -> None:
        if not done:
            done.append(True)
            CHANGES[how](Path(victim))

    try:
        cuvee.merge(path, out, threads=1, progress=progress)
    except cuvee.CuveeError as error:
        return error.exit_code
    return 0


def cut_short(victim: Path) -> None:
    with victim.open("r+b") as file:
        file.truncate(4096)


def put_another(victim: Path) -> None:
    save_file(decoder(9, width=64), victim.with_name("new"))
    victim.with_name("new").replace(victim)


def overwrite_in_place(victim: Path) -> None:
    size = victim.stat().st_size
    with victim.open("r+b") as file:
        file.seek(size - 4096)
        file.write(b"\x3f" * 4096)


CHANGES = {
    "removed": Path.unlink,
    "replaced": put_another,
    "changed in place": overwrite_in_place,
    "cut short": cut_short,
}


@pytest.fixture
def pair(yard: Yard) -> Path:
    for seed, name in enumerate(("x", "y")):
        yard.model(name, decoder(seed, width=64), config=None)
    return yard.file(linear("x", "y"))


def changed(yard: Yard, forked: Forks, pair: Path, how: str) -> int:
    return forked.run(spoil, how, pair, yard.out, yard.root / "y" / "model.safetensors")


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_an_input_that_goes_away_is_read_to_its_end(yard: Yard, forked: Forks, pair: Path, how: str) -> None:
    """The file is open: what was there when the merge began is what is merged."""
    cuvee.merge(pair, yard.root / "before")
    assert changed(yard, forked, pair, how) == 0
    assert_whole(yard.out, read(yard.root / "before"))


def test_an_input_that_changes_in_place_is_told(yard: Yard, forked: Forks, pair: Path) -> None:
    assert changed(yard, forked, pair, "changed in place") == 4
    assert not yard.out.exists()


def test_an_input_cut_short_is_an_error_like_any_other(yard: Yard, forked: Forks, pair: Path) -> None:
    assert changed(yard, forked, pair, "cut short") == 4
    assert not yard.out.exists()


def replaced_before_it_is_read(path: str, out: str, victim: str) -> int:
    """Replace an input after its header was read and before its tensors are."""
    execute = sys.modules["cuvee.execute"].execute

    def late(*arguments: Any, **options: Any) -> Any:
        put_another(Path(victim))
        return execute(*arguments, **options)

    sys.modules["cuvee.execute"].execute = late  # type: ignore[attr-defined]
    try:
        cuvee.merge(path, out)
    except cuvee.CuveeError as error:
        return error.exit_code if error.code == "io-error" else CRASHED
    return 0


def test_an_input_replaced_before_it_is_read_is_refused(yard: Yard, forked: Forks, pair: Path) -> None:
    victim = yard.root / "y" / "model.safetensors"
    assert forked.run(replaced_before_it_is_read, pair, yard.out, victim) == 4
    assert not yard.out.exists()
    assert hidden(yard.root) == []
