"""Task packs made to harm."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import cuvee
from cuvee.checkpoint import open_checkpoint
from cuvee.errors import CuveeError, InputError
from cuvee.types import ModelRef
from tests.support.attacking import refused
from tests.support.merging import files
from tests.support.packing import packed

Data = dict[str, Any]


def rewritten(pack: Path, change: Callable[[Data], None]) -> Path:
    """A pack whose `pack.json` says something else."""
    file = pack / "pack.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    return pack


def setting(*path: str | int, to: Any) -> Callable[[Data], None]:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return change


FORMS = {
    "another version": setting("cuvee_pack", to=2),
    "a version that is true": setting("cuvee_pack", to=True),
    "no tasks": setting("tasks", to={}),
    "tasks that are a list": setting("tasks", to=[{"model": "x"}]),
    "a task that is a text": setting("tasks", "cars", to="x"),
    "a rescaler without end": setting("tasks", "cars", "rescaler", to=10**400),
    "a rescaler that is NaN": setting("tasks", "cars", "rescaler", to=float("nan")),
    "a rescaler below nought": setting("tasks", "cars", "rescaler", to=-1.0),
    "a rescaler that is true": setting("tasks", "cars", "rescaler", to=True),
    "a count of fractions": setting("tasks", "cars", "kept", to=1.5),
    "a count below nought": setting("tasks", "cars", "kept", to=-(10**30)),
    "masks without fingerprint": setting("tasks", "cars", "masks", to="0" * 31),
    "no tensors": setting("tensors", to={}),
    "a dtype that does not exist": setting("tensors", "model.norm.weight", "dtype", to="float7"),
    "a dtype that is a list": setting("tensors", "model.norm.weight", "dtype", to=["float32"]),
    "integers of a float": setting("tensors", "model.norm.weight", "dtype", to="int64"),
    "a source that is a number": setting("tensors", "model.norm.weight", "source", to=7),
    "no base": setting("base", to={}),
    "two bases": setting("base", to={"local": "../base", "hub": "org/base"}),
    "a base with a zero byte": setting("base", to={"local": "../ba\0se"}),
    "a configuration that is no text": setting("config", to={"model_type": "x"}),
    "a configuration that is no JSON": setting("config", to="{"),
    "a configuration that is no object": setting("config", to="[]"),
    "masks of another kind": setting("masks", to={"kind": "random"}),
    "a delta that is not there": setting("tensors", "model.norm.weight", "delta", to=None),
    "a tensor that is not there": setting("tensors", "more.weight", to={"dtype": "float32", "base": "0" * 32}),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_pack_json_of_another_form(tmp_path: Path, name: str) -> None:
    pack = rewritten(packed(tmp_path), FORMS[name])
    refused(Path(f"{pack}#cars"), "bad-pack", "pack-base")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[" * 100_000, b'"cuvee_pack"', b'{"cuvee_pack": 1, "cuvee_pack": 1}', b"\xff"]
)
def test_a_pack_json_that_is_no_json(tmp_path: Path, text: bytes) -> None:
    pack = packed(tmp_path)
    (pack / "pack.json").write_bytes(text)
    refused(Path(f"{pack}#cars"), "bad-pack")


def test_a_pack_json_of_a_terabyte(tmp_path: Path) -> None:
    pack = packed(tmp_path)
    with (pack / "pack.json").open("r+b") as file:
        file.truncate(1 << 40)
    refused(Path(f"{pack}#cars"), "bad-pack")


@pytest.mark.parametrize(
    "name", ["../cars", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "cars\n", "a b", "ca\u202ers", "x" * 200]
)
def test_tasks_that_are_paths(tmp_path: Path, name: str) -> None:
    """The name of a task is part of a file's."""
    pack = rewritten(packed(tmp_path), lambda data: data["tasks"].update({name: data["tasks"]["cars"]}))
    refused(Path(f"{pack}#cars"), "bad-pack")
    with pytest.raises(InputError) as caught:
        cuvee.unpack(pack, tmp_path / "out", task=name)
    assert caught.value.code == "bad-pack"


