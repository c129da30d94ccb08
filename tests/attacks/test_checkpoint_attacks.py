"""Abuses of the loader and the writer, each with the check that stops it; `README.md` numbers them.

Every model here was made by somebody who wishes the reader ill. Whatever it does, opening it ends in an error that
names the file: no code runs, no memory is exhausted, no file outside the model is read into an output.
"""

import json
import os
import pickle
import resource
import subprocess
import sys
import zipfile

import pytest
import safetensors.torch
import torch

from cuvee.checkpoint import FolderWriter, SideFile, open_checkpoint, plan_layout
from cuvee.errors import InputError
from cuvee.types import ModelRef, TensorSpec
from tests.support.attacking import Rebuilt, hand_made, model_folder, refused
from tests.support.checkpoints import entry, header_bytes, read_whole, tree, write_model, write_raw

# --- safetensors headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**62, 2**40, 100_000_001])
def test_a_header_that_claims_to_be_larger_than_memory(tmp_path, length):
    """Stopped by the cap on header length, before a byte of it is read."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}")
    refused(path, "bad-header")


def test_a_header_that_claims_to_be_longer_than_its_file(tmp_path):
    """Stopped by comparing the length with the size of the file, so that no buffer of that length is made."""
    path = tmp_path / "x.safetensors"
    path.write_bytes((99_999_999).to_bytes(8, "little") + b"{}")
    refused(path, "truncated")


def test_a_header_nested_a_million_deep(tmp_path):
    """Stopped by turning the parser's recursion error into a fault."""
    path = tmp_path / "x.safetensors"
    for opening in (b"[", b'{"a":'):
        write_raw(path, opening * 10**6)
        refused(path, "bad-header")


def test_a_number_of_a_million_digits(tmp_path):
    """Stopped by the limit on digits, whose conversion takes quadratic time."""
    write_raw(tmp_path / "x.safetensors", b'{"a": ' + b"9" * 10**6 + b"}")
    refused(tmp_path / "x.safetensors", "bad-header")


@pytest.mark.parametrize("offsets", [(-8, 0), (0, -8), (8, 0), (-16, -8), (2**63, 2**63 + 8), (0, 2**64 + 8)])
def test_offsets_below_zero_reversed_or_wrapped_around(tmp_path, offsets):
    """Stopped by checking each offset before any arithmetic with it."""
    write_raw(tmp_path / "x.safetensors", {"a": entry("U8", [8], *offsets)}, bytes(8))
    refused(tmp_path / "x.safetensors", "bad-header")


@pytest.mark.parametrize("begin", [1, 8, 10**6, 2**40])
def test_offsets_outside_the_file(tmp_path, begin):
    """Stopped by requiring that the tensors cover the data from its first byte to its last."""
    write_raw(tmp_path / "x.safetensors", {"a": entry("U8", [8], begin, begin + 8)}, bytes(8))
    refused(tmp_path / "x.safetensors", "bad-header", "truncated")
    write_raw(tmp_path / "x.safetensors", {"a": entry("U8", [begin], 0, begin)})
    refused(tmp_path / "x.safetensors", "truncated")


def test_two_tensors_over_the_same_bytes(tmp_path):
    """Stopped by the cover: a thousand tensors over one gigabyte would make a terabyte of output."""
    header = {f"t{i}": entry("U8", [8], 0, 8) for i in range(1000)}
    write_raw(tmp_path / "x.safetensors", header, bytes(8))
    refused(tmp_path / "x.safetensors", "bad-header")


@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_bytes_that_belong_to_no_tensor(tmp_path, place):
    """Stopped by the cover: a second file hidden in the first would pass every other check."""
    gaps = {"before": (4, 8, 8, 12), "between": (0, 4, 8, 12), "after": (0, 4, 4, 8)}[place]
    header = {"a": entry("U8", [4], *gaps[:2]), "b": entry("U8", [4], *gaps[2:])}
    write_raw(tmp_path / "x.safetensors", header, bytes(12))
    refused(tmp_path / "x.safetensors", "bad-header")


def test_a_tensor_that_stands_twice_in_the_header(tmp_path):
    """Stopped by looking at the pairs of the JSON: two readers could each take another one."""
    one, two = json.dumps(entry("U8", [4], 0, 4)), json.dumps(entry("U8", [4], 4, 8))
    write_raw(tmp_path / "x.safetensors", f'{{"a": {one}, "a": {two}}}'.encode(), bytes(8))
    assert "twice" in refused(tmp_path / "x.safetensors", "bad-header")
    write_raw(tmp_path / "x.safetensors", f'{{"a": {one[:-1]}, "shape": [4]}}}}'.encode(), bytes(4))
    assert "twice" in refused(tmp_path / "x.safetensors", "bad-header")


