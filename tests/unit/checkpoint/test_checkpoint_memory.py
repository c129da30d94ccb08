"""The in-memory twins, fingerprints, and any tensor as one row of elements."""

from itertools import pairwise

import pytest
import torch
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.checkpoint import FolderWriter, MemoryReader, MemoryWriter, content_hash, digest_tensor, open_checkpoint
from cuvee.checkpoint.digest import TensorHash
from cuvee.checkpoint.flat import flat_slice
from cuvee.checkpoint.layout import plan_layout
from cuvee.errors import InputError
from cuvee.types import ModelRef, TensorSpec
from tests.support.checkpoints import (
    assert_same,
    of_every_dtype,
    raw_bytes,
    read_in_tiles,
    read_whole,
    specs_of,
    write_model,
)
from tests.support.lanes import rarely


def test_a_state_dict_is_a_reader():
    tensors = of_every_dtype()
    reader = MemoryReader("mine", tensors, {"model_type": "x"})
    assert reader.label == "mine"
    assert list(reader.specs.values()) == specs_of(tensors)
    assert_same(read_whole(reader), tensors)
    assert_same(read_in_tiles(reader, 4), tensors)
    assert reader.config == {"model_type": "x"}
    assert reader.config_text == '{\n  "model_type": "x"\n}\n'
    assert (reader.folder, reader.side_files, reader.notes) == (None, (), ())


def test_gradients_are_left_behind():
    weight = torch.nn.Parameter(torch.ones(3))
    assert not MemoryReader("mine", {"w": weight}).read("w", 0, 3).requires_grad


def test_entries_that_are_no_plain_tensors_are_told_at_once():
    tensors = {
        "number": 3,
        "meta": torch.zeros(2, device="meta"),
        "sparse": torch.eye(2).to_sparse(),
        "wide": torch.zeros(2, dtype=torch.complex128),
        "good": torch.zeros(2),
    }
    with pytest.raises(InputError) as caught:
        MemoryReader("mine", tensors)
    assert [fault.subject for fault in caught.value.faults] == ["number", "meta", "sparse", "wide"]
    assert set(caught.value.codes) == {"not-a-checkpoint"}


def test_reading_after_closing_is_an_error():
    reader = MemoryReader("mine", {"a": torch.zeros(3)})
    reader.close()
    with pytest.raises(KeyError):
        reader.read("a", 0, 3)


def test_reading_outside_a_tensor_is_an_error():
    with pytest.raises(ValueError, match="outside"):
        MemoryReader("mine", {"a": torch.zeros(3)}).read("a", 2, 4)


def fill(writer, tensors, tile=3):
    for name, tensor in tensors.items():
        flat = tensor.reshape(-1)
        for start in range(0, flat.numel(), tile):
            writer.write(name, start, flat[start : start + tile])


def test_a_written_model_appears_when_it_is_published():
    tensors = of_every_dtype()
    with MemoryWriter(plan_layout(specs_of(tensors), 50)) as writer:
        fill(writer, tensors)
        writer.add_text("config.json", "{}")
        assert writer.digest("t.bfloat16") == digest_tensor(tensors["t.bfloat16"])
        assert writer.tensors == {}
        writer.publish()
    assert_same(writer.tensors, tensors)
    assert writer.texts == {"config.json": "{}"}


def test_a_memory_writer_refuses_to_publish_what_is_not_whole():
    writer = MemoryWriter(plan_layout([TensorSpec("a", "float32", (4,))], 50))
    writer.write("a", 0, torch.zeros(3))
    with pytest.raises(RuntimeError, match="`a` lacks 1 elements"):
        writer.publish()
    assert writer.tensors == {}


@pytest.mark.parametrize("values", [torch.zeros(4, dtype=torch.float16), torch.zeros(2, 2), torch.zeros(5)])
def test_both_writers_refuse_values_that_do_not_fit(tmp_path, values):
    layout = plan_layout([TensorSpec("a", "float32", (4,))], 50)
    with pytest.raises(ValueError, match="`a`"):
        MemoryWriter(layout).write("a", 0, values)
    with FolderWriter(layout, tmp_path / "out") as writer, pytest.raises(ValueError, match="`a`"):
        writer.write("a", 0, values)


def test_the_same_bytes_have_the_same_digest_everywhere(tmp_path):
    tensors = of_every_dtype()
    write_model(tmp_path / "out", tensors)
    torch.save(tensors, tmp_path / "model.bin")
    memory = MemoryReader("m", tensors)
    mapped = open_checkpoint(ModelRef(str(tmp_path / "out")))
    pickled = open_checkpoint(ModelRef(str(tmp_path / "model.bin")))
    with FolderWriter(plan_layout(specs_of(tensors), 9), tmp_path / "again") as writer:
        fill(writer, tensors)
        for name, tensor in tensors.items():
            expected = xxhash.xxh3_128_hexdigest(raw_bytes(tensor))
            found = {source.digest(name) for source in (memory, mapped, pickled, writer)}
            assert found == {expected}, name


def by_hand(tensor):
    """The definition: chunks of 131,072 elements, hashed one by one, and the hashes hashed."""
    raw, size = raw_bytes(tensor), tensor.element_size() << 17
    parts = [xxhash.xxh3_128_digest(raw[at : at + size]) for at in range(0, len(raw), size)]
    return parts[0].hex() if len(parts) == 1 else xxhash.xxh3_128_hexdigest(b"".join(parts))


