"""Weights in several files: the index is followed only where it leads into its own folder and tells the truth."""

import json

import pytest
import safetensors.torch
import torch

from cuvee.checkpoint import open_checkpoint
from cuvee.checkpoint import sharded as sharded_module
from cuvee.errors import InputError
from cuvee.types import ModelRef
from tests.support.checkpoints import assert_same, read_in_tiles, read_whole

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def tensors_of(*names):
    return {name: torch.full((3,), float(i)) for i, name in enumerate(names)}


def write_index(folder, weight_map, name="model.safetensors.index.json"):
    (folder / name).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))


def two_shards(folder):
    safetensors.torch.save_file(tensors_of("a", "b"), folder / FIRST)
    safetensors.torch.save_file(tensors_of("c"), folder / SECOND)
    write_index(folder, {"a": FIRST, "b": FIRST, "c": SECOND})


def refusal(folder):
    with pytest.raises(InputError) as caught:
        open_checkpoint(ModelRef(str(folder)))
    return caught.value


def test_two_shards_are_one_model(tmp_path):
    two_shards(tmp_path)
    reader = open_checkpoint(ModelRef(str(tmp_path)))
    assert list(reader.specs) == ["a", "b", "c"]
    assert_same(read_whole(reader), {**tensors_of("a", "b"), **tensors_of("c")})
    assert reader.side_files == ()
    assert reader.notes == ()
    reader.close()


def test_legacy_shards_are_one_model(tmp_path):
    first, second = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"
    torch.save(tensors_of("a", "b"), tmp_path / first)
    torch.save(tensors_of("c"), tmp_path / second)
    write_index(tmp_path, {"a": first, "b": first, "c": second}, "pytorch_model.bin.index.json")
    reader = open_checkpoint(ModelRef(str(tmp_path)))
    assert_same(read_in_tiles(reader, 2), {**tensors_of("a", "b"), **tensors_of("c")})
    assert reader.digest("c") == open_checkpoint(ModelRef(str(tmp_path / second))).digest("c")


def test_a_missing_shard_is_named(tmp_path):
    two_shards(tmp_path)
    (tmp_path / SECOND).unlink()
    error = refusal(tmp_path)
    assert error.codes == ("bad-index",)
    assert error.faults[0].subject == SECOND


def test_damage_in_two_shards_is_told_at_once(tmp_path):
    two_shards(tmp_path)
    for name in (FIRST, SECOND):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-4])
    error = refusal(tmp_path)
    assert error.codes == ("truncated", "truncated")
    assert FIRST in str(error)
    assert SECOND in str(error)


def test_a_tensor_that_its_file_does_not_hold_is_named(tmp_path):
    two_shards(tmp_path)
    write_index(tmp_path, {"a": FIRST, "b": FIRST, "c": SECOND, "lost": SECOND})
    error = refusal(tmp_path)
    assert error.codes == ("bad-index",)
    assert "`lost`" in str(error)
    assert SECOND in str(error)


def test_a_tensor_that_the_index_leaves_out_is_named(tmp_path):
    two_shards(tmp_path)
    write_index(tmp_path, {"a": FIRST, "c": SECOND})
    error = refusal(tmp_path)
    assert error.codes == ("bad-index",)
    assert "holds `b`, which the index does not say" in str(error)


def test_a_tensor_in_two_files_is_refused(tmp_path):
    two_shards(tmp_path)
    safetensors.torch.save_file(tensors_of("c", "a"), tmp_path / SECOND)
    error = refusal(tmp_path)
    assert error.codes == ("bad-index",)
    assert "more than one file holds `a`" in str(error)


def test_an_index_that_swaps_two_files_names_both(tmp_path):
    two_shards(tmp_path)
    write_index(tmp_path, {"a": FIRST, "b": SECOND, "c": FIRST})
    error = refusal(tmp_path)
    assert set(error.codes) == {"bad-index"}
    assert "`b`" in str(error)
    assert "`c`" in str(error)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"weight_map": []}', b'{"weight_map": {}}', b"\xff", b'{"weight_map": ', b"[" * 10**5],
)
def test_an_index_of_another_form_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_bytes(content)
    assert refusal(tmp_path).codes == ("bad-index",)


def test_an_index_in_which_a_tensor_stands_twice_is_refused(tmp_path):
    two_shards(tmp_path)
    text = f'{{"weight_map": {{"a": "{FIRST}", "b": "{FIRST}", "c": "{SECOND}", "c": "{FIRST}"}}}}'
    (tmp_path / "model.safetensors.index.json").write_text(text)
    error = refusal(tmp_path)
    assert error.codes == ("bad-index",)
    assert "`c` stands twice" in str(error)


def test_an_index_larger_than_any_real_one_is_refused(tmp_path, monkeypatch):
    two_shards(tmp_path)
    monkeypatch.setattr(sharded_module, "INDEX_LIMIT", 50)
    error = refusal(tmp_path)
    assert error.codes == ("bad-index",)
    assert "larger than 50 bytes" in str(error)


@pytest.mark.parametrize(
    "file", [None, 3, ["x"], "", ".", "config.json", "x.bin", "x.safetensors\0", "a/x.safetensors"]
)
def test_a_value_that_is_no_weight_file_name_is_refused(tmp_path, file):
    two_shards(tmp_path)
    write_index(tmp_path, {"a": FIRST, "b": FIRST, "c": SECOND, "d": file})
    error = refusal(tmp_path)
    assert error.codes == ("bad-index",)
    assert error.faults[0].subject == "d"


def test_a_shard_may_be_a_link(tmp_path):
    (tmp_path / "model").mkdir()
    two_shards(tmp_path / "model")
    (tmp_path / "model" / SECOND).rename(tmp_path / "blob")
    (tmp_path / "model" / SECOND).symlink_to(tmp_path / "blob")
    assert list(open_checkpoint(ModelRef(str(tmp_path / "model"))).specs) == ["a", "b", "c"]
