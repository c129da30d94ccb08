"""Writing a folder: what stands in it, when it becomes visible, what may be replaced."""

import errno
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import safetensors.torch
import torch

from cuvee.checkpoint import FolderWriter, SideFile, open_checkpoint, plan_layout, staging
from cuvee.checkpoint.fingerprint import digest_file
from cuvee.errors import OutputExists, ResourceError
from cuvee.types import ModelRef, TensorSpec
from tests.support.checkpoints import (
    assert_same,
    of_every_dtype,
    read_whole,
    small_model,
    specs_of,
    tree,
    write_model,
)

ONE = plan_layout([TensorSpec("a", "float32", (4,))], 1000)


def write_one(out, value=1.0, **settings):
    with FolderWriter(ONE, out, **settings) as writer:
        writer.write("a", 0, torch.full((4,), value))
        writer.publish()


def value_of(out):
    return safetensors.torch.load_file(out / "model.safetensors")["a"][0].item()


def beside(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def refused(tmp_path):
    """Checks that a call is refused with a code and that nothing on disk has changed."""

    def check(error, code, out, **settings):
        before = tree(tmp_path)
        with pytest.raises(error) as caught:
            write_one(out, 2.0, **settings)
        assert caught.value.codes == (code,)
        assert caught.value.faults[0].hint
        assert tree(tmp_path) == before
        assert not [name for name in beside(tmp_path) if "cuvee-" in name]
        return str(caught.value)

    return check


@pytest.mark.parametrize("shard_bytes", [1, 60, 10**9])
def test_what_is_written_is_read_back(tmp_path, shard_bytes):
    tensors = of_every_dtype()
    write_model(tmp_path / "out", tensors, shard_bytes=shard_bytes, config={"model_type": "x"})
    reader = open_checkpoint(ModelRef(str(tmp_path / "out")))
    assert_same(read_whole(reader), tensors)
    assert reader.config == {"model_type": "x"}
    assert beside(tmp_path) == ["out"]


def test_a_sharded_output_has_its_index(tmp_path):
    tensors = small_model()
    write_model(tmp_path / "out", tensors, shard_bytes=300)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    for name, file in index["weight_map"].items():
        assert name in safetensors.torch.load_file(tmp_path / "out" / file)
    assert set(index["weight_map"]) == set(tensors)


def test_files_have_their_final_size_before_a_tensor_is_written(tmp_path):
    layout = plan_layout([TensorSpec("a", "float32", (1 << 20,))], 10**9)
    with FolderWriter(layout, tmp_path / "out"):
        status = (tmp_path / ".out.cuvee-partial" / "model.safetensors").stat()
    assert status.st_size == layout.nbytes
    assert status.st_blocks * 512 >= layout.nbytes  # the space is taken, not only promised


def test_nothing_is_visible_before_publishing(tmp_path):
    with FolderWriter(ONE, tmp_path / "out") as writer:
        writer.write("a", 0, torch.zeros(4))
        writer.add_text("config.json", "{}")
        assert not (tmp_path / "out").exists()
        writer.publish()
        assert beside(tmp_path / "out") == ["config.json", "model.safetensors"]
    assert beside(tmp_path) == ["out"]


def test_a_block_left_without_publishing_leaves_no_trace(tmp_path):
    with FolderWriter(ONE, tmp_path / "out") as writer:
        writer.write("a", 0, torch.zeros(4))
    assert beside(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
def test_an_error_leaves_no_trace(tmp_path, error):
    def fail():
        with FolderWriter(ONE, tmp_path / "out") as writer:
            writer.add_text("sub/notes.txt", "x")
            raise error

    with pytest.raises(error):
        fail()
    assert beside(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.EIO, "bad")])
