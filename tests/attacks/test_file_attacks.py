"""Headers, indexes, configurations, folders and records made to harm, beyond the first list."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import cuvee
from cuvee.checkpoint import SideFile, open_checkpoint
from cuvee.checkpoint.copying import copy_hashed
from cuvee.errors import CuveeError, InputError, RecipeError
from cuvee.recipe import parse_file
from cuvee.types import ModelRef
from tests.support.attacking import model_folder, refused
from tests.support.checkpoints import entry, header_bytes, read_whole, write_raw
from tests.support.forks import Forks, forks
from tests.support.merging import linear
from tests.support.specs import SPECS
from tests.support.yard import Yard, new_yard

INDEX = "model.safetensors.index.json"


def indexed(folder: Path, **where: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / INDEX).write_text(json.dumps({"weight_map": where}))
    return folder


# --- headers


@pytest.mark.parametrize("number", ["true", "1.0", "1e0", "-0", "-1", "1e999", "NaN", "Infinity", '"1"', "null", "[1]"])
@pytest.mark.parametrize("place", ["shape", "begin", "end"])
def test_numbers_that_are_no_sizes(tmp_path: Path, number: str, place: str) -> None:
    values = {"shape": "1", "begin": "0", "end": "1", place: number}
    text = '{{"a":{{"dtype":"U8","shape":[{shape}],"data_offsets":[{begin},{end}]}}}}'.format(**values)
    path = write_raw(tmp_path / "x.safetensors", text.encode(), bytes(1))
    refused(path, "bad-header")


@pytest.mark.parametrize("dimensions", [65, 100_000])
def test_a_shape_of_many_dimensions(tmp_path: Path, dimensions: int) -> None:
    path = write_raw(tmp_path / "x.safetensors", {"a": entry("F32", [1] * dimensions, 0, 4)}, bytes(4))
    reader = open_checkpoint(ModelRef(str(path)))
    assert len(reader.specs["a"].shape) == dimensions
    write_raw(path, {"a": entry("F32", [2] * dimensions, 0, 4)}, bytes(4))
    assert len(refused(path, "bad-header")) < 1000


@pytest.mark.parametrize("begin", [3, 4, 5])
def test_tensors_that_overlap_by_one_byte(tmp_path: Path, begin: int) -> None:
    header = {"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], begin, begin + 4)}
    path = write_raw(tmp_path / "x.safetensors", header, bytes(begin + 4))
    if begin == 4:
        assert len(read_whole(open_checkpoint(ModelRef(str(path))))) == 2
    else:
        assert "1 bytes" in refused(path, "bad-header")


@pytest.mark.parametrize(
    "value", ["x", [], {"a": "\ud800"}, {"\udfff": "a"}, {"a": 1}, {"a": None}, {"a": {}}, None, 1, True, {"a": ["x"]}]
)
def test_metadata_that_is_no_text(tmp_path: Path, value: Any) -> None:
    assert "__metadata__" in refused(write_raw(tmp_path / "x.safetensors", {"__metadata__": value}), "bad-header")


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf{}",
        b" {}",
        b"\n{}",
        b"{}x",
        b"{}\0",
        b"{}{}",
        b"{} // x",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"{",
        b"[]",
        b"7",
        b"null",
        b"\xff\xfe{\x00}\x00",
        b'{"\xff": 1}',
        b'{"a\n": 1}',
        b"",
    ],
    ids=repr,
)
def test_headers_that_are_not_quite_json(tmp_path: Path, text: bytes) -> None:
    refused(write_raw(tmp_path / "x.safetensors", text), "bad-header")


@pytest.mark.parametrize("name", ["\ud800", "a\udfff"], ids=ascii)
def test_names_that_are_half_a_letter(tmp_path: Path, name: str) -> None:
    refused(write_raw(tmp_path / "x.safetensors", {name: entry("U8", [1], 0, 1)}, bytes(1)), "bad-header")


def test_names_that_only_look_alike(tmp_path: Path) -> None:
    """Not stopped, and nothing is lost: names are compared by their code points, in files as in headers."""
    names = ["é", unicodedata.normalize("NFD", "é"), "A", "a", "А", "a ", "a\u200b"]
    header = {name: entry("U8", [1], i, i + 1) for i, name in enumerate(names)}
    path = write_raw(tmp_path / "x.safetensors", header, bytes(range(len(names))))
    assert [int(tensor) for tensor in read_whole(open_checkpoint(ModelRef(str(path)))).values()] == list(range(7))
    result = cuvee.merge(linear(path, weights=[1]), tmp_path / "out")
    assert result.merged + result.copied == 7
    assert set(safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")) == set(names)


@pytest.mark.parametrize("depth", [101, 900, 5000])
@pytest.mark.parametrize("where", ["dtype", "shape", "data_offsets", "config", "index"])
def test_values_nested_deep_where_another_is_meant(tmp_path: Path, where: str, depth: int) -> None:
    """Printing such a value, or walking through it, would end in a `RecursionError`."""
    deep = "[" * depth + "]" * depth
    folder = model_folder(tmp_path)
    if where == "config":
        (folder / "config.json").write_text(f'{{"x": {deep}}}')
        refused(folder, "bad-config")
    elif where == "index":
        (folder / "model.safetensors").rename(folder / "x.safetensors")
        (folder / INDEX).write_text(f'{{"weight_map": {{"a": {deep}}}}}')
        refused(folder, "bad-index")
    else:
        values = {"dtype": '"U8"', "shape": "[1]", "data_offsets": "[0,1]", where: deep}
        inside = ",".join(f'"{key}":{value}' for key, value in values.items())
        refused(write_raw(tmp_path / "x.safetensors", f'{{"a":{{{inside}}}}}'.encode(), bytes(1)), "bad-header")


# --- what costs memory


@pytest.fixture(scope="module")
def forked() -> Iterator[Forks]:
    with forks(__name__) as made:
        yield made


def cost_of_opening(path: str) -> int:
    """How many times 4 MiB the process grew when it refused a file; 251 if it did not refuse it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read_whole(open_checkpoint(ModelRef(path)))
    except InputError:
        return min(250, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 4096)
    return 251


