"""Hub ids: the cache without a network, and downloads and headers from a hub of our own.

huggingface_hub reads its settings when it is imported, so every case runs in a process of its own.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from cuvee.checkpoint import hub
from cuvee.errors import InputError
from cuvee.types import ModelRef
from tests.support.checkpoints import entry, header_bytes
from tests.support.fake_hub import FakeModel, running
from tests.support.lanes import rarely
from tests.support.small_disk import mounted

COMMIT = "1" * 40

OPEN = """
import json, sys
from pathlib import Path
from cuvee.checkpoint import open_checkpoint
from cuvee.errors import CuveeError
from cuvee.types import ModelRef
asked = json.loads(sys.argv[1])
try:
    ref = ModelRef(asked["path"], asked.get("revision"))
    reader = open_checkpoint(ref, Path(asked["root"]), hub_download=asked.get("download", True))
except CuveeError as error:
    hints = [fault.hint for fault in error.faults]
    print(json.dumps({"kind": type(error).__name__, "codes": error.codes, "text": str(error), "hints": hints}))
    raise SystemExit
said = {
    "label": reader.label,
    "specs": {name: [spec.dtype, list(spec.shape)] for name, spec in reader.specs.items()},
    "config": reader.config,
    "config_text": reader.config_text,
    "folder": reader.folder and str(reader.folder),
    "side_files": [side.name for side in reader.side_files],
    "notes": reader.notes,
    "torch": "torch" in sys.modules,
}
try:
    said["digests"] = {name: reader.digest(name) for name in reader.specs}
except CuveeError as error:
    said["refused"] = [error.code, str(error)]
    try:
        reader.read(next(iter(reader.specs)), 0, 1)
    except CuveeError as error:
        assert error.code == said["refused"][0]
