"""What `verify` says of records that lie or are none, of an index with other sizes, and of files nobody recorded."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import cuvee
from cuvee.execute.checks import Check
from tests.support.command_line import call
from tests.support.merging import files, linear, write

INDEX = "model.safetensors.index.json"
LONG = "y" * 5000


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A merge in two shards with its configuration, and with sums of its shards."""
    for name, seed in (("a", 1), ("b", 2)):
        torch.manual_seed(seed)
        write(tmp_path / name, {"x": torch.randn(100), "y": torch.randn(100)}, {"model_type": "small"})
    cuvee.merge(linear(tmp_path / "a", tmp_path / "b"), tmp_path / "out", sha256=True, shard_size=500)
    return tmp_path / "out"


def check(folder: Path, name: str) -> Check:
    """The one check of that name."""
    (found,) = (c for c in cuvee.verify(folder).checks if c.name == name)
    return found


def change(file: Path, edit: Callable[[Any], object]) -> None:
    """Edit the data of a JSON file."""
    data = json.loads(file.read_text("utf-8"))
    edit(data)
    file.write_text(json.dumps(data), "utf-8")


# --- records of any content


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where every value of JSON data stands."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*at, key)
        yield from places(entry, (*at, key))


def put(data: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """The data with another value in one place, and what stood there."""
    made = at = copy.deepcopy(data)
    for key in place[:-1]:
        at = at[key]
    before, at[place[-1]] = at[place[-1]], value
    return made, before


@pytest.mark.parametrize(
    "value", [None, 5, -1.5, True, "x", [], {}, LONG, "\ud800", float("nan")], ids=lambda v: repr(v)[:8]
)
def test_a_record_with_any_value_in_any_place_is_judged(out: Path, value: Any) -> None:
    """A value of another type fails; whatever the type, there is an answer."""
    record = json.loads((out / "cuvee.json").read_text("utf-8"))
    for place in places(record):
        changed, before = put(record, place, value)
        (out / "cuvee.json").write_text(json.dumps(changed), "utf-8")
        found = cuvee.verify(out)
        assert {"readable", "hashes"} <= {c.name for c in found.checks}
        assert not found.ok or type(value) is type(before), place


@pytest.mark.parametrize("key", ["files", "sha256", "tensors"])
@pytest.mark.parametrize("name", [LONG, "\ud800", "a\0b", "\x1b[31m", "/", "..", "x/../config.json", "cuvee.json/x"])
def test_a_record_of_odd_names_is_a_failed_check_that_can_be_told(
    out: Path, key: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tensor = {"dtype": "float32", "shape": [1], "xxh3_128": "0" * 32}
    change(out / "cuvee.json", lambda record: record["output"][key].update({name: tensor if key == "tensors" else "0"}))
    text = call(capsys, "verify", out)
    assert (text.code, "\x1b" in text.out, len(text.out) < 2000) == (6, False, True)
    assert call(capsys, "verify", out, "--json").json["ok"] is False


NO_RECORDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (lambda file: file.mkdir(), "it is no file"),
    "a link to nothing": (lambda file: file.symlink_to("nothing"), "it is no file"),
    "a link to itself": (lambda file: file.symlink_to(file.name), "it is no file"),
    "a pipe": (os.mkfifo, "it is no file"),
    "nothing at all": (lambda file: file.write_text(""), "Expecting value"),
    "half of it": (lambda file: file.write_text('{"format": 1, "rec'), "Unterminated"),
    "no text": (lambda file: file.write_bytes(b"\xff\xfe"), "decode"),
    "a list": (lambda file: file.write_text("[]"), "the record should be a mapping, found a list"),
    "an empty mapping": (lambda file: file.write_text("{}"), "recipe is missing"),
    "nesting without end": (lambda file: file.write_text("[" * 100_000), "nested too deeply"),
    "a number without end": (lambda file: file.write_text("9" * 5000), "4300"),
    "a later format": (lambda file: file.write_text('{"format": 2}'), "its format is 2; this version reads 1"),
    "names twice": (lambda file: file.write_text('{"seed": 1, "seed": 2}'), "stand twice: seed"),
}


@pytest.mark.parametrize("case", NO_RECORDS)
def test_what_stands_in_the_place_of_a_record_is_a_failed_check(out: Path, case: str) -> None:
    make, words = NO_RECORDS[case]
    (out / "cuvee.json").unlink()
    make(out / "cuvee.json")
    found = check(out, "hashes")
    assert (found.outcome, "cuvee.json cannot be read: " in found.found) == ("failed", True)
    assert words in found.found


def test_a_recipe_nested_without_end_is_not_the_one_of_its_hash(out: Path) -> None:
    text = (out / "cuvee.json").read_text("utf-8")
    (out / "cuvee.json").write_text(text.replace('"recipe": {', f'"recipe": {{"x": {"[" * 700}{"]" * 700},', 1))
    assert not cuvee.verify(out).ok


LIES: dict[str, tuple[Callable[[Any], object], str]] = {
    "another recipe": (lambda r: r["recipe"].update(merge_method="ties"), "recipe_sha256"),
    "another hash of the recipe": (lambda r: r.update(recipe_sha256="0" * 64), "recipe_sha256"),
    "another content": (lambda r: r["output"].update(content="0" * 32), "output.content"),
    "more merged": (lambda r: r["counts"].update(merged=3), "counts"),
    "more copied": (lambda r: r["counts"].update(merged=1, copied=1), "counts"),
    "more tied": (lambda r: r["counts"].update(tied=1), "counts"),
    "a copy of no tensor": (lambda r: (r["copied"].update(z="so"), r["counts"].update(merged=1, copied=1)), "copied"),
    "no files": (lambda r: r["output"].update(files={}), "output.files lacks cuvee_recipe.yml"),
    "no sums": (lambda r: r["output"].update(sha256={}), "output.sha256"),
    "a sum lost": (lambda r: r["output"]["sha256"].popitem(), "output.sha256"),
}


@pytest.mark.parametrize("case", LIES)
def test_a_record_that_contradicts_itself_fails(out: Path, case: str) -> None:
    edit, words = LIES[case]
    assert check(out, "record") == Check("record", "ok", "agrees with itself")
    change(out / "cuvee.json", edit)
    found = check(out, "record")
    assert (found.outcome, words in found.found) == ("failed", True), found


def test_without_a_record_a_folder_is_somebody_elses(out: Path) -> None:
    (out / "cuvee.json").unlink()
    assert check(out, "hashes") == Check("hashes", "skipped", "no cuvee.json: the folder was not made by Cuvee")
    assert check(out / "model-00001-of-00002.safetensors", "hashes").outcome == "skipped"


# --- the index

OTHER_SIZES: dict[str, Callable[[Any], object]] = {
    "another size": lambda index: index["metadata"].update(total_size=5),
    "a size that is text": lambda index: index["metadata"].update(total_size="800"),
    "a size with a fraction": lambda index: index["metadata"].update(total_size=800.0),
    "other parameters": lambda index: index["metadata"].update(total_parameters=5),
    "no size": lambda index: index["metadata"].pop("total_size"),
    "no metadata": lambda index: index.pop("metadata"),
    "metadata of another kind": lambda index: index.update(metadata=[]),
}


@pytest.mark.parametrize("case", OTHER_SIZES)
def test_sizes_of_the_index_are_those_of_the_tensors(out: Path, case: str) -> None:
    assert check(out, "index") == Check("index", "ok", "names every tensor and their sizes")
    change(out / INDEX, OTHER_SIZES[case])
    found = check(out, "index")
    assert (found.outcome, INDEX in found.found) == ("failed", True)


def test_another_programs_sizes_are_told_and_not_held_to(out: Path) -> None:
    (out / "cuvee.json").unlink()
    change(out / INDEX, OTHER_SIZES["another size"])
    assert check(out, "index").found == "names every tensor; of the sizes, total_size is 5 instead of 800"
    change(out / INDEX, OTHER_SIZES["no metadata"])
    assert check(out, "index") == Check("index", "ok", "names every tensor and their sizes")
    assert cuvee.verify(out).ok


def test_an_index_with_other_places_cannot_be_read(out: Path) -> None:
    change(out / INDEX, lambda index: index["weight_map"].update(x=index["weight_map"]["y"]))
    assert [(c.name, c.outcome) for c in cuvee.verify(out).checks] == [("readable", "failed")]


def test_a_single_file_has_no_index(out: Path, tmp_path: Path) -> None:
    cuvee.merge(linear(tmp_path / "a", tmp_path / "b"), tmp_path / "one")
    assert "index" not in {c.name for c in cuvee.verify(tmp_path / "one").checks}
    assert cuvee.verify(tmp_path / "one").ok


# --- files that are not in the record


def lay(folder: Path, name: str) -> None:
    """A file that is none of the record's."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")


HARMLESS = (
    "README.md",
    ".gitattributes",
    "LICENSE",
    "notes/x.txt",
    "onnx/model.onnx",
    "later/model.safetensors",
    "optimizer.pt",
)


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_file_more_is_told(out: Path, name: str) -> None:
    assert check(out, "extra") == Check("extra", "ok", "no file that is not in the record")
    lay(out, name)
    assert check(out, "extra") == Check("extra", "ok", f"not in the record: {name}")
    assert cuvee.verify(out).ok


RIVALS = (
    "model.gguf",
    "pytorch_model.bin",
    "model-00003-of-00003.safetensors",
    "consolidated.00.pth",
    "weights.PT",
    "pytorch_model.bin.index.json",
    "adapter_config.json",
    "adapter_model.safetensors",
)


@pytest.mark.parametrize("name", RIVALS)
def test_weights_beside_those_of_the_record_fail(out: Path, name: str) -> None:
    lay(out, name)
    assert check(out, "extra") == Check("extra", "failed", f"weights that are not in the record: {name}")


def test_weights_beside_carried_ones_fail_too(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / name, {"x": torch.ones(3)})
        write(tmp_path / name / "1_Dense", {"linear": torch.ones(3)}, {"in_features": 3})
    cuvee.merge(linear(tmp_path / "a", tmp_path / "b"), tmp_path / "out")
    assert "1_Dense/model.safetensors" in files(tmp_path / "out")
    assert cuvee.verify(tmp_path / "out").ok
    lay(tmp_path / "out", "1_Dense/pytorch_model.bin")
    assert check(tmp_path / "out", "extra").found == "weights that are not in the record: 1_Dense/pytorch_model.bin"


def test_a_whole_file_instead_of_the_shards_is_found(out: Path, tmp_path: Path) -> None:
    """Loaders prefer it, and so does the reader: now the shards and their index are what nobody reads."""
    (tmp_path / "a" / "model.safetensors").rename(out / "model.safetensors")
    assert {c.name for c in cuvee.verify(out).checks if c.outcome == "failed"} == {"hashes", "record", "extra"}


def test_hidden_folders_and_links_to_folders_are_named_but_not_entered(out: Path) -> None:
    lay(out, ".git/objects/x")
    lay(out, "notes/.cache/y")
    (out / "link").symlink_to("notes")
    assert check(out, "extra").found == "not in the record: .git/, link/, notes/.cache/"
