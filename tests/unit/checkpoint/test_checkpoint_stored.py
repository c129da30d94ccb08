"""Reading safetensors: memory of its own, alignment, closing, many files, files that change or outgrow memory."""

import contextlib
import gc
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import safetensors.torch
import torch

from cuvee.checkpoint import open_checkpoint, stored
from cuvee.checkpoint.stored import SafetensorsFile
from cuvee.errors import InputError
from cuvee.types import ModelRef
from tests.support.checkpoints import assert_same, entry, of_every_dtype, random_tensor, read_whole, write_raw


def one_file(path, tensors):
    safetensors.torch.save_file(tensors, path)
    return SafetensorsFile(path)


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def descriptors_of(path):
    """How many of this process lead to the file: what other tests leave or let go of meanwhile does not count."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            found += link.readlink() == path
    return found


def test_reading_warns_of_nothing(tmp_path):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.arange(100.0)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert file.read("a", 10, 20).tolist() == list(range(10, 20))


def test_writing_to_what_was_read_does_not_reach_the_file(tmp_path):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.zeros(4)})
    before = file.path.read_bytes()
    file.read("a", 0, 4).fill_(7)
    assert file.path.read_bytes() == before


def test_tensors_that_are_not_aligned_are_read_right(tmp_path):
    tensors = {"pad": random_tensor("uint8", (3,)), "a": random_tensor("float64", (5,), 1)}
    data = bytes(tensors["pad"].tolist()) + bytes(tensors["a"].view(torch.uint8).tolist())
    header = {"pad": entry("U8", [3], 0, 3), "a": entry("F64", [5], 3, 43)}
    reader = open_checkpoint(ModelRef(str(write_raw(tmp_path / "x.safetensors", header, data))))
    assert_same(read_whole(reader), tensors)
    assert reader.read("a", 1, 3).data_ptr() % 8 == 0  # not every processor reads numbers from odd addresses


def test_every_dtype_scalars_and_empty_tensors(tmp_path):
    tensors = of_every_dtype()
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors")
    reader = open_checkpoint(ModelRef(str(tmp_path / "x.safetensors")))
    assert_same(read_whole(reader), tensors)
    assert reader.specs["scalar"].shape == ()
    assert reader.read("scalar", 0, 1).shape == (1,)
    assert reader.read("empty", 0, 0).shape == (0,)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 5), (3, 2)])
def test_elements_outside_the_tensor_are_refused(tmp_path, start, stop):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.zeros(4)})
    with pytest.raises(ValueError, match="outside"):
        file.read("a", start, stop)


def test_what_was_read_outlives_the_closed_file(tmp_path):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.arange(10_000.0)})
    view = file.read("a", 0, 10_000)
    file.close()
    del file
    gc.collect()
    assert view.sum().item() == sum(range(10_000))


def test_reading_after_closing_is_refused(tmp_path):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.zeros(4)})
    file.read("a", 0, 4)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read("a", 0, 4)


def test_closing_lets_go_of_the_descriptor(tmp_path):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.zeros(4)})
    file.read("a", 0, 4)
    assert descriptors_of(tmp_path / "x.safetensors") == 1
    file.close()
    assert descriptors_of(tmp_path / "x.safetensors") == 0


def test_a_file_that_is_dropped_unclosed_lets_go_of_its_descriptor(tmp_path):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.zeros(4)})
    file.read("a", 0, 4)
    assert descriptors_of(tmp_path / "x.safetensors") == 1
    del file
    gc.collect()
    assert descriptors_of(tmp_path / "x.safetensors") == 0


def test_more_files_than_a_process_may_open_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(stored._OPEN, "_limit", 8)
    files = [one_file(tmp_path / f"{i}.safetensors", {"a": torch.full((3,), float(i))}) for i in range(40)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + 12, hard))
    try:
        for _ in range(2):
            assert [file.read("a", 0, 1).item() for file in files] == list(range(40))
        assert len(stored._OPEN._files) == 8
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for file in files:
            file.close()


def test_a_file_that_changed_since_it_was_opened_is_refused(tmp_path):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.zeros(4)})
    (tmp_path / "x.safetensors").unlink()
    one_file(tmp_path / "x.safetensors", {"a": torch.ones(4)})
    with pytest.raises(InputError) as caught:
        file.read("a", 0, 4)
    assert caught.value.codes == ("io-error",)
    assert "has changed since its header was read" in str(caught.value)


def test_a_file_that_is_gone_is_told(tmp_path):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.zeros(4)})
    (tmp_path / "x.safetensors").unlink()
    with pytest.raises(InputError, match=r"could not read .*x.safetensors: No such file") as caught:
        file.read("a", 0, 4)
    assert caught.value.codes == ("io-error",)


def test_a_file_larger_than_memory_is_opened_and_read(tmp_path):
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3
    path = write_raw(tmp_path / "x.safetensors", {"a": entry("U8", [size], 0, size)})
    try:
        os.truncate(path, path.stat().st_size + size)
    except OSError:
        pytest.skip("this file system has no files of that size")
    file = SafetensorsFile(path)
    assert file.read("a", size - 3, size).tolist() == [0, 0, 0]
    file.close()


def test_a_file_that_is_cut_short_is_an_error(tmp_path):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.arange(4096.0)})
    assert file.read("a", 0, 1).tolist() == [0]
    os.truncate(file.path, 4096)
    for attempt in (lambda: file.read("a", 2000, 4000), lambda: file.digest("a")):
        with pytest.raises(InputError, match="the file is shorter than it was") as caught:
            attempt()
        assert caught.value.codes == ("io-error",)


@pytest.mark.parametrize("how", ["written to", "longer"])
def test_a_file_that_was_written_to_is_told(tmp_path, how):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.zeros(4)})
    file.check_unchanged()
    os.utime(file.path, ns=(0, 0)) if how == "written to" else os.truncate(file.path, 1000)
    with pytest.raises(InputError, match="has changed while it was read"):
        file.check_unchanged()


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_that_is_another_now_was_read_as_it_was(tmp_path, how):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.zeros(4)})
    file.read("a", 0, 1)
    file.path.unlink()
    if how == "replaced":
        one_file(file.path, {"a": torch.ones(4)})
    assert file.read("a", 0, 4).tolist() == [0] * 4
    file.check_unchanged()


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_a_call_that_brings_fewer_bytes_is_followed_by_another(tmp_path, monkeypatch, count):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.arange(500.0)})
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, into, at: preadv(fd, [into[0][:count]], at))
    assert file.read("a", 7, 499).equal(torch.arange(7.0, 499.0))


def test_a_dtype_that_an_old_torch_lacks_is_named(tmp_path, monkeypatch):
    file = one_file(tmp_path / "x.safetensors", {"a": torch.zeros(4, dtype=torch.float8_e8m0fnu)})
    monkeypatch.delattr(torch, "float8_e8m0fnu")
    with pytest.raises(InputError) as caught:
        file.read("a", 0, 4)
    assert "float8_e8m0fnu" in str(caught.value)
    assert caught.value.faults[0].hint == "install a newer torch"


def test_opening_and_planning_load_no_torch(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(_saved({"a": torch.zeros(2)}, tmp_path))
    code = f"""
import sys
import cuvee.checkpoint
assert "torch" not in sys.modules and "huggingface_hub" not in sys.modules
from cuvee.checkpoint import FolderWriter, open_checkpoint, plan_layout
from cuvee.types import ModelRef
reader = open_checkpoint(ModelRef({str(tmp_path)!r}))
assert plan_layout(reader.specs.values(), 100).nbytes > 8
reader.digest("a")
assert "torch" not in sys.modules and "huggingface_hub" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _saved(tensors, folder: Path) -> bytes:
    safetensors.torch.save_file(tensors, folder / "saved.tmp")
    content = (folder / "saved.tmp").read_bytes()
    (folder / "saved.tmp").unlink()
    return content
