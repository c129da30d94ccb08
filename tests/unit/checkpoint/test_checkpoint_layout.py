"""Which tensor goes into which file: split as huggingface_hub splits, indexed as transformers writes it."""

import json

import pytest
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.checkpoint import format_size, parse_size, plan_layout
from cuvee.errors import UsageError
from cuvee.types import DTYPES, TensorSpec


def floats(**sizes):
    return [TensorSpec(name, "float32", (size,)) for name, size in sizes.items()]


def names_of(layout):
    return {shard.name: [placed.spec.name for placed in shard.tensors] for shard in layout.shards}


def test_what_fits_one_file_is_one_file_without_an_index():
    layout = plan_layout(floats(a=2, b=3), 20)
    assert names_of(layout) == {"model.safetensors": ["a", "b"]}
    assert layout.index is None


def test_a_model_without_tensors_is_one_file():
    layout = plan_layout([], 20)
    assert names_of(layout) == {"model.safetensors": []}
    assert layout.nbytes == len(layout.shards[0].header)


def test_files_are_filled_in_the_given_order():
    layout = plan_layout(floats(a=2, b=3, c=1, d=4), 20)
    assert names_of(layout) == {
        "model-00001-of-00002.safetensors": ["a", "b"],
        "model-00002-of-00002.safetensors": ["c", "d"],
    }


def test_a_tensor_larger_than_a_file_may_be_has_its_own():
    layout = plan_layout(floats(a=1, big=100, b=1), 20)
    assert sorted(names_of(layout).values()) == [["a", "b"], ["big"]]


def test_the_index_is_that_of_transformers():
    layout = plan_layout(floats(b=5, a=5), 20)
    assert (
        layout.index
        == json.dumps(
            {
                "metadata": {"total_parameters": 10, "total_size": 40},
                "weight_map": {"a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"},
            },
            indent=2,
        )
        + "\n"
    )


def test_the_index_has_the_bytes_of_the_one_transformers_writes(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path, max_shard_size=30_000)
    specs = [TensorSpec(name, "float32", tuple(tensor.shape)) for name, tensor in model.state_dict().items()]
    assert plan_layout(specs, 30_000).index == (tmp_path / "model.safetensors.index.json").read_text()


specs = st.lists(
    st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 9), max_size=2).map(tuple)), max_size=12
).map(lambda drawn: [TensorSpec(f"t{i}", dtype, shape) for i, (dtype, shape) in enumerate(drawn)])


@given(specs, st.integers(1, 200))
def test_every_tensor_has_one_place_and_every_byte_one_owner(given_specs, shard_bytes):
    layout = plan_layout(given_specs, shard_bytes)
    assert sorted(spec.name for spec in layout.specs) == sorted(spec.name for spec in given_specs)
    for shard in layout.shards:
        at = len(shard.header)
        for placed in shard.tensors:
            assert (placed.begin, placed.end) == (at, at + placed.spec.nbytes)
            at = placed.end
        assert shard.nbytes == at
        assert shard.nbytes - len(shard.header) <= shard_bytes or len(shard.tensors) == 1
    assert layout.nbytes == sum(shard.nbytes for shard in layout.shards)


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(20, 120))
def test_files_are_those_of_huggingface_hub(sizes, shard_bytes):
    tensors = {f"t{i}": torch.zeros(size, dtype=torch.uint8) for i, size in enumerate(sizes)}
    layout = plan_layout([TensorSpec(name, "uint8", (t.numel(),)) for name, t in tensors.items()], shard_bytes)
    theirs = split_torch_state_dict_into_shards(tensors, max_shard_size=shard_bytes)
    assert names_of(layout) == theirs.filename_to_tensors


def test_a_file_without_room_is_a_fault_of_the_caller():
    with pytest.raises(ValueError, match="at least one byte"):
        plan_layout([], 0)


def test_two_tensors_of_one_name_are_refused_across_files():
    with pytest.raises(ValueError, match="same name"):
        plan_layout([TensorSpec("a", "float32", (5,)), TensorSpec("a", "float32", (5,))], 20)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5GB", 5 * 10**9),
        ("500MB", 500 * 10**6),
        ("1GiB", 2**30),
        ("1 gib", 2**30),
        ("1.5TB", 1500 * 10**9),
        ("7KB", 7000),
        ("0.5KiB", 512),
        ("12B", 12),
        ("12", 12),
        (12, 12),
        (" 3MB ", 3_000_000),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "5G", "five", "-5GB", "0", 0, -1, "0.1B", "1e9", "5GBB", "٥GB", True, 1.5, None, "9" * 9999]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert caught.value.codes == ("bad-argument",)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1000, "1.0 KB"), (2_345_678, "2.3 MB"), (10**13, "10.0 TB")])
def test_sizes_for_people(size, text):
    assert format_size(size) == text
