"""Outputs that cannot or must not be written, end to end: refused with reason and advice, and nothing is touched."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cuvee
from cuvee.checkpoint.opened import Checkpoint
from cuvee.errors import CuveeError, InputError, OutputExists, ResourceError, UsageError
from tests.support.merging import decoder, hidden, linear, picture
from tests.support.small_disk import make_read_only, mounted
from tests.support.yard import Q, Yard, command, refused, spoilt

# --- the output


def filled(folder: Path, **names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in names.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_an_output_that_is_there(yard: Yard) -> None:
    filled(yard.out, config_json="{}")
    error = refused(yard, linear("a", "b"), OutputExists, "output-exists", str(yard.out), "--overwrite")
    assert error.exit_code == 7


def test_an_empty_output_folder_is_used(yard: Yard) -> None:
    yard.out.mkdir()
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    assert cuvee.verify(yard.out).ok


def test_overwrite_replaces_a_model(yard: Yard) -> None:
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    (yard.out / "of the old one").write_text("x")
    cuvee.merge(yard.file(linear("b", "base")), yard.out, overwrite=True)
    assert cuvee.verify(yard.out).ok
    assert not (yard.out / "of the old one").exists()
    assert hidden(yard.root) == []


def test_overwrite_replaces_no_other_folder(yard: Yard) -> None:
    filled(yard.out, notes_txt="mine")
    words = (str(yard.out), "does not look like a model", "remove it yourself")
    error = refused(yard, linear("a", "b"), OutputExists, "unsafe-overwrite", *words, overwrite=True)
    assert error.exit_code == 7


@pytest.mark.parametrize("out", ["a", "."], ids=["the input", "a folder that holds it"])
def test_overwrite_spares_the_inputs(yard: Yard, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(yard.root, config_json="{}")
    monkeypatch.chdir("/")
    words = ("what the merge reads", "name another folder")
    data = linear("a", "b")
    refused(yard, data, OutputExists, "unsafe-overwrite", *words, overwrite=True, out=yard.root / out)


def test_overwrite_spares_the_inputs_under_another_name(yard: Yard) -> None:
    (yard.root / "link").symlink_to(yard.root / "a")
    data = linear("a", "b")
    refused(
        yard, data, OutputExists, "unsafe-overwrite", "what the merge reads", overwrite=True, out=yard.root / "link"
    )


def test_overwrite_spares_an_input_that_is_a_file(yard: Yard) -> None:
    data = linear("a/model.safetensors", "b")
    refused(yard, data, OutputExists, "unsafe-overwrite", overwrite=True, out=yard.root / "a")


def test_overwrite_spares_what_linked_weights_lead_to(yard: Yard) -> None:
    (yard.root / "linked").mkdir()
    (yard.root / "linked" / "model.safetensors").symlink_to(yard.root / "a" / "model.safetensors")
    data = linear("linked", "b", missing="copy")
    refused(yard, data, OutputExists, "unsafe-overwrite", overwrite=True, out=yard.root / "a")


def test_overwrite_spares_the_recipe(yard: Yard) -> None:
    filled(yard.out, config_json="{}")
    path = yard.file(linear("../a", "../b"), "out/recipe.yml")
    refused(yard, path, OutputExists, "unsafe-overwrite", overwrite=True)


def test_overwrite_spares_the_working_folder(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    monkeypatch.chdir(yard.out)
    refused(yard, linear("a", "b"), OutputExists, "unsafe-overwrite", "working folder", overwrite=True)
    refused(yard, linear("a", "b"), OutputExists, "unsafe-overwrite", "working folder", overwrite=True, out=".")


def test_an_output_that_is_a_file(yard: Yard) -> None:
    yard.out.write_text("mine")
    refused(yard, linear("a", "b"), OutputExists, "unsafe-overwrite", "is a file", overwrite=True)


def test_an_output_below_a_file(yard: Yard) -> None:
    (yard.root / "file").write_text("mine")
    refused(yard, linear("a", "b"), ResourceError, "io-error", "file", out=yard.root / "file" / "out")


def test_an_output_whose_name_no_system_has(yard: Yard) -> None:
    refused(yard, linear("a", "b"), UsageError, "bad-argument", out=f"{yard.root}/a\0b")


def test_a_failed_merge_into_a_deep_folder_leaves_no_folder(yard: Yard) -> None:
    yard.model("ill", spoilt(3, Q, 17, float("nan")))
    refused(yard, linear("a", "ill"), InputError, "non-finite", out=yard.root / "new" / "deep" / "out")


def test_an_output_whose_name_is_too_long(yard: Yard) -> None:
    refused(yard, linear("a", "b"), ResourceError, "io-error", "too long", out=yard.root / "new" / ("x" * 250))


def test_an_output_in_the_home_folder(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `--out=~/merged` arrives from most shells."""
    path = yard.file(linear("~/a", "~/b"))
    monkeypatch.setenv("HOME", str(yard.root))
    monkeypatch.chdir(yard.root)
    cuvee.merge(path, "~/out")
    assert yard.out.is_dir()
    assert not (yard.root / "~").exists()