@pytest.mark.parametrize(
    "shape", [[2**32, 2**32], [2**63, 2], [2**21, 2**21, 2**22], [2**62, 4, 0], [10**30], [0, 10**30]]
)
def test_shapes_whose_product_wraps_around_to_what_the_offsets_say(tmp_path, shape):
    """Stopped by whole-number arithmetic without a limit, and by refusing what no program can count."""
    write_raw(tmp_path / "x.safetensors", {"a": entry("F32", shape, 0, 0)})
    refused(tmp_path / "x.safetensors", "bad-header")


@pytest.mark.parametrize("code", ["F32\0", "f32", "F128", "object", "", "F4", "../F32", None, 7, ["F32"], {"F32": 1}])
def test_dtypes_that_do_not_exist(tmp_path, code):
    """Stopped by the closed list of dtype codes."""
    write_raw(tmp_path / "x.safetensors", {"a": entry(code, [1], 0, 4)}, bytes(4))
    refused(tmp_path / "x.safetensors", "bad-header")


def test_a_million_faults(tmp_path):
    """Stopped by the cap on faults that are told."""
    header = {f"tensor.{i}": entry("X", [1], 0, 4) for i in range(30_000)}
    write_raw(tmp_path / "x.safetensors", header)
    refused(tmp_path / "x.safetensors", "bad-header")


def test_a_file_cut_off_in_its_data(tmp_path):
    """Stopped by comparing the last offset with the size: reading past the end of a map kills the process."""
    path = model_folder(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "`a`" in refused(path, "truncated")


def test_a_file_cut_off_after_it_was_opened(tmp_path):
    """Stopped, until the file is opened again, by comparing it with what was opened."""
    path = model_folder(tmp_path) / "model.safetensors"
    reader = open_checkpoint(ModelRef(str(path)))
    os.truncate(path, 10)
    with pytest.raises(InputError) as caught:
        reader.read("a", 0, 2)
    assert caught.value.codes == ("io-error",)


# --- shard indexes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../secret.safetensors",
        "..",
        "/etc/secret.safetensors",
        "sub/dir.safetensors",
        "sub\\dir.safetensors",
        "./model.safetensors",
        "~/x.safetensors",
        "",
        "\0.safetensors",
        "a\nb.safetensors",
        "passwd",
        "file:///x.safetensors/",
    ],
)
def test_an_index_that_leads_out_of_its_folder(tmp_path, name):
    """Stopped by accepting plain weight file names only, whether or not the file is there."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path / "secret.safetensors", folder / "sub" / "dir.safetensors"):
        safetensors.torch.save_file({"a": torch.zeros(2)}, place)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    refused(folder, "bad-index")
    (folder / "model.safetensors.index.json").rename(folder / "pytorch_model.bin.index.json")
    refused(folder, "bad-index")


def test_an_index_that_says_less_than_its_files_hold(tmp_path):
    """Stopped by requiring agreement in both directions: what the index omits would be lost in silence."""
    folder = tmp_path / "model"
    folder.mkdir()
    safetensors.torch.save_file({"a": torch.zeros(2), "backdoor": torch.ones(2)}, folder / "x.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "x.safetensors"}}))
    assert "backdoor" in refused(folder, "bad-index")


# --- pickles -------------------------------------------------------------------------------------------------------


class RunsCode:
    """Writes a file when it is unpickled."""

    def __init__(self, marker, function):
        self.marker = marker
        self.function = function

    def __reduce__(self):
        return self.function, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.system, subprocess.getoutput, eval, exec, getattr])
def test_a_pickle_that_runs_code(tmp_path, protocol, function):
    """Stopped by torch's unpickler for weights, in every protocol; the marker proves that nothing ran."""
    marker, path = tmp_path / "marker", tmp_path / "model.bin"
    path.write_bytes(pickle.dumps({"a": RunsCode(marker, function)}, protocol=protocol))
    refused(path, "unsafe-pickle", "bad-pickle")
    assert not marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth", "model.pt"])
def test_a_torch_file_that_runs_code_beside_its_tensors(tmp_path, name, zipped):
    """Stopped in both of torch's formats; the message names what was refused and no way round it."""
    marker = tmp_path / "marker"
    content = {"a": torch.zeros(2), "b": RunsCode(marker, os.system)}
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
    said = refused(tmp_path / name, "unsafe-pickle")
    assert "system" in said
    assert "weights_only" not in said
    assert "add_safe_globals" not in said
    assert not marker.exists()


