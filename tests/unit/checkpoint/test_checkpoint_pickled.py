"""Legacy weight files: read right in every shape they come in, refused when they hold anything but tensors."""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from cuvee.checkpoint import digest_tensor, open_checkpoint
from cuvee.checkpoint.pickled import PickleFile
from cuvee.errors import InputError
from cuvee.types import ModelRef
from tests.support.checkpoints import assert_same, of_every_dtype, read_in_tiles, read_whole, small_model


def saved(path, content, **settings):
    torch.save(content, path, **settings)
    return path


def opened(path):
    return open_checkpoint(ModelRef(str(path)))


def refusal(path):
    with pytest.raises(InputError) as caught:
        opened(path)
    assert "weights_only" not in str(caught.value)
    assert path.name in str(caught.value)
    assert all(fault.hint for fault in caught.value.faults)
    return caught.value


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth", "model.pt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_is_read(tmp_path, name, zipped):
    tensors = of_every_dtype()
    if not zipped:  # the old format has no storages of these types
        tensors = {
            k: v for k, v in tensors.items() if not k.startswith(("t.uint16", "t.uint32", "t.uint64", "t.float8"))
        }
    reader = opened(saved(tmp_path / name, tensors, _use_new_zipfile_serialization=zipped))
    assert_same(read_whole(reader), tensors)
    assert_same(read_in_tiles(reader, 4), tensors)
    assert list(reader.specs) == list(tensors)
    assert all(reader.digest(k) == digest_tensor(t) for k, t in tensors.items())
    assert any("held in memory" in note for note in reader.notes) == (not zipped)


def test_the_tensors_lie_in_a_map_of_the_file(tmp_path):
    path = saved(tmp_path / "model.bin", {"a": torch.zeros(1000)})
    file = PickleFile(path)
    assert str(path) in Path("/proc/self/maps").read_text()
    file.close()


def test_tensors_that_are_not_contiguous_are_read_right(tmp_path):
    whole = torch.arange(60.0).reshape(3, 4, 5)
    tensors = {
        "transposed": whole.permute(2, 0, 1),
        "stepped": whole[:, ::2, 1:],
        "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 3),
        "column": whole.reshape(12, 5)[:, 3],
    }
    reader = opened(saved(tmp_path / "model.bin", tensors))
    assert not torch.load(tmp_path / "model.bin", weights_only=True)["transposed"].is_contiguous()
    for tile in (1, 2, 7, 1000):
        assert_same(read_in_tiles(reader, tile), tensors)


def test_tensors_that_share_a_storage_are_read(tmp_path):
    whole = torch.arange(10.0)
    tensors = {"whole": whole, "tied": whole, "tail": whole[4:]}
    assert_same(read_whole(opened(saved(tmp_path / "model.bin", tensors))), tensors)


def test_parameters_of_a_module_are_read(tmp_path):
    module = nn.Linear(3, 2)
    state = {"kept": module.weight, "plain": module.bias.data}
    found = opened(saved(tmp_path / "model.pt", state)).read("kept", 0, 6)
    assert not found.requires_grad
    assert found.tolist() == module.weight.detach().flatten().tolist()


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "module"])
def test_a_nested_state_dict_is_taken_out_with_a_note(tmp_path, key):
    tensors = small_model()
    record = {"epoch": 3, key: OrderedDict(tensors), "optimizer": {"lr": 0.1, "state": [torch.zeros(2)]}}
    reader = opened(saved(tmp_path / "model.pt", record))
    assert_same(read_whole(reader), tensors)
    assert reader.notes == (f"model.pt: the state dict under `{key}` is read, passed over: `epoch`, `optimizer`",)


def test_a_nested_dict_beside_tensors_is_refused_rather_than_preferred(tmp_path):
    error = refusal(saved(tmp_path / "model.pt", {"model": small_model(), "head": torch.zeros(2)}))
    assert error.codes == ("unsafe-pickle",)
    assert "`model`" in str(error)


def test_two_nested_state_dicts_are_refused(tmp_path):
    error = refusal(saved(tmp_path / "model.pt", {"model": small_model(), "state_dict": small_model()}))
    assert error.codes == ("bad-pickle",)
    assert "state_dict, model" in str(error)


def test_entries_that_are_no_tensors_are_refused_by_name(tmp_path):
    content = {"a": torch.zeros(2), "step": 7, "note": "hello", 3: torch.zeros(1)}
    error = refusal(saved(tmp_path / "model.bin", content))
    assert error.codes == ("unsafe-pickle",)
    assert "`step`, `note`, `3`" in str(error)


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], 5])
def test_anything_but_a_dictionary_is_refused(tmp_path, content):
    assert refusal(saved(tmp_path / "model.bin", content)).codes == ("bad-pickle",)


def test_tensors_that_are_not_plain_are_refused_all_at_once(tmp_path):
    content = {
        "sparse": torch.eye(3).to_sparse(),
        "double": torch.zeros(2, dtype=torch.complex128),
        "fine": torch.zeros(2),
    }
    error = refusal(saved(tmp_path / "model.bin", content))
    assert [fault.subject for fault in error.faults] == ["sparse", "double"]
    assert "complex128" in str(error)


class Harmless:
    """A class of no module that torch allows."""


def test_a_pickled_object_is_refused_by_its_class(tmp_path):
    error = refusal(saved(tmp_path / "model.bin", {"a": torch.zeros(2), "settings": Harmless()}))
    assert error.codes == ("unsafe-pickle",)
    assert "Harmless" in str(error)


def test_a_whole_pickled_module_is_refused(tmp_path):
    error = refusal(saved(tmp_path / "model.pth", nn.Linear(2, 2)))
    assert error.codes == ("unsafe-pickle",)
    assert "Linear" in str(error)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_program_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "model.pt")
    error = refusal(tmp_path / "model.pt")
    assert error.codes == ("unsafe-pickle",)
    assert "TorchScript" in str(error)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.97])
def test_a_cut_file_is_refused(tmp_path, zipped, kept):
    path = saved(tmp_path / "model.bin", small_model(), _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert refusal(path).codes == ("bad-pickle",)


@pytest.mark.parametrize("content", [b"not a pickle", b"\x80\x02.", b"PK\x03\x04 and nothing else", bytes(1000)])
def test_a_file_of_other_bytes_is_refused(tmp_path, content):
    (tmp_path / "model.bin").write_bytes(content)
    assert refusal(tmp_path / "model.bin").codes == ("bad-pickle",)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    plain = saved(tmp_path / "plain.bin", {"a": torch.zeros(100_000)})
    packed = tmp_path / "packed.bin"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    error = refusal(packed)
    assert error.codes == ("bad-pickle",)
    assert "records of a weight file are not compressed" in str(error)


def test_a_plain_pickle_of_numbers_is_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(pickle.dumps({"a": [1.0, 2.0]}))
    assert refusal(tmp_path / "model.bin").code in ("bad-pickle", "unsafe-pickle")