@pytest.mark.parametrize("numel", [1 << 17, (1 << 17) + 1, *rarely(3 << 17, 300_001)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_large_tensor_is_hashed_in_chunks(tmp_path, numel, dtype):
    tensor = torch.randn(numel, generator=torch.Generator().manual_seed(1)).to(dtype)
    write_model(tmp_path / "out", {"a": tensor})
    with FolderWriter(plan_layout(specs_of({"a": tensor}), 1 << 40), tmp_path / "again") as writer:
        fill(writer, {"a": tensor})
        found = {
            writer.digest("a"),
            digest_tensor(tensor),
            open_checkpoint(ModelRef(str(tmp_path / "out"))).digest("a"),
        }
    assert found == {by_hand(tensor)}


@pytest.mark.parametrize("cuts", [[0, 1 << 17, 2 << 17, 300_001], [0, 2 << 17, 300_001], [0, 300_001]])
def test_chunks_come_in_any_order(cuts):
    tensor = torch.arange(300_001, dtype=torch.int32)
    hashed = TensorHash(tensor.numel())
    for start, stop in sorted(pairwise(cuts), reverse=True):
        assert hashed.hexdigest() is None
        hashed.add(start, memoryview(raw_bytes(tensor[start:stop])), 4)
    assert hashed.hexdigest() == digest_tensor(tensor)


@pytest.mark.parametrize("cuts", [[0, 1000, 300_001], [0, 1 << 17, (2 << 17) - 1, 300_001]])
def test_half_chunks_are_no_chunks(cuts):
    tensor = torch.arange(300_001, dtype=torch.int32)
    hashed = TensorHash(tensor.numel())
    for start, stop in pairwise(cuts):
        hashed.add(start, memoryview(raw_bytes(tensor[start:stop])), 4)
    assert hashed.hexdigest() is None


def test_a_digest_sees_every_bit():
    tensor = torch.zeros(100)
    changed = tensor.clone()
    changed[50] = -0.0
    assert digest_tensor(tensor) != digest_tensor(changed)


def test_a_content_hash_is_that_of_the_model_not_of_its_files():
    tensors = of_every_dtype()
    digests = {spec.name: (spec, digest_tensor(tensors[spec.name])) for spec in specs_of(tensors)}
    turned = dict(reversed(list(digests.items())))
    assert content_hash(digests) == content_hash(turned)
    assert len(content_hash(digests)) == 32


@pytest.mark.parametrize(
    "changed",
    [
        ("b", TensorSpec("a", "float32", (2, 3)), "00"),
        ("a", TensorSpec("a", "int32", (2, 3)), "00"),
        ("a", TensorSpec("a", "float32", (3, 2)), "00"),
        ("a", TensorSpec("a", "float32", (2, 3)), "01"),
    ],
)
def test_a_content_hash_sees_names_dtypes_shapes_and_bytes(changed):
    name, spec, digest = changed
    assert content_hash({name: (spec, digest)}) != content_hash({"a": (TensorSpec("a", "float32", (2, 3)), "00")})


def test_a_content_hash_is_the_same_for_ever():
    """Records of old outputs hold it: a change here makes every one of them fail its check."""
    digests = {"a": (TensorSpec("a", "bfloat16", (2,)), digest_tensor(torch.ones(2, dtype=torch.bfloat16)))}
    assert digests["a"][1] == "4f9ff05f5aecc83ca5a0f8ae48aa6657"
    assert content_hash(digests) == "bccdf8bb606c37a8ae7b48e5e8e828ba"


strided = st.tuples(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    st.integers(1, 3),
    st.booleans(),
)


@settings(deadline=None)
@given(strided, st.data())
def test_any_run_of_any_strided_tensor_is_that_of_its_contiguous_copy(made, data):
    sizes, random, step, expand = made
    order = list(range(len(sizes)))
    random.shuffle(order)
    tensor = torch.arange(float(torch.Size(sizes).numel())).reshape(sizes).permute(order)[..., ::step]
    if expand:
        tensor = tensor.unsqueeze(1).expand(-1, 2, *tensor.shape[1:])
    start = data.draw(st.integers(0, tensor.numel()))
    stop = data.draw(st.integers(start, tensor.numel()))
    assert flat_slice(tensor, start, stop).tolist() == tensor.contiguous().reshape(-1)[start:stop].tolist()


def test_a_run_of_a_contiguous_tensor_is_a_view():
    tensor = torch.zeros(4, 5)
    assert flat_slice(tensor, 5, 9).data_ptr() == tensor.data_ptr() + 5 * 4


def test_a_run_of_a_strided_tensor_copies_only_itself(monkeypatch):
    tensor = torch.zeros(1000, 1000).T
    asked = []
    plain = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda t, n: asked.append(n) or plain(t, n))
    assert flat_slice(tensor, 1500, 3700).shape == (2200,)
    assert asked == [2200]


def test_lazy_conjugates_are_carried_out():
    tensor = torch.tensor([1 + 2j, 3 - 1j], dtype=torch.complex64).conj()
    assert tensor.is_conj()
    assert digest_tensor(tensor) == digest_tensor(tensor.resolve_conj())
    with MemoryWriter(plan_layout([TensorSpec("a", "complex64", (2,))], 50)) as writer:
        writer.write("a", 0, tensor)
        assert writer.digest("a") == digest_tensor(tensor.resolve_conj())
