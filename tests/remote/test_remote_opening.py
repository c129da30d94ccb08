"""Opening models behind URLs: what is fetched, what is refused, and what is said of it."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import cuvee
from cuvee.checkpoint import blocks, open_checkpoint, remote_side
from cuvee.checkpoint.remote_files import FIRST_READ
from cuvee.errors import InputError, UsageError
from cuvee.types import ModelRef
from tests.remote.conftest import SECRET
from tests.support.checkpoints import read_in_tiles, read_whole
from tests.support.merging import decoder, write
from tests.support.stores import Bucket, Site


def refusal(url: str) -> InputError:
    """The error of a model that must not be opened; it has advice, and no secret in it."""
    with pytest.raises(InputError) as caught:
        open_checkpoint(ModelRef(url))
    error = caught.value
    assert all(fault.hint for fault in error.faults)
    assert SECRET not in str(error)
    return error


def large(bucket: Bucket, folder: Path, mib: int) -> str:
    """A model of that many MiB in the bucket, as four tensors."""
    generator = torch.Generator().manual_seed(0)
    tensors = {f"w{i}": torch.randn(mib << 16, generator=generator) for i in range(4)}
    write(folder / "large", tensors)
    return bucket.put_folder(folder / "large", "large")


# --- what is fetched


def test_only_headers_are_read_to_look_at_a_model(bucket: Bucket, tmp_path: Path) -> None:
    url = large(bucket, tmp_path, 4)
    bucket.trouble.calm()
    assert cuvee.inspect(url).parameters == 1 << 20
    weights = [line for line in bucket.trouble.lines if line[1].endswith(".safetensors")]
    assert [line[3] for line in weights] == [FIRST_READ]
    assert bucket.trouble.sent < 300_000  # of 4 MB
    assert len(bucket.trouble.lines) == 4  # a listing, the header, config.json, and whether that is still the same


def test_a_header_longer_than_the_first_read_takes_a_second(bucket: Bucket, tmp_path: Path) -> None:
    tensors = {f"{'n' * 100}{i}": torch.tensor([float(i)]) for i in range(1000)}
    url = bucket.put_folder(write(tmp_path / "wordy", tensors), "wordy")
    bucket.trouble.calm()
    reader = open_checkpoint(ModelRef(url))
    weights = [line for line in bucket.trouble.lines if line[1].endswith(".safetensors")]
    assert len(weights) == 2
    assert len(reader.specs) == 1000
    reader.close()


def test_tiles_are_read_through_a_few_large_requests(bucket: Bucket, tmp_path: Path) -> None:
    url = large(bucket, tmp_path, 20)
    reader, local = open_checkpoint(ModelRef(url)), open_checkpoint(ModelRef(str(tmp_path / "large")))
    bucket.trouble.calm()
    found = read_in_tiles(reader, 1 << 17)
    gets = [line for line in bucket.trouble.lines if line[0] == "GET"]
    assert len(gets) == -(-(20 << 20) // blocks.BLOCK)  # 40 tiles, 3 requests
    assert all(torch.equal(found[name], tensor) for name, tensor in read_whole(local).items())
    assert [reader.digest(name) for name in found] == [local.digest(name) for name in found]
    reader.close()
    local.close()


def test_bytes_are_read_into_a_buffer(bucket: Bucket, tmp_path: Path) -> None:
    url = bucket.put_folder(write(tmp_path / "m", {"w": torch.arange(10, dtype=torch.int16)}), "m")
    reader = open_checkpoint(ModelRef(url))
    into = bytearray(6)
    reader._weights.read_into("w", 3, 6, memoryview(into))
    assert into == bytes([3, 0, 4, 0, 5, 0])
    with pytest.raises(ValueError, match="outside"):
        reader.read("w", 5, 11)
    assert reader.read("w", 4, 4).shape == (0,)
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read("w", 0, 1)


def test_nothing_is_left_behind(bucket: Bucket, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "temporary"
    own.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(own))
    reader = open_checkpoint(ModelRef(bucket.put_folder(models / "a", "a")))
    side = reader.side_files[0]
    assert side.fetched().read_bytes() == (models / "a" / side.name).read_bytes()
    assert len(list(own.iterdir())) == 1
    reader.read("lm_head.weight", 0, 1)
    reader.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("cuvee-remote")]
    bucket.put("broken/model.safetensors", b"no header at all")
    refusal(bucket.url("broken"))
    assert list(own.iterdir()) == []


def test_a_side_file_that_has_changed_is_refused(bucket: Bucket, models: Path) -> None:
    url = bucket.put_folder(models / "a", "a")
    reader = open_checkpoint(ModelRef(url))
    bucket.put("a/tokenizer.json", (models / "a" / "tokenizer.json").read_bytes()[::-1])
    generation, tokenizer = reader.side_files
    assert generation.fetched().exists()
    with pytest.raises(InputError, match=r"tokenizer\.json: it has changed"):
        tokenizer.fetched()
    reader.close()


# --- kinds of places


def test_a_folder_that_cannot_be_listed(site: Site, models: Path) -> None:
    reader = open_checkpoint(ModelRef(f"{site.url}/b/"))
    assert {side.name for side in reader.side_files} == {"generation_config.json", "tokenizer.json"}
    assert reader.config == json.loads((models / "b" / "config.json").read_text())
    assert "cannot be listed" in reader.notes[0]
    assert (reader.label, reader.folder) == (f"{site.url}/b/", None)
    reader.close()


def test_one_file(site: Site, bucket: Bucket, models: Path) -> None:
    bucket.put_folder(models / "a", "a")
    expected = decoder(1)
    for url in (f"{site.url}/a/model.safetensors", bucket.url("a/model.safetensors")):
        reader = open_checkpoint(ModelRef(url))
        assert reader.config is None
        assert all(torch.equal(tensor, expected[name]) for name, tensor in read_whole(reader).items())
        reader.close()


def test_a_server_without_head_and_one_that_has_pages_for_everything(site: Site, models: Path) -> None:
    site.no_head = site.pages = True
    reader = open_checkpoint(ModelRef(f"{site.url}/a"))
    assert [side.name for side in reader.side_files] == ["generation_config.json", "tokenizer.json"]
    reader.close()
    assert refusal(f"{site.url}/nothing").code == "not-a-checkpoint"


def test_a_server_that_gives_no_parts_is_refused_before_it_sends_much(site: Site, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    save_file({"w": torch.zeros(1 << 20)}, tmp_path / "m" / "model.safetensors")
    site.whole_only = True
    error = refusal(f"{site.url}/m")
    assert error.code == "remote-unreachable"
    assert "only whole" in str(error)


def test_refused_side_files_are_told_and_a_refused_config_is_an_error(site: Site, models: Path) -> None:
    site.denied = ("/a/tokenizer.json",)
    reader = open_checkpoint(ModelRef(f"{site.url}/a"))
    assert "tokenizer.json" in reader.notes[1]
    reader.close()
    site.denied = ("/a/config.json",)
    assert refusal(f"{site.url}/a").code == "remote-denied"


# --- what goes wrong


def test_a_store_that_stays_down_is_told_with_url_and_range(site: Site, models: Path, impatient: int) -> None:
    reader = open_checkpoint(ModelRef(f"{site.url}/a"))
    site.trouble.calm()
    site.trouble.every = 1
    with pytest.raises(InputError, match=r"bytes 0 to [\d,]+ of http://.*/a/model.safetensors: status 503, 6 times"):
        reader.read("lm_head.weight", 0, 4)
    assert site.trouble.seen == impatient
    site.trouble.calm()
    assert reader.read("lm_head.weight", 0, 4).shape == (4,)  # a failure is not kept
    reader.close()


@pytest.mark.parametrize(("status", "code"), [(503, "remote-unreachable"), (403, "remote-denied")])
def test_trouble_of_a_bucket(bucket: Bucket, models: Path, impatient: int, status: int, code: str) -> None:
    url = bucket.put_folder(models / "a", "a")
    bucket.trouble.calm()
    bucket.trouble.every, bucket.trouble.status = 1, status
    assert refusal(url).code == code
    assert bucket.trouble.seen == (impatient if status == 503 else 1)


def test_a_host_that_is_not_there(impatient: int) -> None:
    assert refusal("http://127.0.0.1:1/a/model.safetensors").code == "remote-unreachable"


@pytest.mark.parametrize("url", ["s3://cellar/none", "s3://no-such-bucket/a", "s3://cellar/none/m.safetensors"])
def test_what_is_not_there_is_asked_for_once(bucket: Bucket, url: str) -> None:
    assert refusal(url).code == "model-missing"
    assert bucket.trouble.seen <= 2


def test_pickled_weights_are_refused(bucket: Bucket, site: Site, tmp_path: Path) -> None:
    bucket.put("old/pytorch_model.bin", b"pickle")
    (tmp_path / "x.bin").write_bytes(b"pickle")
    for url in (bucket.url("old"), bucket.url("old/pytorch_model.bin"), f"{site.url}/x.bin"):
        error = refusal(url)
        assert error.code == "not-yet"
        assert "download" in str(error.faults[0].hint)


def test_a_shard_that_is_not_there_and_an_index_that_lies(bucket: Bucket, models: Path) -> None:
    url = bucket.put_folder(models / "b", "b")
    bucket.client.delete_object(Bucket=bucket.name, Key="b/model-00002-of-00003.safetensors")
    error = refusal(url)
    assert error.code == "model-missing"
    assert "b/model-00002-of-00003.safetensors" in str(error)
    bucket.put("b/model.safetensors.index.json", b'{"weight_map": {"w": "../a.safetensors"}}')
    error = refusal(url)
    assert error.code == "bad-index"
    assert f"{url}/model.safetensors.index.json" in str(error)  # not its copy here


def test_a_damaged_config_and_header_are_told_together(bucket: Bucket) -> None:
    bucket.put("bad/config.json", b"{")
    bucket.put("bad/model.safetensors", (1 << 40).to_bytes(8, "little"))
    error = refusal(bucket.url("bad"))
    assert error.codes == ("bad-header", "bad-config")
    assert all(bucket.url("bad") in fault.message for fault in error.faults)


@pytest.mark.parametrize("name", ["../escape.txt", "x/../../escape.txt", ".hidden/x.txt"])
def test_folders_that_lead_out_are_not_entered(bucket: Bucket, models: Path, name: str) -> None:
    url = bucket.put_folder(models / "a", "a")
    bucket.client.put_object(Bucket=bucket.name, Key=f"a/{name}", Body=b"x")
    reader = open_checkpoint(ModelRef(url))
    assert [side.name for side in reader.side_files] == ["generation_config.json", "tokenizer.json"]
    reader.close()


@pytest.mark.parametrize("name", ["back\\slash", "bell\a.txt"])
def test_hostile_names_in_a_bucket(bucket: Bucket, models: Path, name: str) -> None:
    url = bucket.put_folder(models / "a", "a")
    bucket.client.put_object(Bucket=bucket.name, Key=f"a/{name}", Body=b"x")
    assert refusal(url).code == "unsafe-link"


def test_a_side_file_that_is_too_large(bucket: Bucket, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = bucket.put_folder(models / "a", "a")
    monkeypatch.setattr(remote_side, "SIDE_LIMIT", 15)
    error = refusal(url)
    assert (error.code, error.faults[0].subject) == ("not-a-checkpoint", "tokenizer.json")


def test_an_adapter_and_a_pipeline(bucket: Bucket) -> None:
    bucket.put("lora/adapter_config.json", b"{}")
    bucket.put("pipe/model_index.json", b"{}")
    assert refusal(bucket.url("lora")).code == "bad-adapter"  # read from a folder or the hub only
    assert refusal(bucket.url("pipe")).code == "not-a-checkpoint"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/a", "found ftp://"),
        ("https://me:sesame@host/a", "no password"),
        ("https://host/a?X-Signature=sesame", "no `?`"),
        ("s3://", "name a folder"),
        ("s3://b/../c", "without `..`"),
        ("hf://one/two/three", "hf://org/name"),
    ],
)
def test_urls_that_no_model_has(url: str, words: str) -> None:
    error = refusal(url)
    assert words in str(error)
    assert "sesame" not in str(error)
    if not url.startswith("hf"):
        with pytest.raises(UsageError, match="URL") as caught:
            cuvee.inspect(url)
        assert "sesame" not in str(caught.value)


def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None; import cuvee\n"
        "try: cuvee.inspect('s3://b/a')\n"
        "except cuvee.UsageError as error: print(error.code, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("missing-extra")
    assert "cuvee[remote]" in done.stdout


def test_examples() -> None:
    for name in ("cuvee.types", "cuvee.checkpoint.wire"):
        assert doctest.testmod(importlib.import_module(name)).failed == 0
