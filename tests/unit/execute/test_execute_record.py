"""The record by itself: hashes out of the names of a hub cache, and its text."""

from __future__ import annotations

import json
from pathlib import Path

from cuvee.execute.record import as_text, hub_sums

SHA = "0123456789abcdef" * 4


def snapshot(root: Path, **files: str) -> Path:
    """A snapshot of a hub cache whose files are links to blobs of these names."""
    folder, blobs = root / "models--x" / "snapshots" / "commit", root / "models--x" / "blobs"
    folder.mkdir(parents=True)
    blobs.mkdir()
    for name, blob in files.items():
        (blobs / blob).write_text(name)
        (folder / name.replace("_", ".")).symlink_to(blobs / blob)
    return folder


def test_large_files_are_named_by_their_sha256(tmp_path: Path) -> None:
    folder = snapshot(tmp_path, b_safetensors=SHA, a_safetensors=SHA[::-1], config_json="a" * 40)
    assert list(hub_sums(folder).items()) == [("a.safetensors", SHA[::-1]), ("b.safetensors", SHA)]


def test_small_files_are_named_by_something_else(tmp_path: Path) -> None:
    assert hub_sums(snapshot(tmp_path, a_safetensors="b" * 40)) == {}


def test_a_copy_in_a_snapshot_has_no_such_name(tmp_path: Path) -> None:
    folder = snapshot(tmp_path)
    (folder / "model.safetensors").write_text("x")
    assert hub_sums(folder) == {}


def test_a_long_name_is_no_hash(tmp_path: Path) -> None:
    assert hub_sums(snapshot(tmp_path, a_safetensors="z" * 64)) == {}


def test_a_folder_that_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / SHA).write_text("x")
    (tmp_path / "model.safetensors").symlink_to(tmp_path / SHA)
    assert hub_sums(tmp_path) == {}
    assert hub_sums(None) == {}


def test_the_text_is_json_that_people_can_read() -> None:
    text = as_text({"notes": ["θ und λ"], "seed": 3})
    assert json.loads(text) == {"notes": ["θ und λ"], "seed": 3}
    assert "θ und λ" in text
    assert text.endswith("}\n")