def repeated(start: bytes, unit: bytes, end: bytes, size: int = 20_000_000) -> bytes:
    return start + unit * (size // len(unit)) + end


@pytest.mark.parametrize(
    ("kind", "text", "most"),
    [
        ("header", repeated(b'{"a":[', b"[],", b"0]}"), 60),
        pytest.param("header", repeated(b'{"a":[', b'{"a":0},', b"0]}"), 60, marks=pytest.mark.slow),
        pytest.param("header", repeated(b'{"a":[', b"1.5,", b"0]}"), 350, marks=pytest.mark.slow),
        pytest.param("header", repeated(b'{"a":[', b'"ab",', b"0]}"), 450, marks=pytest.mark.slow),
        ("config", repeated(b'{"a":[', b"[],", b"0]}", 19_000_000), 60),
        pytest.param("index", repeated(b'{"weight_map":{"a":[', b"300,", b"0]}}"), 350, marks=pytest.mark.slow),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_json_that_takes_more_memory_than_it_has_bytes(
    tmp_path: Path, forked: Forks, kind: str, text: bytes, most: int
) -> None:
    folder = model_folder(tmp_path)
    if kind == "header":
        (folder / "model.safetensors").write_bytes(header_bytes(text))
    else:
        (folder / {"config": "config.json", "index": INDEX}[kind]).write_bytes(text)
    if kind == "index":
        (folder / "model.safetensors").unlink()
    begin = time.monotonic()
    grown = 4 * forked.run(cost_of_opening, folder)
    assert time.monotonic() - begin < 20
    assert grown < most, f"{grown} MiB"


@pytest.mark.parametrize("name", ["config.json", INDEX, "cuvee.json"])
def test_a_small_file_of_a_terabyte(tmp_path: Path, forked: Forks, name: str) -> None:
    """Sparse: it takes no room on the disk, and no more of it is read than its limit."""
    folder = model_folder(tmp_path)
    if name == INDEX:
        (folder / "model.safetensors").rename(folder / "x.safetensors")
    with (folder / name).open("wb") as file:
        file.truncate(1 << 40)
    begin = time.monotonic()
    if name == "cuvee.json":
        assert not cuvee.verify(folder).ok
    else:
        assert 4 * forked.run(cost_of_opening, folder) < 500
    assert time.monotonic() - begin < 10


def test_a_header_of_millions_of_faults_is_refused_in_time(tmp_path: Path) -> None:
    text = b"{" + b",".join(b'"%06x":0' % i for i in range(500_000)) + b"}"
    begin = time.monotonic()
    assert "at least" in refused(write_raw(tmp_path / "x.safetensors", text), "bad-header")
    assert time.monotonic() - begin < 4


@pytest.mark.slow
def test_a_tokenizer_of_a_gigabyte_is_copied_in_pieces(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer_config.json").open("wb") as file:
        file.truncate(200_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    copy_hashed(tmp_path / "tokenizer_config.json", tmp_path / "copy", tmp_path / "copy")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB


# --- indexes and folders


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder", "process", "nowhere"])
@pytest.mark.parametrize("whole", [True, False], ids=["single", "shard"])
def test_weights_that_are_no_file(tmp_path: Path, kind: str, whole: bool) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = folder / ("model.safetensors" if whole else "x.safetensors")
    if not whole:
        indexed(folder, a=path.name)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        subprocess.run([sys.executable, "-c", f"import socket; socket.socket(1).bind({str(path)!r})"], check=True)
    else:
        path.symlink_to({"device": "/dev/zero", "process": "/proc/self/mem", "nowhere": "gone"}[kind])
    refused(folder, "not-a-checkpoint", "bad-index", "bad-header", "io-error", "truncated")


def test_an_index_of_names_that_only_look_alike(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    (folder / "model.safetensors").rename(folder / unicodedata.normalize("NFC", "é.safetensors"))
    indexed(folder, a=unicodedata.normalize("NFD", "é.safetensors"))
    assert "not there" in refused(folder, "bad-index")
    indexed(folder, a="É.SAFETENSORS")
    assert "not there" in refused(folder, "bad-index")


@pytest.mark.parametrize(
    "name", ["x\u202e.safetensors", "x\u200b.safetensors", "x\r.safetensors", "\x1b[2Jx.safetensors"]
)
def test_an_index_of_names_that_cannot_be_seen(tmp_path: Path, name: str) -> None:
    refused(indexed(tmp_path / "model", a=name), "bad-index")


def test_a_tensor_in_two_shards(tmp_path: Path) -> None:
    folder = indexed(tmp_path / "model", a="x.safetensors", b="y.safetensors")
    for file, names in (("x", "a"), ("y", "ab")):
        safetensors.torch.save_file({name: torch.zeros(2) for name in names}, folder / f"{file}.safetensors")
    assert "more than one file" in refused(folder, "bad-index")


@pytest.mark.parametrize("depth", [60, 1200])
def test_folders_in_folders_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int) -> None:
    folder = model_folder(tmp_path)
    monkeypatch.chdir(folder)
    for _ in range(depth):
        Path("d").mkdir()
        os.chdir("d")
    os.chdir(tmp_path)
    try:
        assert "deep" in refused(folder, "not-a-checkpoint")
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)  # Python's own removal recurses


def test_a_pipe_that_takes_the_place_of_a_file(tmp_path: Path) -> None:
    """Between the look at a file and its opening: whoever opens a pipe waits until somebody writes to it."""
    folder = model_folder(tmp_path)
    (folder / "tokenizer.json").write_text("{}")
    side = open_checkpoint(ModelRef(str(folder))).side_files[0]
    for name in ("tokenizer.json", "model.safetensors"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
    with pytest.raises(InputError) as caught:
        copy_hashed(side.path, tmp_path / "copy", tmp_path / "copy", side.node)
    assert caught.value.codes == ("io-error",)
    from cuvee.checkpoint.weights import open_weights

    with pytest.raises(OSError, match="not a file"):
        open_weights(folder / "model.safetensors")
    (folder / "model.bin").symlink_to("model.safetensors")
    with pytest.raises(OSError, match="not a file"):
        open_weights(folder / "model.bin")


@pytest.mark.parametrize("way", ["link", "file"])
def test_a_side_file_that_is_swapped_after_the_look_at_it(tmp_path: Path, way: str) -> None:
    """A secret of the user must not get into what they publish, whenever the link to it is made."""
    folder = model_folder(tmp_path)
    (folder / "tokenizer.json").write_text("{}")
    (tmp_path / "secret").write_text("secret")
    side = open_checkpoint(ModelRef(str(folder))).side_files[0]
    assert side == SideFile("tokenizer.json", folder / "tokenizer.json")
    (folder / "new").symlink_to(tmp_path / "secret") if way == "link" else os.link(tmp_path / "secret", folder / "new")
    (folder / "new").replace(folder / "tokenizer.json")
    with pytest.raises(InputError, match="has changed") as caught:
        copy_hashed(side.path, tmp_path / "copy", tmp_path / "copy", side.node)
    assert caught.value.codes == ("io-error",)
    assert (tmp_path / "copy").read_bytes() == b""


def test_a_side_file_that_is_swapped_during_a_merge(yard: Yard) -> None:
    path = yard.file(linear("a", "b"))
    (yard.root / "secret").write_text("secret")

    def swap(_: object) -> None:
        (yard.root / "a" / "tokenizer.json").unlink(missing_ok=True)
        (yard.root / "a" / "tokenizer.json").symlink_to(yard.root / "secret")

    with pytest.raises(InputError, match="has changed"):
        cuvee.merge(path, yard.out, progress=swap, threads=1)
    assert not yard.out.exists()


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    path = model_folder(tmp_path) / "model.safetensors"
    reader = open_checkpoint(ModelRef(str(path)))
    with path.open("ab") as file:
        file.write(bytes(8))
    with pytest.raises(InputError) as caught:
        reader.read("a", 0, 2)
    assert caught.value.codes == ("io-error",)


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return new_yard(tmp_path)


# --- configurations and what hangs on them

ODD = [-1, 0, True, None, "x", "12", 1.5, [], {}, [[1]], 2**63, -(10**18), 10**3000, float("inf"), float("nan")]
KEYS = ["num_hidden_layers", "vocab_size", "tie_word_embeddings", "torch_dtype", "dtype", "architectures", "model_type"]
KEYS += ["text_config", "layer_types", "hidden_size", "auto_map", "quantization_config", "num_local_experts"]


@pytest.mark.parametrize("key", KEYS)
def test_a_config_with_any_value_in_any_place(yard: Yard, key: str) -> None:
    """Judged or passed over, in plans of sums and of stacks alike; any other error would be a bug of ours."""
    config = {"model_type": "llama", "num_hidden_layers": 2, "vocab_size": 20}
    stack = [{"sources": [{"model": "a", "layer_range": [0, n]}]} for n in (2, 1)]
    recipes = [yard.file(linear("a", "b")), yard.file({"merge_method": "passthrough", "slices": stack}, "s.yml")]
    for value in (*ODD, "\ud800", "__import__('os').system('touch pwned')"):
        (yard.root / "a" / "config.json").write_text(json.dumps({**config, key: value}))
        for recipe in recipes:
            with suppress(CuveeError):
                cuvee.plan(recipe)


def test_code_in_templates_and_tokenizers_is_copied_and_not_run(yard: Yard) -> None:
    marker = yard.root / "marker"
    jinja = f"{{{{ cycler.__init__.__globals__.os.system('touch {marker}') }}}}"
    texts = {
        "chat_template.jinja": jinja,
        "tokenizer_config.json": json.dumps({"chat_template": jinja, "auto_map": {"AutoTokenizer": ["t.T", None]}}),
        "tokenizer.py": f"open({str(marker)!r}, 'w')",
        "generation_config.json": json.dumps({"custom_generate": "x.py"}),
        "__init__.py": f"open({str(marker)!r}, 'w')",
    }
    for name, text in texts.items():
        (yard.root / "a" / name).write_text(text)
    config = json.loads((yard.root / "a" / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "tokenizer.T", "AutoModel": "tokenizer.T"}
    (yard.root / "a" / "config.json").write_text(json.dumps(config))
    result = cuvee.merge(yard.file(linear("a", "b")), yard.out)
    assert {name: (yard.out / name).read_text() for name in texts} == texts
    assert not marker.exists()
    cuvee.verify(result.path)
    assert not marker.exists()


# --- records


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 10**6,
        b'{"a":' * 10**6,
        b"null",
        b'"x"',
        b"\xff",
        b'{"format": 1e999}',
        b'{"format": 1, "format": 2}',
        b'{"format": ' + b"9" * 10**6 + b"}",
        b'{"format": "\\ud800"}',
        b'{"recipe": ' + b"[" * 99 + b"]" * 99 + b"}",
    ],
    ids=lambda content: repr(content[:12]),
)
def test_a_record_that_is_no_record(yard: Yard, content: bytes) -> None:
    (yard.root / "a" / "cuvee.json").write_bytes(content)
    check = {check.name: check for check in cuvee.verify(yard.root / "a").checks}["hashes"]
    assert check.outcome == "failed"
    assert len(check.found) < 2000


NAMES = ["../secret", "/etc/passwd", "a/../../secret", "", ".", "\0", "x" * 5000, "pipe", "\ud800", "link", "//x", "~"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_a_record_that_names_files_elsewhere(yard: Yard, name: str) -> None:
    """To hash a file for somebody is to answer whether it is a given one."""
    cuvee.merge(yard.file(linear("a", "b")), yard.out)
    (yard.root / "secret").write_text("")
    os.mkfifo(yard.out / "pipe")
    (yard.out / ".hidden").mkdir()
    (yard.out / ".hidden" / "x").symlink_to("/dev/zero")
    record = json.loads((yard.out / "cuvee.json").read_text())
    record["output"]["files"][name if name != "link" else ".hidden/x"] = (
        "99aa06d3014798d86001c324468d497f"  # of nothing
    )
    (yard.out / "cuvee.json").write_text(json.dumps(record))
    check = {check.name: check for check in cuvee.verify(yard.out).checks}["files"]
    assert check.outcome == "failed"
    assert len(check.found) < 2000


# --- recipes and outputs


def test_a_recipe_that_is_a_pipe_device_or_socket(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null", "/dev/zero", "/proc/self/mem", "/dev/full", tmp_path):
        begin = time.monotonic()
        with pytest.raises(RecipeError):
            parse_file(path, SPECS)
        assert time.monotonic() - begin < 5


def test_a_recipe_through_a_pipe_is_read(tmp_path: Path) -> None:
    """As `cuvee merge <(generate)` hands it over, slowly."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "w") as stream:
            for part in ("merge_method: karcher\n", "models: [{model: a}]\n"):
                time.sleep(0.05)
                stream.write(part)
                stream.flush()

    writer = threading.Thread(target=write)
    writer.start()
    assert parse_file(f"/dev/fd/{reading}", SPECS).method == "karcher"
    writer.join()
    os.close(reading)


@pytest.mark.slow
def test_thousands_of_slices(tmp_path: Path) -> None:
    slices = "".join("- sources: [{model: a, layer_range: [0, 1]}]\n" for _ in range(5000))
    (tmp_path / "r.yml").write_text(f"merge_method: passthrough\nslices:\n{slices}")
    begin = time.monotonic()
    assert len(parse_file(tmp_path / "r.yml", SPECS).slices) == 5000
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("text", ["x: " + "y" * 900_000, "? " + "y" * 900_000 + "\n: 1", "x: |\n " + "y" * 900_000])
def test_texts_of_a_megabyte(text: str) -> None:
    from cuvee.recipe import parse_text

    with pytest.raises(RecipeError) as caught:
        parse_text(text, SPECS)
    assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize(
    "name", ["out\n", "a\x1b[2J", "-rf", "out\u202e", "..." if os.name else "", "$(x)", "`x`", " ", "é", "%s", "{0}"]
)
def test_odd_names_of_outputs(yard: Yard, name: str) -> None:
    """Names that a folder can have are taken as they are; nothing expands or formats them."""
    cuvee.merge(yard.file(linear("a", "b")), yard.root / "deep" / name)
    assert [path.name for path in (yard.root / "deep").iterdir()] == [name]
    assert cuvee.verify(yard.root / "deep" / name).ok


@pytest.mark.parametrize("out", ["/proc/self/out", "/dev/null", "/dev/null/x", "/proc/self/fd/0", "/sys/out", "/"])
def test_outputs_where_nothing_can_be(yard: Yard, out: str) -> None:
    with pytest.raises(CuveeError) as caught:
        cuvee.merge(yard.file(linear("a", "b")), out, overwrite=True)
    assert caught.value.exit_code in (5, 7)
