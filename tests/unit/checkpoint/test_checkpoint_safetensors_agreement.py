"""Agreement with the safetensors library: what we write it reads, what it writes we read, what we accept it accepts."""

import json

import pytest
import safetensors
import safetensors.torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuvee.checkpoint import open_stored
from cuvee.checkpoint.format import read_header
from cuvee.errors import InputError
from cuvee.types import DTYPES, ModelRef
from tests.support.checkpoints import (
    assert_same,
    entry,
    header_bytes,
    of_every_dtype,
    random_tensor,
    read_in_tiles,
    read_whole,
    write_model,
)

in_one_folder = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
shapes = st.lists(st.integers(0, 4), max_size=3)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda name: name != "__metadata__")
state_dicts = st.dictionaries(names, st.tuples(st.sampled_from(sorted(DTYPES)), shapes, st.integers(0, 99)), max_size=6)


def tensors_of(drawn):
    return {name: random_tensor(dtype, shape, seed) for name, (dtype, shape, seed) in drawn.items()}


def load_all(folder):
    found = {}
    for path in folder.glob("*.safetensors"):
        found.update(safetensors.torch.load_file(path))
    return found


@in_one_folder
@given(state_dicts, st.integers(1, 40))
def test_the_library_reads_what_we_write(tmp_path, drawn, shard_bytes):
    tensors = tensors_of(drawn)
    out = tmp_path / "out"
    write_model(out, tensors, shard_bytes=shard_bytes, overwrite=True)
    assert_same(load_all(out), tensors)


@in_one_folder
@given(state_dicts, st.integers(1, 7))
def test_we_read_what_the_library_writes(tmp_path, drawn, tile):
    tensors = tensors_of(drawn)
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file(tensors, path)
    reader = open_stored(ModelRef(str(path)))
    assert_same(read_whole(reader), tensors)
    assert_same(read_in_tiles(reader, tile), tensors)
    reader.close()


def test_every_dtype_makes_the_round_trip(tmp_path):
    tensors = of_every_dtype()
    write_model(tmp_path / "out", tensors)
    assert_same(load_all(tmp_path / "out"), tensors)
    with safetensors.safe_open(tmp_path / "out" / "model.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt"}


codes = st.sampled_from(["F32", "F16", "U8", "BOOL", "I64", "F8_E4M3", "F4", "f32", ""])
sizes = st.one_of(st.integers(-1, 9), st.sampled_from([2**31, 2**62, 2**63, 2**64, True, 1.0, None, "1"]))
entries = st.one_of(
    st.builds(entry, codes, st.lists(sizes, max_size=3), st.integers(-1, 9), st.integers(-1, 9)),
    st.builds(lambda made, key: {k: v for k, v in made.items() if k != key}, st.just(entry("U8", [1], 0, 1)), codes),
    st.sampled_from([None, 1, [], {}, {**entry("U8", [1], 0, 1), "more": 0}]),
)
headers = st.dictionaries(st.sampled_from(["a", "b", "c", "__metadata__"]), entries, max_size=3)


def accepted_by_us(path):
    try:
        read_header(path)
    except InputError:
        return False
    return True


def accepted_by_the_library(path):
    try:
        with safetensors.safe_open(path, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is not a mapping
                opened.get_slice(name)
    except (safetensors.SafetensorError, OSError, ValueError):
        return False
    return True


@settings(in_one_folder, max_examples=400)
@given(headers, st.integers(0, 12), st.sampled_from([b"", b" ", b"\n", b"\0", b"x"]), st.sampled_from([b"", b" "]))
def test_whatever_header_we_accept_the_library_accepts(tmp_path, header, data, after, before):
    path = tmp_path / "x.safetensors"
    path.write_bytes(header_bytes(before + json.dumps(header).encode() + after) + bytes(data))
    if accepted_by_us(path):
        assert accepted_by_the_library(path)


@settings(in_one_folder, max_examples=400)
@given(st.data())
def test_whatever_damaged_file_we_accept_the_library_accepts(tmp_path, data):
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"a": random_tensor("float32", (2,)), "b": random_tensor("uint8", (3,))}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.sampled_from(list(b'0123456789:,{}[]"- FUB\0\xff')))
    path.write_bytes(content)
    if accepted_by_us(path):
        assert accepted_by_the_library(path)


def test_the_last_two_tests_accept_something(tmp_path):
    """Guards them against passing because everything is refused."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(header_bytes({"a": entry("U8", [2], 0, 2), "b": entry("F32", [1, 0], 2, 2)}) + bytes(2))
    assert accepted_by_us(path)
    assert accepted_by_the_library(path)


@pytest.mark.parametrize("shard_size", ["50KB", "1GB"])
def test_a_checkpoint_of_transformers_is_read_as_it_is(tmp_path, shard_size):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path, max_shard_size=shard_size)
    reader = open_stored(ModelRef(str(tmp_path)))
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard_size == "50KB")
    assert_same(read_whole(reader), {name: tensor.detach() for name, tensor in model.state_dict().items()})
    assert reader.config is not None
    assert reader.config["model_type"] == "llama"
    assert reader.config_text == (tmp_path / "config.json").read_text()
    assert [side.name for side in reader.side_files] == ["generation_config.json"]


def test_transformers_loads_what_we_write(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    tensors = {name: tensor.detach() for name, tensor in LlamaForCausalLM(config).state_dict().items()}
    write_model(tmp_path / "out", tensors, shard_bytes=30_000, config=config.to_dict())
    loaded, report = LlamaForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert_same({name: tensor.detach() for name, tensor in loaded.state_dict().items()}, tensors)
