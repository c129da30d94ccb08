"""A folder that appears complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cuvee.checkpoint.whole_folder import whole_folder
from cuvee.errors import OutputExists, ResourceError


def ours(_: Path) -> None:
    pass


def write(out: Path, text: str = "x", *, overwrite: bool = False) -> None:
    with whole_folder(out, overwrite=overwrite, check_old=ours) as folder:
        assert not out.exists() or overwrite
        (folder / "inner").mkdir()
        (folder / "inner/a.safetensors").write_text(text)
        (folder / "b.safetensors").write_text(text)


def test_all_of_it_is_durable_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, synced, real = tmp_path / "new/out", {}, os.fsync

    def noted(descriptor: int) -> None:
        synced.setdefault(os.fstat(descriptor).st_ino, out.exists())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write(out)
    inside = [out, *out.rglob("*")]
    assert len(inside) == 4
    assert [synced[path.stat().st_ino] for path in inside] == [False] * 4
    assert synced[out.parent.stat().st_ino]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def failing(out: Path, error: type[BaseException] | None) -> None:
    with whole_folder(out, overwrite=False, check_old=ours) as folder:
        (folder / "a").write_text("x")
        if error is not None:
            raise error
        (folder / "no/such").write_text("x")


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            failing(tmp_path / "new/out", error)
    with pytest.raises(ResourceError, match="could not write"):
        failing(tmp_path / "new/out", None)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_whole_or_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "old")
    with pytest.raises(OutputExists):
        write(out, "new")
    write(out, "new", overwrite=True)
    assert (out / "b.safetensors").read_text() == "new"

    def not_ours(_: Path) -> None:
        raise KeyError

    with pytest.raises(KeyError), whole_folder(out, overwrite=True, check_old=not_ours):
        raise AssertionError("the block must not begin")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