def test_a_full_disk(yard: Yard) -> None:
    yard.model("large", decoder(3, width=160, vocabulary=200))
    with mounted(yard.root / "disk", "size=256k") as disk:
        data = linear("large", "large/", weights=[1, 1])
        words = ("the output needs", "are free", "free some space")
        error = refused(yard, data, ResourceError, "disk-full", *words, out=disk / "out")
        assert error.exit_code == 5
        assert list(disk.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile(yard: Yard) -> None:
    """The weights fit; the side files, which are copied last, do not."""
    (yard.root / "a" / "vocab.txt").write_bytes(os.urandom(400_000))
    with mounted(yard.root / "disk", "size=256k") as disk:
        error = refused(yard, linear("a", "b"), ResourceError, "disk-full", "vocab.txt", out=disk / "out")
        assert error.exit_code == 5
        assert list(disk.iterdir()) == []


@pytest.fixture
def short_files() -> Iterator[None]:
    """Files of this process may have 20 000 bytes at most."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_may_not_grow(yard: Yard, short_files: None) -> None:
    for seed, name in enumerate(("x", "y")):
        yard.model(name, decoder(seed, width=32), shards=3)
    words = ("model.safetensors", "File too large", "smaller shards")
    error = refused(yard, linear("x", "y"), ResourceError, "file-too-large", *words)
    assert error.exit_code == 5
    assert cuvee.merge(yard.root / "recipe.yml", yard.out, shard_size=10_000).merged == len(decoder(0))


def test_an_output_that_cannot_be_written(yard: Yard) -> None:
    with mounted(yard.root / "disk", "size=1m") as disk:
        make_read_only(disk)
        error = refused(yard, linear("a", "b"), ResourceError, "not-writable", str(disk), out=disk / "out")
        assert error.exit_code == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write(yard: Yard) -> None:
    closed = yard.root / "closed"
    closed.mkdir(mode=0o500)
    refused(yard, linear("a", "b"), ResourceError, "not-writable", str(closed), out=closed / "out")


def test_the_same_output_twice_at_a_time(yard: Yard) -> None:
    """A second merge begins while the first is at work, from its own progress."""
    path, seen = yard.file(linear("a", "b")), []

    def second(_: object) -> None:
        if not seen:
            with pytest.raises(ResourceError) as caught:
                cuvee.merge(path, yard.out)
            seen.append(caught.value.faults[0])

    cuvee.merge(path, yard.out, progress=second)
    assert [(fault.code, fault.subject) for fault in seen] == [("output-busy", str(yard.out))]
    assert cuvee.verify(yard.out).ok


# --- arguments


@pytest.mark.parametrize("size", ["0", "5 elephants", -3, ""])
def test_a_shard_size_that_is_none(yard: Yard, size: Any) -> None:
    error = refused_usage(yard, shard_size=size)
    assert error.code == "bad-argument"


@pytest.mark.parametrize("options", [{"threads": -1}, {"threads": 0}, {"tile": 0}, {"tile": -5}], ids=str)
def test_threads_and_tiles_below_one(yard: Yard, options: dict[str, Any]) -> None:
    assert refused_usage(yard, **options).code == "bad-argument"


def test_a_runner_that_does_not_exist(yard: Yard) -> None:
    assert refused_usage(yard, runner="thread").code == "bad-argument"


def refused_usage(yard: Yard, **options: Any) -> CuveeError:
    path = yard.file(linear("a", "b"))
    before = picture(yard.root)
    with pytest.raises(UsageError) as caught:
        cuvee.merge(path, yard.out, **options)
    assert picture(yard.root) == before
    return caught.value


# --- Ctrl-C


class Keyboard:
    """Ctrl-C from any thread; once released, it reaches nobody, not even the run of the tests."""

    def __init__(self) -> None:
        self.held = True
        self.before = signal.signal(signal.SIGINT, self.answer)

    def answer(self, *_: object) -> None:
        if self.held:
            raise KeyboardInterrupt

    def watch(self, work: Callable[..., object], *arguments: Any, **options: Any) -> None:
        """Release the keys when the work ends, however it ends."""
        try:
            work(*arguments, **options)
        finally:
            self.held = False

    def press(self) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@pytest.fixture
def keyboard() -> Iterator[Keyboard]:
    made = Keyboard()
    yield made
    signal.signal(signal.SIGINT, made.before)


def interrupted(keyboard: Keyboard, asked: Any, out: Path, **options: Any) -> None:
    """A merge that ends in an interrupt."""
    with pytest.raises(KeyboardInterrupt):
        keyboard.watch(cuvee.merge, asked, out, **options)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_interrupt_publishes_nothing(yard: Yard, threads: int, keyboard: Keyboard) -> None:
    path, pressed = yard.file(linear("a", "b")), []
    before = picture(yard.root)
    once = lambda _: pressed or (pressed.append(True), keyboard.press())  # noqa: E731
    interrupted(keyboard, path, yard.out, threads=threads, progress=once)
    assert picture(yard.root) == before


def test_an_interrupt_leaves_the_old_output(yard: Yard, keyboard: Keyboard) -> None:
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    before = picture(yard.root)
    data = linear(yard.root / "b", yard.root / "base")
    interrupted(keyboard, data, yard.out, overwrite=True, threads=1, progress=lambda _: keyboard.press())
    assert picture(yard.root) == before


@pytest.mark.parametrize("presses", [1, 2], ids=["patient", "impatient"])
def test_an_interrupt_waits_until_no_worker_writes_any_more(
    yard: Yard, presses: int, keyboard: Keyboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that outlives the merge writes to files that are closed, or whose descriptors others have by then."""
    path, read, began, ended = yard.file(linear("a", "b")), Checkpoint.read, [], threading.Event()

    def reading(self: Checkpoint, *what: Any) -> Any:
        if threading.current_thread() is not threading.main_thread() and not began:
            began.append(True)
            for _ in range(presses):
                time.sleep(0.3)  # the caller waits for the workers by now
                keyboard.press()
            time.sleep(0.3)
            ended.set()
        return read(self, *what)

    monkeypatch.setattr(Checkpoint, "read", reading)
    before = picture(yard.root)
    interrupted(keyboard, path, yard.out, threads=1)
    in_time = ended.is_set()
    ended.wait()
    time.sleep(0.1)
    assert picture(yard.root) == before
    assert in_time


def test_an_interrupted_command_ends_with_130(
    yard: Yard, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = yard.file(linear("a", "b"))
    before = picture(yard.root)
    run = sys.modules["cuvee.execute.run"].preflight

    def breaking_off(*arguments: Any) -> None:
        run(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("cuvee.execute.run.preflight", breaking_off)
    code, answer = command(capsys, "merge", path, "-o", yard.out)
    assert (code, answer["error"]["faults"][0]["code"]) == (130, "interrupted")
    assert picture(yard.root) == before
