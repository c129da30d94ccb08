"""A task of a pack as a model: whatever range is read, wherever a model is named, and never of the wrong base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import cuvee
from cuvee.checkpoint import open_checkpoint
from cuvee.errors import CuveeError, InputError, OutputExists
from cuvee.types import ModelRef
from tests.support.checkpoints import assert_same, read_in_tiles, read_whole
from tests.support.merging import files, linear, read, write
from tests.support.packing import family, packed, recipe


def opened(path: Path, task: str = "cars", base: object = None) -> Any:
    return open_checkpoint(ModelRef(f"{path}#{task}" + ("" if base is None else f"?base={base}")))


@pytest.mark.parametrize("tile", [1, 3, 8, 50])
def test_any_range_gives_the_entries_of_the_whole(tmp_path: Path, tile: int) -> None:
    reader = opened(packed(tmp_path))
    assert_same(read_in_tiles(reader, tile), read_whole(reader))
    for name, spec in reader.specs.items():
        into = bytearray(spec.nbytes)
        reader.read_into(name, 0, spec.numel, memoryview(into))
        assert bytes(into) == reader.read(name, 0, spec.numel).view(torch.uint8).numpy().tobytes()


def test_a_task_is_the_base_where_its_mask_is_off(tmp_path: Path) -> None:
    reader = opened(packed(tmp_path))
    base, own, delta = read(tmp_path / "base"), read_whole(reader), read(tmp_path / "pack")
    factor = reader.task.rescaler
    for name, tensor in own.items():
        moved = torch.where(tensor != base[name], base[name].float() + delta[name] * factor, base[name].float())
        assert torch.equal(tensor, moved.bfloat16()), name
    assert any(not torch.equal(tensor, base[name]) for name, tensor in own.items())


def test_what_unpack_writes_is_what_the_reader_reads(tmp_path: Path) -> None:
    pack = packed(tmp_path)
    result = cuvee.unpack(pack, tmp_path / "out", task="pets")
    assert_same(read(tmp_path / "out"), read_whole(opened(pack, "pets")))
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (tmp_path / "base/tokenizer.json").read_bytes()
    assert result.record["recipe"]["merge_method"] == "passthrough"
    found = cuvee.verify(tmp_path / "out")
    assert found.ok, found


def test_a_task_can_be_merged_inspected_compared_and_planned(tmp_path: Path) -> None:
    pack = packed(tmp_path)
    for task in ("cars", "pets"):
        cuvee.unpack(pack, tmp_path / f"out-{task}", task=task)
    by_name = linear(f"{pack}#cars", f"{pack}#pets")
    cuvee.merge(by_name, tmp_path / "merged")
    cuvee.merge(linear(tmp_path / "out-cars", tmp_path / "out-pets"), tmp_path / "wanted")
    assert files(tmp_path / "merged")["model.safetensors"] == files(tmp_path / "wanted")["model.safetensors"]
    assert cuvee.plan(by_name).merged == 9
    assert cuvee.inspect(f"{pack}#cars").parameters == cuvee.inspect(tmp_path / "base").parameters
    compared = cuvee.diff(f"{pack}#cars", tmp_path / "out-cars")
    assert compared.total.tensors == 9
    assert compared.total.dd == type(compared.total.dd)()


def test_a_recipes_paths_to_packs_are_relative_to_its_folder(tmp_path: Path) -> None:
    packed(tmp_path)
    (tmp_path / "r.yml").write_text("merge_method: passthrough\nmodels:\n  - model: pack#cars\n")
    cuvee.merge(tmp_path / "r.yml", tmp_path / "out")
    cuvee.unpack(tmp_path / "pack", tmp_path / "wanted", task="cars")
    assert read(tmp_path / "out").keys() == read(tmp_path / "wanted").keys()


def test_pack_and_base_may_move_together(tmp_path: Path) -> None:
    packed(tmp_path / "here")
    before = read_whole(opened(tmp_path / "here/pack"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert_same(read_whole(opened(tmp_path / "there/pack")), before)


def test_a_base_that_moved_is_named_and_can_be_named(tmp_path: Path) -> None:
    pack = packed(tmp_path)
    before = read_whole(opened(pack))
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError) as caught:
        opened(pack)
    assert caught.value.code == "pack-base"
    assert str(pack / "../base") in str(caught.value)
    assert "--base" in str(caught.value)
    assert_same(read_whole(opened(pack, base=tmp_path / "elsewhere")), before)
    cuvee.unpack(pack, tmp_path / "out", task="cars", base=tmp_path / "elsewhere")
    assert_same(read(tmp_path / "out"), before)
    assert cuvee.inspect_pack(pack).tasks[0].name == "cars"  # a list needs no base


def changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change a model where it lies."""
    file = next(folder.glob("*.safetensors"))
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(tensors)
    file.unlink()
    save_file(tensors, file)