reader.close()
print(json.dumps(said))
"""


@pytest.fixture
def ask(tmp_path):
    """Opens a model in a process with its own hub settings and gives back what that process found."""
    (tmp_path / "root").mkdir()

    def open_in_process(path="org/name", *, env=None, **asked):
        settings = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))},
            "NO_PROXY": "127.0.0.1",
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            **(env or {}),
        }
        asked = json.dumps({"path": path, "root": str(tmp_path / "root"), **asked})
        command = [sys.executable, "-W", "error::ResourceWarning", "-c", OPEN, asked]
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return open_in_process


def weights(**tensors):
    return safetensors.torch.save({name: torch.full((2, 3), float(value)) for name, value in tensors.items()})


MODEL = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": weights(a=1),
    "tokenizer.json": b"{}",
    "README.md": b"# model",
    "pytorch_model.bin": b"not asked for",
    "consolidated.safetensors": b"not asked for",
    "onnx/model.onnx": b"not asked for",
    "1_Pooling/config.json": b'{"pooling": 1}',
}
SHARDED = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": weights(a=1, b=2),
    "model-00002-of-00002.safetensors": weights(c=3),
    "model.safetensors.index.json": json.dumps(
        {
            "weight_map": {
                "a": "model-00001-of-00002.safetensors",
                "b": "model-00001-of-00002.safetensors",
                "c": "model-00002-of-00002.safetensors",
            }
        }
    ).encode(),
    "pytorch_model-00001-of-00002.bin": b"not asked for",
    "pytorch_model.bin.index.json": b"{}",
}


def cached(home: Path, files, name="org/name", commit=COMMIT, ref="main"):
    """The cache as huggingface_hub leaves it: contents under blobs, links to them under the commit."""
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    (repository / "blobs").mkdir(parents=True, exist_ok=True)
    if ref:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / ref).write_text(commit)
    for file, content in files.items():
        blob = repository / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        link = repository / "snapshots" / commit / file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return repository / "snapshots" / commit


OFFLINE = {"HF_HUB_OFFLINE": "1"}


@pytest.mark.parametrize("download", [True, False])
def test_a_cached_model_is_read_without_a_network(tmp_path, ask, download):
    folder = cached(tmp_path / "home", MODEL)
    said = ask(env=OFFLINE, download=download)
    assert said["label"] == "org/name"
    assert said["folder"] == str(folder)
    assert said["specs"] == {"a": ["float32", [2, 3]]}
    assert said["config_text"] == '{"model_type": "llama"}'
    assert said["side_files"] == ["1_Pooling/config.json", "tokenizer.json"]  # links into blobs are the cache's own
    assert len(said["digests"]["a"]) == 32
    assert not said["torch"]


@pytest.mark.slow
def test_a_sharded_cached_model_is_read(tmp_path, ask):
    cached(tmp_path / "home", SHARDED)
    assert list(ask(env=OFFLINE)["specs"]) == ["a", "b", "c"]


@pytest.mark.parametrize("revision", ["v2", *rarely("2" * 40)])
@pytest.mark.slow
def test_a_revision_finds_its_own_commit(tmp_path, ask, revision):
    cached(tmp_path / "home", {"model.safetensors": weights(old=1)})
    cached(tmp_path / "home", {"model.safetensors": weights(new=1)}, commit="2" * 40, ref="v2")
    assert list(ask(env=OFFLINE)["specs"]) == ["old"]
    said = ask(env=OFFLINE, revision=revision)
    assert list(said["specs"]) == ["new"]
    assert said["label"] == f"org/name@{revision}"


@pytest.mark.slow
def test_another_cache_folder_is_honoured(tmp_path, ask):
    cached(tmp_path / "elsewhere", MODEL)
    assert ask(env=OFFLINE)["codes"] == ["offline"]
    assert "specs" in ask(env={**OFFLINE, "HF_HUB_CACHE": str(tmp_path / "elsewhere" / "hub")})


def test_a_local_folder_wins_over_the_hub(tmp_path, ask):
    cached(tmp_path / "home", MODEL)
    (tmp_path / "root" / "org" / "name").mkdir(parents=True)
    (tmp_path / "root" / "org" / "name" / "model.safetensors").write_bytes(weights(local=1))
    assert list(ask(env=OFFLINE)["specs"]) == ["local"]


@pytest.mark.parametrize(
    "path", ["hf://org/name", pytest.param("hf://org/name/", marks=pytest.mark.slow), "HF://org/name"]
)
def test_a_hub_url_is_the_hub_whatever_folders_there_are(tmp_path, ask, path):
    cached(tmp_path / "home", MODEL)
    (tmp_path / "root" / "org" / "name").mkdir(parents=True)
    found = ask(path, env={"HF_HUB_OFFLINE": "1"})
    assert (found["label"], list(found["specs"])) == (path, ["a"])
    missing = ask(path.replace("name", "other"), env={"HF_HUB_OFFLINE": "1"})
    assert missing["codes"] == ["offline"]


def test_headers_of_a_hub_url_are_fetched_for_a_plan(ask):
    with running({"org/name": FakeModel(MODEL)}) as hub:
        found = ask("hf://org/name", revision="main", download=False, env={"HF_ENDPOINT": hub.url})
    assert (found["label"], found["refused"][0]) == ("hf://org/name@main", "offline")


def test_offline_and_not_cached_says_what_to_do(ask):
    said = ask(env=OFFLINE)
    assert (said["kind"], said["codes"]) == ("InputError", ["offline"])
    assert "org/name" in said["text"]
    assert "HF_HUB_OFFLINE" in said["text"]
    assert "hf download org/name" in said["text"]


def test_a_misspelt_local_folder_gets_its_hint_too(tmp_path, ask):
    (tmp_path / "root" / "models" / "expert-math").mkdir(parents=True)
    said = ask("models/expert-mth", env=OFFLINE)
    assert said["codes"] == ["offline"]
    assert "did you mean `expert-math`?" in said["text"]


@pytest.mark.parametrize(
    ("left_out", "missing"),
    [("model-00002-of-00002.safetensors", "model-00002-of-00002.safetensors"), ("model.safetensors", "weights")],
)
def test_a_part_of_a_model_in_the_cache_is_not_a_model(tmp_path, ask, left_out, missing):
    files = SHARDED if left_out in SHARDED else {"config.json": b"{}", "tokenizer.json": b"{}"}
    cached(tmp_path / "home", {name: content for name, content in files.items() if name != left_out})
    said = ask(env=OFFLINE)
    assert said["codes"] == ["offline"]
    assert f"missing: {missing}" in said["text"]


def test_a_cached_adapter_is_called_by_its_name(tmp_path, ask):
    cached(tmp_path / "home", {"adapter_config.json": b"{}", "adapter_model.safetensors": weights(a=1)})
    assert ask(env=OFFLINE)["codes"] == ["bad-adapter"]


def test_a_side_file_that_leads_out_of_the_cached_repository_is_refused(tmp_path, ask):
    folder = cached(tmp_path / "home", MODEL)
    (tmp_path / "secret").write_text("x")
    (folder / "vocab.txt").symlink_to(tmp_path / "secret")
    other = cached(tmp_path / "home", {"x": b"x"}, name="org/other")
    (folder / "merges.txt").symlink_to(other / "x")
    said = ask(env=OFFLINE)
    assert said["codes"] == ["unsafe-link", "unsafe-link"]


@pytest.mark.parametrize("revision", ["../../../etc", "/etc/passwd"])
def test_a_revision_that_is_a_path_is_refused(tmp_path, ask, revision):
    cached(tmp_path / "home", MODEL)
    assert ask(env=OFFLINE, revision=revision)["codes"] == ["model-missing"]


def test_a_download_takes_what_is_needed_and_nothing_else(ask):
    with running({"org/name": FakeModel(MODEL)}) as hub:
        said = ask(env={"HF_ENDPOINT": hub.url})
        assert said["specs"] == {"a": ["float32", [2, 3]]}
        assert said["side_files"] == ["1_Pooling/config.json", "tokenizer.json"]
        expected = ["1_Pooling/config.json", "config.json", "model.safetensors", "tokenizer.json"]
        assert sorted(hub.fetched()) == expected
        hub.requests.clear()
        assert ask(env={"HF_ENDPOINT": hub.url}) == said
        assert hub.fetched() == {}
    assert ask(env=OFFLINE)["digests"] == said["digests"]  # what was downloaded is enough when the hub is gone


def test_a_download_of_shards_takes_those_of_the_index(ask):
    with running({"org/name": FakeModel({**SHARDED, "model-extra.safetensors": b"not asked for"})}) as hub:
        assert list(ask(env={"HF_ENDPOINT": hub.url})["specs"]) == ["a", "b", "c"]
        assert "model-extra.safetensors" not in hub.fetched()
        assert "pytorch_model-00001-of-00002.bin" not in hub.fetched()


@pytest.mark.slow
def test_legacy_weights_are_downloaded_where_there_are_no_others(tmp_path, ask):
    torch.save({"a": torch.zeros(2)}, tmp_path / "legacy.bin")
    files = {"pytorch_model.bin": (tmp_path / "legacy.bin").read_bytes(), "config.json": b"{}"}
    with running({"org/name": FakeModel(files)}) as hub:
        assert ask(env={"HF_ENDPOINT": hub.url})["specs"] == {"a": ["float32", [2]]}


@pytest.mark.slow
def test_file_names_that_look_like_patterns_are_taken_literally(ask):
    files = {"model.safetensors": weights(a=1), "notes[1]*.txt": b"x", "notes1x.txt.gguf": b"not asked for"}
    with running({"org/name": FakeModel(files)}) as hub:
        assert ask(env={"HF_ENDPOINT": hub.url})["side_files"] == ["notes[1]*.txt"]


def test_the_token_is_sent(ask):
    with running({"org/name": FakeModel(MODEL)}) as hub:
        ask(env={"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret"})
        assert {token for *_, token in hub.requests} == {"Bearer hf_secret"}


@pytest.mark.parametrize("revision", ["v2", pytest.param("2" * 40, marks=pytest.mark.slow)])
def test_a_revision_is_asked_for_by_name(ask, revision):
    old = FakeModel({**MODEL, "model.safetensors": weights(old=1)})
    new = FakeModel({**MODEL, "model.safetensors": weights(new=1)}, commit="2" * 40, revisions=("v2",))
    with running({"org/name": old, "org/name@v2": new}) as hub:
        for download in (False, True):
            said = ask(env={"HF_ENDPOINT": hub.url}, revision=revision, download=download)
            assert said["label"] == f"org/name@{revision}"
            assert list(said["specs"]) == ["new"]
        assert list(ask(env={"HF_ENDPOINT": hub.url})["specs"]) == ["old"]
        missing = ask(env={"HF_ENDPOINT": hub.url}, revision="v3")
    assert missing["codes"] == ["model-missing"]
    assert "no revision `v3`" in missing["text"]


@pytest.mark.parametrize(("moves", "found"), [(0, "0"), (1, "1"), (9, None)])
def test_a_branch_that_moves_during_the_download_is_fetched_again(tmp_path, monkeypatch, moves, found):
    """Its files were chosen from one commit's list, and must be that commit's files."""
    now = [0]

    def download(*_):
        if now[0] < moves:
            now[0] += 1
        return tmp_path / str(now[0])

    monkeypatch.setattr(hub, "look_up", lambda _: hub.Listing(str(now[0]), ("model.safetensors",)))
    monkeypatch.setattr(hub, "_download", download)
    if found is None:
        with pytest.raises(InputError, match="changes faster than it can be downloaded"):
            hub.resolve_hub(ModelRef("org/name"))
    else:
        assert hub.resolve_hub(ModelRef("org/name")).name == found


def test_a_model_the_hub_does_not_have_is_missing(ask):
    with running({}) as hub:
        said = ask(env={"HF_ENDPOINT": hub.url})
    assert (said["kind"], said["codes"]) == ("InputError", ["model-missing"])
    assert "HF_TOKEN" in said["text"]


def test_a_gated_model_says_how_to_get_it(ask):
    with running({"org/name": FakeModel(MODEL, gated=True)}) as hub:
        said = ask(env={"HF_ENDPOINT": hub.url})
    assert said["codes"] == ["model-missing"]
    assert "accept its terms" in said["text"]


def test_a_broken_hub_is_out_of_reach_and_the_cache_still_good(tmp_path, ask):
    with running({"org/name": FakeModel(MODEL)}) as hub:
        hub.broken = True
        said = ask(env={"HF_ENDPOINT": hub.url})
        assert said["codes"] == ["offline"]
        assert "status 503" in said["text"]
        cached(tmp_path / "home", MODEL)
        assert "specs" in ask(env={"HF_ENDPOINT": hub.url})


def test_no_hub_at_all_is_out_of_reach(ask):
    said = ask(env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert said["codes"] == ["offline"]


def test_a_cache_without_room_is_a_full_disk_not_a_missing_hub(tmp_path, ask):
    files = {**MODEL, "model.safetensors": safetensors.torch.save({"a": torch.zeros(200_000)})}
    with mounted(tmp_path / "home", "size=300k"), running({"org/name": FakeModel(files)}) as hub:
        said = ask(env={"HF_ENDPOINT": hub.url})
    assert (said["kind"], said["codes"]) == ("ResourceError", ["disk-full"])


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"README.md": b"x"}, "not-a-checkpoint"),
        ({"model_index.json": b"{}", "unet/model.safetensors": b"x"}, "not-a-checkpoint"),
        ({"adapter_config.json": b"{}", "unet/x.bin": b"x"}, "bad-adapter"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "../x.safetensors"}}'}, "bad-index"),
    ],
)
@pytest.mark.parametrize("download", [pytest.param(True, marks=pytest.mark.slow), False])
def test_what_is_no_model_is_refused_before_its_weights_are_downloaded(ask, files, code, download):
    with running({"org/name": FakeModel(files)}) as hub:
        assert ask(env={"HF_ENDPOINT": hub.url}, download=download)["codes"] == [code]
        assert not [name for name in hub.fetched() if name.endswith(".safetensors")]


@pytest.mark.parametrize("files", [*rarely(MODEL), SHARDED], ids=["single", "sharded"])
def test_headers_alone_are_fetched_for_a_plan(ask, files):
    with running({"org/name": FakeModel(files)}) as hub:
        planned = ask(env={"HF_ENDPOINT": hub.url}, download=False)
        assert not [name for name in hub.fetched() if name.endswith((".safetensors", ".bin"))]
        whole = ask(env={"HF_ENDPOINT": hub.url})
        again = ask(env={"HF_ENDPOINT": hub.url}, download=False)
    assert planned["specs"] == whole["specs"]
    assert planned["config"] == whole["config"]
    assert planned["folder"] is None
    assert planned["refused"][0] == "offline"
    assert "not been downloaded" in planned["refused"][1]
    assert not planned["torch"]
    assert again == whole  # what lies in the cache by now is read from there


@pytest.mark.slow
def test_a_header_longer_than_the_first_request_is_fetched_whole(ask):
    tensors = {f"model.layers.{i}.mlp.weight": torch.zeros(1) for i in range(2000)}
    content = safetensors.torch.save(tensors)
    assert int.from_bytes(content[:8], "little") > 100_000
    with running({"org/name": FakeModel({"model.safetensors": content})}) as hub:
        assert len(ask(env={"HF_ENDPOINT": hub.url}, download=False)["specs"]) == 2000


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (header_bytes({"a": entry("F32", [2], 0, 8)}) + bytes(4), "truncated"),
        (header_bytes({"a": entry("F32", [2], 0, 4)}) + bytes(4), "bad-header"),
        pytest.param(b"", "truncated", marks=pytest.mark.slow),
        ((2**62).to_bytes(8, "little") + bytes(100), "bad-header"),
    ],
)
def test_headers_from_the_hub_are_trusted_no_more_than_local_ones(ask, content, code):
    with running({"org/name": FakeModel({"model.safetensors": content})}) as hub:
        assert ask(env={"HF_ENDPOINT": hub.url}, download=False)["codes"] == [code]


def test_shards_on_the_hub_must_agree_with_their_index(ask):
    files = {**SHARDED, "model-00002-of-00002.safetensors": weights(c=3, surplus=4)}
    with running({"org/name": FakeModel(files)}) as hub:
        said = ask(env={"HF_ENDPOINT": hub.url}, download=False)
    assert said["codes"] == ["bad-index"]
    assert "`surplus`" in said["text"]


def test_headers_of_legacy_weights_cannot_be_fetched_alone(ask):
    with running({"org/name": FakeModel({"pytorch_model.bin": b"x"})}) as hub:
        said = ask(env={"HF_ENDPOINT": hub.url}, download=False)
        assert said["codes"] == ["not-yet"]
        assert "hf download org/name" in said["text"]
        assert hub.fetched() == {}


def test_a_hub_that_ignores_ranges_is_told(ask):
    with running({"org/name": FakeModel(MODEL)}) as hub:
        hub.ignores_ranges = True
        said = ask(env={"HF_ENDPOINT": hub.url}, download=False)
    assert said["codes"] == ["offline"]
    assert "download the model first" in said["text"]


def test_an_adapter_on_the_hub_stands_on_its_base_there(tmp_path, ask):
    factors = {"lora_A": torch.ones(1, 3), "lora_B": torch.ones(2, 1)}
    tensors = {f"base_model.model.x.{part}.weight": values for part, values in factors.items()}
    config = {"peft_type": "LORA", "r": 1, "base_model_name_or_path": "org/base"}
    adapter = {
        "adapter_config.json": json.dumps(config).encode(),
        "adapter_model.safetensors": safetensors.torch.save(tensors),
        "optimizer.pt": b"not asked for",
    }
    base = {"config.json": b'{"model_type": "llama"}', "model.safetensors": weights(**{"x.weight": 1})}
    with running({"org/name": FakeModel(adapter), "org/base": FakeModel(base)}) as hub:
        said = ask(env={"HF_ENDPOINT": hub.url})
        assert said["specs"] == {"x.weight": ["float32", [2, 3]]}
        assert any("the base that its configuration names" in note for note in said["notes"])
        assert not [name for name in hub.fetched() if "optimizer" in name]
        assert ask(env={"HF_ENDPOINT": hub.url}, download=False)["specs"] == said["specs"]
    assert ask(env=OFFLINE)["digests"] == said["digests"]
