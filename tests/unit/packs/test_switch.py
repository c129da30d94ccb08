"""Switching a live model between tasks: bit for bit what unpack writes, and bit for bit the base again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import transformers

import cuvee
from cuvee.errors import InputError, UsageError
from tests.support.merging import read
from tests.support.packing import recipe

SMALL = {"vocab_size": 19, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2}


def llama(seed: int, base: torch.nn.Module | None = None) -> transformers.LlamaForCausalLM:
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, tie_word_embeddings=True))
    if base is not None:
        with torch.no_grad():
            for own, other in zip(model.parameters(), base.parameters(), strict=True):
                own.copy_(other + 0.1 * own)
    return model


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("zoo")
    base = llama(0)
    base.save_pretrained(root / "base")
    for seed, task in enumerate(("cars", "pets"), 1):
        llama(seed, base).save_pretrained(root / task)
    cuvee.pack(recipe(root), root / "pack")
    for task in ("cars", "pets"):
        cuvee.unpack(root / "pack", root / f"out-{task}", task=task)
    return root


def load(folder: Path, dtype: torch.dtype = torch.float32) -> transformers.LlamaForCausalLM:
    return transformers.LlamaForCausalLM.from_pretrained(folder, dtype=dtype)


def same(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    ours, theirs = model.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_what_unpack_writes_loads(zoo: Path) -> None:
    report = cuvee.verify(zoo / "out-cars")
    assert {check.name: check.outcome for check in report.checks}["loads"] == "ok"
    assert report.ok


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_goes_from_task_to_task_and_back(zoo: Path, keep: bool, dtype: torch.dtype) -> None:
    model, base = load(zoo / "base", dtype), load(zoo / "base", dtype)
    places = [p.data_ptr() for p in model.parameters()]
    switch = cuvee.TaskSwitch(model, zoo / "pack", keep=keep)
    assert (switch.task, switch.tasks) == (None, ("cars", "pets"))
    for task in ("cars", "pets", "cars"):
        switch.to(task)
        assert switch.task == task
        assert same(model, load(zoo / f"out-{task}", dtype))
    assert not same(model, base)
    switch.base()
    assert switch.task is None
    assert same(model, base)
    assert [p.data_ptr() for p in model.parameters()] == places


def test_using_puts_back_what_was(zoo: Path) -> None:
    model = load(zoo / "base")
    switch = cuvee.TaskSwitch(model, zoo / "pack")
    switch.to("pets")
    with switch.using("cars"):
        assert same(model, load(zoo / "out-cars"))
    assert switch.task == "pets"
    with pytest.raises(ZeroDivisionError), switch.using("cars"):
        raise ZeroDivisionError
    assert switch.task == "pets"
    assert same(model, load(zoo / "out-pets"))
    switch.to(None)
    assert same(model, load(zoo / "base"))


def test_a_part_of_a_model_or_a_model_in_another_is_found(zoo: Path) -> None:
    whole = load(zoo / "base")
    inside = torch.nn.ModuleDict({"backbone": whole})
    cuvee.TaskSwitch(inside, zoo / "pack").to("cars")
    assert same(whole, load(zoo / "out-cars"))
    part = load(zoo / "base").model
    cuvee.TaskSwitch(part, zoo / "pack").to("cars")
    assert same(part, load(zoo / "out-cars").model)
    mapped = torch.nn.ModuleDict({"x": load(zoo / "base")})
    cuvee.TaskSwitch(mapped, zoo / "pack", names=lambda name: f"x.{name}").to("cars")
    assert same(mapped["x"], load(zoo / "out-cars"))


def test_a_model_that_is_not_the_base_is_refused(zoo: Path) -> None:
    model = load(zoo / "pets")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError) as caught:
        cuvee.TaskSwitch(model, zoo / "pack")
    assert caught.value.code == "pack-base"
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        (torch.nn.Linear(3, 3), InputError, "missing-tensor"),
        ("model", UsageError, "bad-argument"),
    ],
)
def test_what_does_not_fit_is_refused(zoo: Path, model: object, error: type[Exception], code: str) -> None:
    with pytest.raises(error) as caught:
        cuvee.TaskSwitch(model, zoo / "pack")  # type: ignore[arg-type]
    assert caught.value.code == code


def test_a_model_of_other_sizes_is_refused(zoo: Path) -> None:
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**SMALL, "vocab_size": 20}))
    with pytest.raises(InputError) as caught:
        cuvee.TaskSwitch(model, zoo / "pack")
    assert set(caught.value.codes) == {"shape-mismatch"}


@pytest.mark.parametrize("keep", [True, False])
def test_a_switch_that_fails_half_way_leaves_the_base(zoo: Path, tmp_path: Path, keep: bool) -> None:
    shutil.copytree(zoo / "pack", tmp_path / "pack")
    model = load(zoo / "base")
    switch = cuvee.TaskSwitch(model, tmp_path / "pack", base=zoo / "base", keep=keep)
    switch.to("cars")
    data = bytearray((tmp_path / "pack/model.safetensors").read_bytes())
    data[-1] ^= 1  # the last tensor's delta
    (tmp_path / "pack/model.safetensors").write_bytes(bytes(data))
    with pytest.raises(InputError) as caught:
        switch.to("pets")
    assert caught.value.code == "bad-pack"
    assert switch.task is None
    assert same(model, load(zoo / "base"))


def test_an_unknown_task_changes_nothing(zoo: Path) -> None:
    model = load(zoo / "base")
    switch = cuvee.TaskSwitch(model, zoo / "pack")
    switch.to("cars")
    with pytest.raises(InputError) as caught:
        switch.to("pet")
    assert caught.value.code == "unknown-task"
    assert switch.task == "cars"
    assert same(model, load(zoo / "out-cars"))


def test_nothing_of_the_tensors_is_kept_when_that_is_not_wanted(zoo: Path) -> None:
    switch = cuvee.TaskSwitch(load(zoo / "base"), zoo / "pack", keep=False)
    assert switch._kept is None
    assert read(zoo / "pack")  # the delta is on the disk, not in the switch
