"""Inputs that change while they are read: what is told, and what is no change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import cuvee
from cuvee.checkpoint import stored
from cuvee.checkpoint.copying import copy_hashed
from cuvee.checkpoint.digest import CHUNK
from cuvee.checkpoint.folder import open_file
from cuvee.checkpoint.identity import identity_of, was_touched
from cuvee.checkpoint.stored import SafetensorsFile
from cuvee.errors import InputError
from cuvee.execute import Progress
from tests.support.merging import linear

TICK = 0.02
"""Seconds in which the clock of any file system moves on."""


def saved(path: Path, value: float = 1.0, numel: int = 3000) -> Path:
    save_file({"w": torch.full((numel,), value)}, path)
    return path


def write_into(path: Path) -> None:
    """Change a byte, in a safetensors file one of the first element, and leave everything else, the time aside."""
    time.sleep(TICK)
    begin = 8 + int.from_bytes(path.read_bytes()[:8], "little") if path.suffix == ".safetensors" else 0
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(b"\x7f")


def write_and_put_back(path: Path) -> None:
    before = path.stat()
    write_into(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def read(file: SafetensorsFile) -> None:
    file.read("w", 0, 10)


def test_written_to_and_then_replaced(tmp_path: Path) -> None:
    """By its name the file would be another one; what is open is the one that was written to."""
    file = SafetensorsFile(saved(tmp_path / "w.safetensors"))
    read(file)
    write_into(file.path)
    saved(tmp_path / "new", 2.0).rename(file.path)
    with pytest.raises(InputError, match="changed while it was read"):
        file.check_unchanged()


def test_written_to_after_it_was_read_and_before_it_was_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_OPEN", stored._OpenFiles(1))
    file, other = (SafetensorsFile(saved(tmp_path / f"{name}.safetensors")) for name in "ab")
    read(file)
    write_into(file.path)
    read(other)  # of two files one may stay open
    saved(tmp_path / "new", 2.0).rename(file.path)
    with pytest.raises(InputError, match="changed while it was read"):
        file.check_unchanged()
    other.check_unchanged()


def test_replaced_after_it_was_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_OPEN", stored._OpenFiles(1))
    file, other = (SafetensorsFile(saved(tmp_path / f"{name}.safetensors")) for name in "ab")
    read(file)
    read(other)
    saved(tmp_path / "new", 2.0).rename(file.path)
    with pytest.raises(InputError, match="changed since its header was read"):
        read(file)


def test_removed_or_replaced_while_open_is_no_change(tmp_path: Path) -> None:
    file = SafetensorsFile(saved(tmp_path / "w.safetensors"))
    read(file)
    time.sleep(TICK)
    saved(tmp_path / "new", 2.0).rename(file.path)
    file.check_unchanged()
    assert not was_touched(file.input_files[0])
    assert float(file.read("w", 0, 1)) == 1.0
    file.path.unlink()
    file.check_unchanged()
    assert not was_touched(file.input_files[0])


@pytest.mark.parametrize(
    ("deed", "touched"),
    [
        (lambda path: None, False),
        (write_and_put_back, True),
        (lambda path: path.chmod(0o600), True),
        (lambda path: os.link(path, path.with_name("link")), True),
        (lambda path: path.read_bytes(), False),
    ],
    ids=["nothing", "written", "rights", "link", "read"],
)
def test_what_calls_for_a_look_at_the_content(tmp_path: Path, deed: Callable[[Path], Any], touched: bool) -> None:
    path = saved(tmp_path / "w.safetensors")
    torch.save({"w": torch.ones(3)}, tmp_path / "w.bin")
    time.sleep(TICK)
    for opened in (open_file(path, "a"), open_file(tmp_path / "w.bin", "b")):
        (file,) = opened.input_files
        assert file.tensors == {"w"}
        deed(Path(file.name))
        opened.check_unchanged()
        assert was_touched(file) == touched
        (tmp_path / "link").unlink(missing_ok=True)


@pytest.mark.parametrize("deed", [write_and_put_back, lambda path: path.chmod(0o600)], ids=["written", "rights"])
def test_a_merge_whose_input_is_touched_meanwhile(tmp_path: Path, deed: Callable[[Path], Any]) -> None:
    a, b = (saved(tmp_path / f"{name}.safetensors", numel=3 * CHUNK) for name in "ab")
    done: list[Progress] = []

    def touch(progress: Progress) -> None:
        if not done:
            deed(b)
        done.append(progress)

    if deed is write_and_put_back:
        with pytest.raises(InputError, match="has changed while it was read"):
            cuvee.merge(linear(a, b), tmp_path / "out", tile=CHUNK, threads=1, progress=touch)
        assert not (tmp_path / "out").exists()
    else:
        cuvee.merge(linear(a, b), tmp_path / "out", tile=CHUNK, threads=1, progress=touch)
    assert len(done) == 3


def test_a_side_file_that_changes_while_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "tokenizer.json"
    source.write_bytes(b"x" * 100)
    assert copy_hashed(source, tmp_path / "one", tmp_path / "one")
    monkeypatch.setattr(
        "cuvee.checkpoint.copying.identity_of", lambda status: (*identity_of(status)[:2], time.monotonic_ns())
    )
    with pytest.raises(InputError, match="changed while it was read"):
        copy_hashed(source, tmp_path / "two", tmp_path / "two")