def test_the_attack_works_on_a_reader_without_care(tmp_path):
    """Guards the two tests above: the same file does run its code in a plain unpickler."""
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps({"a": RunsCode(marker, os.system)}))
    assert marker.exists()


def test_an_environment_that_switches_the_safety_off(tmp_path):
    """Stopped by always saying `weights_only=True`: torch then ignores the variable."""
    marker, path = tmp_path / "marker", tmp_path / "model.bin"
    torch.save({"b": RunsCode(marker, os.system)}, path)
    code = f"""
from cuvee.checkpoint import open_checkpoint
from cuvee.errors import InputError
from cuvee.types import ModelRef
try:
    open_checkpoint(ModelRef({str(path)!r}))
except InputError as error:
    print(error.code)
"""
    settings = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=True)
    assert done.stdout == "unsafe-pickle\n"
    assert not marker.exists()


def test_a_shard_among_good_ones_that_runs_code(tmp_path):
    """Stopped in shards as in single files."""
    marker, folder = tmp_path / "marker", tmp_path / "model"
    folder.mkdir()
    torch.save({"a": torch.zeros(2)}, folder / "1.bin")
    torch.save({"b": RunsCode(marker, os.system)}, folder / "2.bin")
    index = {"weight_map": {"a": "1.bin", "b": "2.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    refused(folder, "unsafe-pickle")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("tensor", "claimed"),
    [
        (Rebuilt(0, (10**9,), (1,)), 10**9),
        (Rebuilt(0, (10**9,), (1,)), 4),
        (Rebuilt(10**9, (1,), (1,)), 4),
        (Rebuilt(-4, (1,), (1,)), 4),
        (Rebuilt(0, (2, 2), (10**9, 1)), 4),
        (Rebuilt(0, (2,), (-1,)), 4),
    ],
)
def test_a_pickle_whose_tensor_is_larger_than_its_storage(tmp_path, tensor, claimed):
    """Stopped by torch's bounds check against the map of the file; nothing outside is read, nothing is allocated."""
    refused(hand_made(tmp_path / "model.bin", tensor, claimed), "bad-pickle")


def test_the_hand_made_file_is_good_when_it_tells_the_truth(tmp_path):
    """Guards the test above."""
    path = hand_made(tmp_path / "model.bin", Rebuilt(0, (2, 2), (2, 1)), 4)
    assert read_whole(open_checkpoint(ModelRef(str(path))))["a"].tolist() == [[0, 0], [0, 0]]


def test_a_tensor_that_repeats_one_element_a_million_million_times(tmp_path):
    """Not stopped on opening, because small ones are used; reading it in tiles needs no more than a tile."""
    path = hand_made(tmp_path / "model.bin", Rebuilt(0, (10**6, 10**6), (0, 0)), 4)
    reader = open_checkpoint(ModelRef(str(path)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reader.read("a", 10**11, 10**11 + 1000).tolist() == [0.0] * 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_compressed_archive_that_unpacks_to_gigabytes(tmp_path):
    """Stopped by refusing compressed records from the archive's own list, before one is unpacked."""
    path = tmp_path / "model.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(300_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "records of a weight file are not compressed" in refused(path, "bad-pickle")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("name", ["model.safetensors", "model.bin"])
def test_a_file_of_the_other_kind(tmp_path, name):
    """Stopped because the ending chooses the reader: a pickle called safetensors is never unpickled."""
    marker = tmp_path / "marker"
    if name.endswith(".bin"):
        safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / name)
    else:
        torch.save({"a": RunsCode(marker, os.system)}, tmp_path / name)
    refused(tmp_path / name, "bad-header", "truncated", "bad-pickle")
    assert not marker.exists()


# --- folders -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tokenizer.json", "sub/vocab.txt", "config.json"])
@pytest.mark.parametrize("way", ["file", "relative", "chain", "folder", "nowhere", "circle", "device"])
def test_a_link_that_leads_out_of_the_folder(tmp_path, name, way):
    """Stopped by resolving links to their end: a merge would copy the user's own files into what they publish."""
    folder = model_folder(tmp_path)
    (tmp_path / "secret.txt").write_text('{"key": 1}')
    (tmp_path / "chain").symlink_to(tmp_path / "secret.txt")
    link = folder / name
    link.parent.mkdir(exist_ok=True)
    target = {
        "file": tmp_path / "secret.txt",
        "relative": "/".join([".."] * len(link.relative_to(tmp_path).parents[:-1])) + "/secret.txt",
        "chain": tmp_path / "chain",
        "folder": tmp_path,
        "nowhere": tmp_path / "gone",
        "circle": link,
        "device": "/dev/zero",
    }[way]
    link.symlink_to(target)
    assert name in refused(folder, "unsafe-link")


def test_a_folder_that_pretends_to_be_a_hub_cache(tmp_path):
    """Stopped by allowing links into the repository's own blobs only, and only from a snapshot."""
    folder = tmp_path / "models--x" / "snapshots" / "1"
    folder.mkdir(parents=True)
    (tmp_path / "models--x" / "blobs").mkdir()
    (tmp_path / "models--x" / "refs").mkdir()
    (tmp_path / "models--x" / "refs" / "secret").write_text("x")
    safetensors.torch.save_file({"a": torch.zeros(2)}, folder / "model.safetensors")
    (folder / "tokenizer.json").symlink_to(tmp_path / "models--x" / "refs" / "secret")
    refused(folder, "unsafe-link")


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b'"x"',
        b"null",
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a":' * 10**6,
        b'{"n": ' + b"1" * 10**6 + b"}",
        b'{"pad": "' + b"x" * 20_000_001 + b'"}',
    ],
    ids=lambda content: content[:12].decode("latin-1"),
)
def test_a_config_that_is_no_config(tmp_path, content):
    """Stopped by caps on size, depth and digits, and by refusing keys that stand twice."""
    folder = model_folder(tmp_path)
    (folder / "config.json").write_bytes(content)
    refused(folder, "bad-config")