def test_an_error_on_entering_leaves_no_trace(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises((KeyboardInterrupt, ResourceError)):
        write_one(tmp_path / "out")
    assert beside(tmp_path) == []


def test_a_tensor_that_was_forgotten_is_not_published(tmp_path):
    def forget():
        with FolderWriter(ONE, tmp_path / "out") as writer:
            writer.write("a", 0, torch.zeros(3))
            writer.publish()

    with pytest.raises(RuntimeError, match="`a` lacks 1 elements"):
        forget()
    assert beside(tmp_path) == []


def test_many_threads_write_the_tiles_of_one_tensor(tmp_path):
    tensor = torch.arange(100_003, dtype=torch.int32)
    layout = plan_layout(specs_of({"pad": torch.ones(3, dtype=torch.uint8), "a": tensor}), 10**9)
    with FolderWriter(layout, tmp_path / "out") as writer, ThreadPoolExecutor(8) as pool:
        starts = list(range(0, tensor.numel(), 997))
        done = [pool.submit(writer.write, "a", start, tensor[start : start + 997]) for start in reversed(starts)]
        for future in done:
            future.result()
        writer.write("pad", 0, torch.ones(3, dtype=torch.uint8))
        writer.publish()
    assert_same({"a": safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")["a"]}, {"a": tensor})


def test_writes_that_take_only_a_part_are_gone_on_with(tmp_path, monkeypatch):
    plain = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: plain(fd, data[:5], at))
    tensors = of_every_dtype()
    write_model(tmp_path / "out", tensors)
    assert_same(safetensors.torch.load_file(tmp_path / "out" / "model.safetensors"), tensors)


def test_values_that_are_not_contiguous_are_written_right(tmp_path):
    values = torch.arange(8.0)[::2]
    with FolderWriter(ONE, tmp_path / "out") as writer:
        writer.write("a", 0, values)
        writer.publish()
    assert safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")["a"].tolist() == [0, 2, 4, 6]


def test_side_files_are_copied_byte_for_byte_links_as_files(tmp_path):
    (tmp_path / "blob").write_bytes(b"\r\n\x00\xff")
    (tmp_path / "link").symlink_to("blob")
    with FolderWriter(ONE, tmp_path / "out") as writer:
        writer.write("a", 0, torch.zeros(4))
        assert writer.add_file(SideFile("sub/deep/x.bin", tmp_path / "link")) == digest_file(tmp_path / "blob")
        writer.add_text("text.txt", "ä\r\n")
        writer.publish()
    copied = tmp_path / "out" / "sub" / "deep" / "x.bin"
    assert not copied.is_symlink()
    assert copied.read_bytes() == b"\r\n\x00\xff"
    assert (tmp_path / "out" / "text.txt").read_bytes() == "ä\r\n".encode()


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", ".", "a//b", "./a", "model.safetensors", "once.txt"])
def test_names_that_lead_out_or_are_taken_are_refused(tmp_path, name):
    with FolderWriter(ONE, tmp_path / "out") as writer:
        writer.add_text("once.txt", "x")
        with pytest.raises(ValueError, match="output"):
            writer.add_text(name, "x")
        with pytest.raises(ValueError, match="output"):
            writer.add_file(SideFile(name, tmp_path / "nothing"))


def test_a_writer_that_is_not_open_is_refused(tmp_path):
    writer = FolderWriter(ONE, tmp_path / "out")
    with pytest.raises(RuntimeError, match="not open"):
        writer.write("a", 0, torch.zeros(4))
    with pytest.raises(RuntimeError, match="not open"):
        writer.add_text("x", "x")


def test_missing_parents_are_made_and_empty_folders_filled(tmp_path):
    write_one(tmp_path / "new" / "deep" / "out")
    (tmp_path / "empty").mkdir()
    write_one(tmp_path / "empty")
    assert value_of(tmp_path / "new" / "deep" / "out") == value_of(tmp_path / "empty") == 1


def test_an_existing_output_is_refused(tmp_path, refused):
    write_one(tmp_path / "out")
    message = refused(OutputExists, "output-exists", tmp_path / "out")
    assert "--overwrite" in message


@pytest.mark.parametrize("exchange", [True, False])
def test_an_existing_output_is_replaced_when_asked(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(staging, "_exchange", lambda *_: False)
    write_one(tmp_path / "out")
    (tmp_path / "out" / "stale.safetensors").write_bytes(b"x")
    write_one(tmp_path / "out", 2.0, overwrite=True)
    assert value_of(tmp_path / "out") == 2
    assert beside(tmp_path / "out") == ["model.safetensors"]
    assert beside(tmp_path) == ["out"]


def test_the_old_output_stays_until_the_new_one_is_published(tmp_path):
    write_one(tmp_path / "out")

    def fail():
        with FolderWriter(ONE, tmp_path / "out", overwrite=True) as writer:
            writer.write("a", 0, torch.full((4,), 2.0))
            assert value_of(tmp_path / "out") == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert value_of(tmp_path / "out") == 1
    assert beside(tmp_path) == ["out"]


def test_a_folder_that_is_no_model_is_never_replaced(tmp_path, refused):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    assert "does not look like a model" in refused(OutputExists, "unsafe-overwrite", tmp_path / "out", overwrite=True)


@pytest.mark.parametrize("relation", ["is", "holds", "lies in", "holds a file", "through a link"])
def test_an_output_that_touches_an_input_is_never_replaced(tmp_path, refused, relation):
    out = tmp_path / "models" / "a"
    write_one(out)
    (tmp_path / "link").symlink_to(tmp_path / "models")
    protected = {
        "is": out,
        "holds": out / "sub",
        "lies in": tmp_path / "models",
        "holds a file": out / "model.safetensors",
        "through a link": tmp_path / "link" / "a",
    }[relation]
    refused(OutputExists, "unsafe-overwrite", out, overwrite=True, protected=[tmp_path / "other", protected])


def test_an_output_beside_its_inputs_is_replaced(tmp_path):
    write_one(tmp_path / "models" / "out")
    protected = [tmp_path / "models" / "outer", tmp_path / "models" / "recipe.yml"]
    write_one(tmp_path / "models" / "out", 2.0, overwrite=True, protected=protected)
    assert value_of(tmp_path / "models" / "out") == 2


def test_the_working_folder_and_its_parents_are_never_replaced(tmp_path, monkeypatch, refused):
    write_one(tmp_path / "out")
    (tmp_path / "out" / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "out" / "sub")
    refused(OutputExists, "unsafe-overwrite", tmp_path / "out", overwrite=True)
    refused(OutputExists, "unsafe-overwrite", tmp_path / "out" / "sub")


def test_the_home_folder_is_never_replaced(tmp_path, monkeypatch, refused):
    write_one(tmp_path / "out")
    monkeypatch.setenv("HOME", str(tmp_path / "out"))
    assert "your home folder" in refused(OutputExists, "unsafe-overwrite", tmp_path / "out", overwrite=True)


def test_a_file_in_the_place_of_the_output_is_refused(tmp_path, refused):
    (tmp_path / "out").write_text("x")
    refused(OutputExists, "unsafe-overwrite", tmp_path / "out", overwrite=True)
    refused(OutputExists, "unsafe-overwrite", tmp_path / "out")


def test_a_link_to_nowhere_is_refused(tmp_path, refused):
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    refused(OutputExists, "unsafe-overwrite", tmp_path / "out")


def test_the_root_of_the_file_system_is_refused(tmp_path, refused):
    refused(OutputExists, "unsafe-overwrite", type(tmp_path)("/"), overwrite=True)


def test_a_link_to_a_folder_stays_and_the_folder_changes(tmp_path):
    (tmp_path / "disk").mkdir()
    write_one(tmp_path / "disk" / "real")
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "real")
    write_one(tmp_path / "out", 2.0, overwrite=True)
    assert (tmp_path / "out").is_symlink()
    assert value_of(tmp_path / "disk" / "real") == 2
    assert beside(tmp_path / "disk") == ["real"]


def test_an_output_that_came_to_be_meanwhile_is_not_replaced(tmp_path):
    def meet():
        with FolderWriter(ONE, tmp_path / "out") as writer:
            writer.write("a", 0, torch.full((4,), 2.0))
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "other.txt").write_text("x")
            writer.publish()

    with pytest.raises(OutputExists) as caught:
        meet()
    assert caught.value.codes == ("output-exists",)
    assert tree(tmp_path) == {"out/other.txt": b"x"}


def test_even_between_check_and_rename_nothing_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr("cuvee.checkpoint.writer.check_output", lambda *_: None)
    write_one(tmp_path / "out")
    with pytest.raises(OutputExists):
        write_one(tmp_path / "out", 2.0)
    assert value_of(tmp_path / "out") == 1


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, None])
def test_a_system_that_cannot_exchange_folders_says_so(tmp_path, monkeypatch, number):
    class Library:
        if number is not None:
            renameat2 = staticmethod(lambda *_: -1)

    monkeypatch.setattr(staging.ctypes, "CDLL", lambda *_, **__: Library)
    monkeypatch.setattr(staging.ctypes, "get_errno", lambda: number)
    assert staging._exchange(tmp_path, tmp_path) is False