@pytest.mark.parametrize("name", ["pack.json", "model.safetensors", "task-cars.safetensors"])
def test_files_of_a_pack_that_are_links_out_of_it(tmp_path: Path, name: str) -> None:
    pack = packed(tmp_path)
    (pack / name).rename(tmp_path / "secret")
    (pack / name).symlink_to(tmp_path / "secret")
    refused(Path(f"{pack}#cars"), "unsafe-link")


@pytest.mark.parametrize("base", ["/dev/zero", "/proc/self/mem", "../../../../../../etc/passwd", "."])
def test_a_base_that_is_no_model(tmp_path: Path, base: str) -> None:
    pack = rewritten(packed(tmp_path), setting("base", to={"local": base}))
    refused(Path(f"{pack}#cars"), "not-a-checkpoint", "pack-base")


@pytest.mark.parametrize("base", [{"local": "../pack#cars"}, {"local": "../pack#pets"}, {"local": "../pack"}])
def test_a_pack_that_is_its_own_base(tmp_path: Path, base: Data) -> None:
    pack = rewritten(packed(tmp_path), setting("base", to=base))
    refused(Path(f"{pack}#cars"), "pack-base", "not-a-checkpoint")
    with pytest.raises(InputError) as caught:
        open_checkpoint(ModelRef(f"{pack}#cars?base={pack}#pets"))
    assert caught.value.code == "pack-base"


def test_a_base_behind_a_url_is_not_asked_for(tmp_path: Path) -> None:
    """Who opens a pack must not be made to knock at any address."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.settimeout(0.2)
        url = f"http://127.0.0.1:{door.getsockname()[1]}/base"
        pack = rewritten(packed(tmp_path), setting("base", to={"url": url}))
        told = refused(Path(f"{pack}#cars"), "pack-base")
        assert url in told
        with pytest.raises(TimeoutError):
            door.accept()


def saved_again(file: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(file)
    change(tensors)
    file.unlink()
    save_file(tensors, file)


MASKS = {
    "too short": lambda t: t.update({"model.norm.weight@cars": torch.zeros(0, dtype=torch.uint8)}),
    "too long": lambda t: t.update({"model.norm.weight@cars": torch.zeros(99, dtype=torch.uint8)}),
    "of other numbers": lambda t: t.update({"model.norm.weight@cars": torch.zeros(1)}),
    "fewer": lambda t: t.pop("model.norm.weight@cars"),
    "more": lambda t: t.update({"x@cars": torch.zeros(1, dtype=torch.uint8)}),
    "of other bits": lambda t: t["model.norm.weight@cars"].bitwise_not_(),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_that_do_not_fit(tmp_path: Path, name: str) -> None:
    pack = packed(tmp_path)
    saved_again(pack / "task-cars.safetensors", MASKS[name])
    refused(Path(f"{pack}#cars"), "bad-pack")


DELTAS = {
    "of another shape": lambda t: t.update({"model.norm.weight": torch.zeros(3)}),
    "of integers": lambda t: t.update({"model.norm.weight": torch.zeros(8, dtype=torch.int32)}),
    "fewer": lambda t: t.pop("model.norm.weight"),
    "more": lambda t: t.update({"x": torch.zeros(1)}),
    "of other values": lambda t: t["model.norm.weight"].add_(1),
}


@pytest.mark.parametrize("name", DELTAS)
def test_deltas_that_do_not_fit(tmp_path: Path, name: str) -> None:
    pack = packed(tmp_path)
    saved_again(pack / "model.safetensors", DELTAS[name])
    refused(Path(f"{pack}#cars"), "bad-pack", "pack-base")


@pytest.mark.parametrize("name", ["model.safetensors", "task-cars.safetensors"])
@pytest.mark.parametrize("left", [0, 100, -1])
def test_files_of_a_pack_that_are_cut_off(tmp_path: Path, name: str, left: int) -> None:
    pack = packed(tmp_path)
    data = (pack / name).read_bytes()
    (pack / name).write_bytes(data[:left])
    refused(Path(f"{pack}#cars"), "truncated", "bad-header")
    before = files(tmp_path)
    with pytest.raises(CuveeError):
        cuvee.unpack(pack, tmp_path / "out", task="cars")
    assert files(tmp_path) == before