def test_code_in_the_folder(tmp_path):
    """Not run: it is carried over as the file it is."""
    marker, folder = tmp_path / "marker", model_folder(tmp_path)
    code = f"open({str(marker)!r}, 'w')"
    (folder / "modeling_evil.py").write_text(code)
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "modeling_evil.Evil"}}')
    reader = open_checkpoint(ModelRef(str(folder)))
    read_whole(reader)
    assert [side.path.read_text() for side in reader.side_files] == [code]
    assert not marker.exists()


def test_pipes_and_devices_in_the_folder(tmp_path):
    """Passed over: reading one would wait, or go on, for ever."""
    folder = model_folder(tmp_path)
    for name in ("config.json", "tokenizer.json", "pytorch_model.bin"):
        os.mkfifo(folder / name)
    reader = open_checkpoint(ModelRef(str(folder)))
    assert (reader.config, reader.side_files) == (None, ())


# --- outputs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/b", "a\0b", "a\nb", "..", "x" * 10_000, "ü\u202e"])
def test_tensor_names_that_look_like_paths(tmp_path, name):
    """Harmless: a tensor's name is text in a header and never a path."""
    write_model(tmp_path / "deep" / "out", {name: torch.ones(2)})
    assert sorted(tree(tmp_path)) == ["deep/out/config.json", "deep/out/model.safetensors"]
    assert list(safetensors.torch.load_file(tmp_path / "deep" / "out" / "model.safetensors")) == [name]


def test_a_tensor_called_metadata(tmp_path):
    """Stopped when the layout is made: the header would be one that no reader accepts."""
    torch.save({"__metadata__": torch.zeros(2)}, tmp_path / "model.bin")
    reader = open_checkpoint(ModelRef(str(tmp_path / "model.bin")))
    with pytest.raises(InputError) as caught:
        plan_layout(reader.specs.values(), 100)
    assert caught.value.codes == ("bad-header",)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "model.safetensors", "config.json"])
def test_side_files_that_would_leave_or_replace_the_output(tmp_path, name):
    """Stopped by checking every added name; nothing is written over the merged weights."""
    (tmp_path / "evil").write_text("evil")
    with FolderWriter(plan_layout([TensorSpec("a", "float32", (2,))], 100), tmp_path / "sub" / "out") as writer:
        writer.add_text("config.json", "{}")
        with pytest.raises(ValueError, match="output"):
            writer.add_file(SideFile(name, tmp_path / "evil"))
    assert tree(tmp_path) == {"evil": b"evil"}


def test_a_header_of_many_small_values(tmp_path):
    """Stopped by the cap on header bytes; below it, what does not look like a header is refused in seconds."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(header_bytes(b'{"a":[' + b"0," * 5_000_000 + b"0]}"))
    refused(path, "bad-header")