def test_this_system_exchanges_folders_or_says_why_not(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    if not staging._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system cannot exchange folders")
    assert tree(tmp_path) == {"a/b": b"b", "b/a": b"a"}
    with pytest.raises(FileNotFoundError):
        staging._exchange(tmp_path / "a", tmp_path / "gone")


def test_a_failed_second_rename_puts_the_old_output_back(tmp_path, monkeypatch):
    write_one(tmp_path / "out")
    monkeypatch.setattr(staging, "_exchange", lambda *_: False)
    plain = type(tmp_path).rename

    def rename(self, target):
        if self.name.endswith("partial"):
            raise OSError(errno.EIO, "bad disk")
        return plain(self, target)

    monkeypatch.setattr(type(tmp_path), "rename", rename)
    with pytest.raises(ResourceError) as caught:
        write_one(tmp_path / "out", 2.0, overwrite=True)
    assert caught.value.codes == ("io-error",)
    assert value_of(tmp_path / "out") == 1
    assert beside(tmp_path) == ["out"]


def test_a_run_killed_between_two_renames_is_undone_by_the_next(tmp_path):
    write_one(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / ".out.cuvee-old")
    (tmp_path / ".out.cuvee-partial").mkdir()
    with pytest.raises(OutputExists):
        write_one(tmp_path / "out", 2.0)
    assert value_of(tmp_path / "out") == 1
    assert beside(tmp_path) == ["out"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / ".out.cuvee-partial" / "sub").mkdir(parents=True)
    (tmp_path / ".out.cuvee-partial" / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".out.cuvee-lock").write_text("")
    write_one(tmp_path / "out")
    assert beside(tmp_path) == ["out"]
    assert beside(tmp_path / "out") == ["model.safetensors"]


def test_a_link_in_the_place_of_the_staging_folder_is_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "x").write_text("x")
    (tmp_path / ".out.cuvee-partial").symlink_to(tmp_path / "precious")
    write_one(tmp_path / "out")
    assert tree(tmp_path / "precious") == {"x": b"x"}
    assert beside(tmp_path) == ["out", "precious"]


def test_the_output_is_old_or_new_at_every_instant(tmp_path):
    """A watcher that looks all the time never finds the output missing, half written, or half removed."""
    out = tmp_path / "out"
    settings = {"shard_bytes": 100, "overwrite": True}
    write_model(out, small_model(), **settings)
    expected = frozenset(path.name for path in out.iterdir())
    seen, stop, looks = [], threading.Event(), [0]

    def watch():
        while not stop.is_set():
            try:
                descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                seen.append("missing")
                continue
            names = frozenset(os.listdir(descriptor))  # noqa: PTH208 - of the open folder, not of a path
            # only what still has the name counts: a folder that was replaced may be removed under our eyes
            if os.path.samestat(os.fstat(descriptor), out.stat()) and names != expected:
                seen.append(names)
            os.close(descriptor)
            looks[0] += 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for seed in range(30):
            write_model(out, small_model(seed), **settings)
    finally:
        stop.set()
        watcher.join()
    assert seen == []
    assert looks[0] > 30
    assert_same(read_whole(open_checkpoint(ModelRef(str(out)))), small_model(29))