def one_value(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"][-1] += 1


def lacks_one(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["model.norm.weight"]


def other_shape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"] = torch.ones(9, dtype=torch.bfloat16)


@pytest.mark.parametrize("change", [one_value, lacks_one, other_shape])
def test_another_base_is_refused(tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    pack = packed(tmp_path)
    changed(tmp_path / "base", change)
    with pytest.raises(InputError) as caught:
        cuvee.unpack(pack, tmp_path / "out", task="cars")
    assert caught.value.code == "pack-base"
    assert "model.norm.weight" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_task_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    pack = packed(tmp_path)
    for call in (lambda: opened(pack, "car"), lambda: cuvee.unpack(pack, tmp_path / "out", task="car")):
        with pytest.raises(InputError) as caught:
            call()
        assert caught.value.code == "unknown-task"
        assert "did you mean `cars`?" in str(caught.value)


def test_a_pack_is_no_model(tmp_path: Path) -> None:
    """Its deltas would be taken for weights."""
    pack = packed(tmp_path)
    with pytest.raises(InputError) as caught:
        open_checkpoint(ModelRef(str(pack)))
    assert caught.value.code == "not-a-checkpoint"
    assert f"{pack}#cars" in str(caught.value)


def test_a_model_with_another_programs_pack_json_stays_one(tmp_path: Path) -> None:
    family(tmp_path)
    (tmp_path / "base/pack.json").write_text('{"tasks": 3}')
    assert len(open_checkpoint(ModelRef(str(tmp_path / "base"))).specs) == 9


def test_a_folder_of_the_very_name_comes_first(tmp_path: Path) -> None:
    pack = packed(tmp_path)
    shutil.copytree(tmp_path / "pets", tmp_path / "pack#cars")
    assert_same(read_whole(opened(pack, "cars")), read(tmp_path / "pets"))


def test_the_base_of_a_pack_cannot_be_a_task(tmp_path: Path) -> None:
    pack = packed(tmp_path)
    data = recipe(tmp_path) | {"base_model": f"{pack}#cars"}
    with pytest.raises(CuveeError) as caught:
        cuvee.pack(data, tmp_path / "second")
    assert caught.value.code == "not-yet"


def test_models_of_a_pack_may_be_tasks_of_another(tmp_path: Path) -> None:
    pack = packed(tmp_path)
    models = [{"model": f"{pack}#cars"}, {"model": str(tmp_path / "pets")}]
    made = cuvee.pack(recipe(tmp_path) | {"models": models}, tmp_path / "second")
    assert [task.name for task in made.facts.tasks] == ["pack-cars", "pets"]


def test_an_output_does_not_replace_pack_or_base(tmp_path: Path) -> None:
    pack = packed(tmp_path)
    for out in (tmp_path / "base", pack):
        before = files(out)
        with pytest.raises(OutputExists) as caught:
            cuvee.unpack(pack, out, task="cars", overwrite=True)
        assert caught.value.code == "unsafe-overwrite"
        assert files(out) == before


@pytest.mark.parametrize("name", ["pack.json", "model.safetensors", "task-cars.safetensors"])
def test_a_pack_that_is_written_to_while_it_is_read_is_refused(tmp_path: Path, name: str) -> None:
    pack = packed(tmp_path)
    reader = opened(pack)
    with (pack / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(InputError) as caught:
        reader.check_unchanged()
    assert caught.value.code == "io-error"


def test_the_files_of_base_and_pack_are_its_input_files(tmp_path: Path) -> None:
    pack = packed(tmp_path)
    reader = opened(pack)
    names = {Path(file.name).resolve() for file in reader.input_files}
    inside = {pack / name for name in ("pack.json", "model.safetensors", "task-cars.safetensors")}
    assert names == {tmp_path / "base/model.safetensors", *inside}
    assert all(file.tensors == reader.specs.keys() for file in reader.input_files)


def test_verify_looks_at_packs_and_tasks(tmp_path: Path) -> None:
    pack = packed(tmp_path)
    assert [check.outcome for check in cuvee.verify(pack).checks] == ["ok", "ok", "ok"]
    assert cuvee.verify(f"{pack}#pets").ok
    data = bytearray((pack / "task-cars.safetensors").read_bytes())
    data[-1] ^= 1
    (pack / "task-cars.safetensors").write_bytes(bytes(data))
    assert [check.outcome for check in cuvee.verify(pack).checks] == ["ok", "failed", "ok"]
    assert not cuvee.verify(f"{pack}#cars").ok
    assert cuvee.verify(f"{pack}#pets").ok


def test_a_tied_head_stays_tied(tmp_path: Path) -> None:
    config = {"model_type": "small", "num_hidden_layers": 2, "tie_word_embeddings": True, "dtype": "bfloat16"}
    family(tmp_path / "untied")
    for name in ("base", "cars", "pets"):
        tensors = read(tmp_path / "untied" / name)
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        write(tmp_path / name, tensors, config)
    cuvee.pack(recipe(tmp_path), tmp_path / "pack")
    cuvee.unpack(tmp_path / "pack", tmp_path / "out", task="cars")
    cuvee.merge(recipe(tmp_path), tmp_path / "merged")
    assert read(tmp_path / "out").keys() == read(tmp_path / "merged").keys()
    assert json.loads((tmp_path / "out/config.json").read_text())["tie_word_embeddings"] is True
    assert cuvee.verify(tmp_path / "out").ok
