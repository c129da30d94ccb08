"""Adapters by somebody who means harm."""

from __future__ import annotations

import json
import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cuvee.checkpoint import open_checkpoint
from cuvee.errors import InputError
from cuvee.types import ModelRef

FACTORS = {"x.lora_A.weight": torch.ones(2, 3), "x.lora_B.weight": torch.ones(4, 2)}


def write(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **settings: Any) -> Path:
    """An adapter, and a base beside it."""
    folder.mkdir()
    given = FACTORS if tensors is None else tensors
    save_file({f"base_model.model.{n}": t for n, t in given.items()}, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, **settings}
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    (folder.parent / "base").mkdir(exist_ok=True)
    save_file({"x.weight": torch.ones(4, 3), "x.bias": torch.ones(4)}, folder.parent / "base/model.safetensors")
    return folder


def refusal(folder: Path, *, alone: bool = False) -> InputError:
    ref = ModelRef(str(folder))
    with pytest.raises(InputError) as caught:
        open_checkpoint(ref if alone else ModelRef(str(folder.parent / "base"), adapter=ref))
    return caught.value


class Command:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch ran",)


def test_an_adapter_whose_pickle_runs_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "a")
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({"x": Command()}))
    assert refusal(folder).code in ("unsafe-pickle", "bad-pickle")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("base", ["../a", "../b", "."])
def test_adapters_that_are_their_own_base(tmp_path: Path, base: str) -> None:
    folder = write(tmp_path / "a", base_model_name_or_path=base)
    write(tmp_path / "b", base_model_name_or_path="../a")
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        open_checkpoint(ModelRef("a"), tmp_path)
    assert caught.value.code in ("adapter-input", "not-a-checkpoint")
    assert time.monotonic() - start < 10
    assert folder.is_dir()


@pytest.mark.parametrize("base", ["https://host.invalid/model", "s3://bucket/model", "hf://org/model", "a\0b"])
def test_a_base_of_an_adapter_behind_a_url(tmp_path: Path, base: str) -> None:
    error = refusal(write(tmp_path / "a", base_model_name_or_path=base), alone=True)
    assert error.codes == ("adapter-input",)
    assert "is not opened for it" in str(error)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(x|x)*y", ".*.*.*.*z", "(?:x{1,50}){50}", "x" * 501, "("])
@pytest.mark.parametrize("key", ["rank_pattern", "alpha_pattern"])
def test_patterns_of_ranks_that_take_for_ever(tmp_path: Path, key: str, pattern: str) -> None:
    start = time.monotonic()
    error = refusal(write(tmp_path / "a", **{key: {pattern: 2}}))
    assert error.codes == ("bad-adapter",)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_files_of_an_adapter_that_are_links_out_of_it(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "a")
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    assert refusal(folder).codes == ("unsafe-link",)


FORMS: dict[str, Any] = {
    "r": ["2", 0, -1, 2.5, True, 1 << 40, None],
    "lora_alpha": ["8", float("nan"), float("inf"), 1e300, [], True],
    "rank_pattern": [{"x": "2"}, {"x": 0}, ["x"], "x"],
    "alpha_pattern": [{"x": "2"}, {"x": float("inf")}],
    "bias": ["some", 1, ["all"]],
    "modules_to_save": ["x", [1], {"x": 1}],
    "trainable_token_indices": ["x", [-1], [1, 1], {"x": 3}, [1 << 40], [True]],
    "base_model_name_or_path": [7, ["x"]],
    "use_dora": ["yes", 1],
    "use_rslora": ["yes"],
    "init_lora_weights": [{"x": 1}, ["pissa"], 1.5, "pissa"],
    "peft_type": [None, ["LORA"], "lora"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in FORMS.items() for value in values], ids=str)
def test_an_adapter_configuration_of_another_form(tmp_path: Path, key: str, value: Any) -> None:
    assert refusal(write(tmp_path / "a", **{key: value})).codes == ("bad-adapter",)


NO_JSON = (
    "",
    "[]",
    "{",
    '{"r": 1, "r": 2}',
    "[" * 100_000,
    '{"peft_type": "LORA", "x":' + '{"y":' * 200 + "1" + "}" * 201,
)


@pytest.mark.parametrize("text", NO_JSON, ids=range(len(NO_JSON)))
def test_an_adapter_configuration_that_is_no_json(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path / "a")
    (folder / "adapter_config.json").write_text(text, "utf-8")
    assert refusal(folder).codes == ("bad-adapter",)


ODD: dict[str, dict[str, torch.Tensor]] = {
    "none": {},
    "empty": {"x.lora_A.weight": torch.ones(2, 0), "x.lora_B.weight": torch.ones(4, 2)},
    "flat": {"x.lora_A.weight": torch.ones(2), "x.lora_B.weight": torch.ones(2)},
    "deep": {"x.lora_A.weight": torch.ones(2, 3, 1, 1), "x.lora_B.weight": torch.ones(4, 2, 1, 1)},
    "short": {**FACTORS, "x.lora_magnitude_vector": torch.ones(3)},
    "wrong bias": {**FACTORS, "x.lora_B.bias": torch.ones(5)},
    "rows of nothing": {"x.token_adapter.trainable_tokens_delta": torch.ones(2, 3)},
    "whole of another shape": {"x.weight": torch.ones(40, 3)},
    "whole that is not there": {"y.weight": torch.ones(4, 3)},
    "no module": {".lora_A.weight": torch.ones(2, 3), ".lora_B.weight": torch.ones(4, 2)},
}


@pytest.mark.parametrize("odd", ODD)
def test_tensors_of_an_adapter_that_fit_nothing(tmp_path: Path, odd: str) -> None:
    codes = refusal(write(tmp_path / "a", ODD[odd])).codes
    assert set(codes) <= {"bad-adapter", "adapter-mismatch", "unknown-adapter-key"}


def test_lists_of_modules_that_take_for_ever(tmp_path: Path) -> None:
    names = [f"m{i}" for i in range(100_000)]
    deep = "y." * 10_000
    layers = {f"layers.{i}.x.lora_{part}.weight": torch.ones(2, 2) for i in range(300) for part in "AB"}
    how = {"target_modules": names, "exclude_modules": names, "modules_to_save": names}
    folder = write(tmp_path / "a", layers, **how, layers_to_transform=list(range(100_000)))
    base = {f"layers.{i}.x.weight": torch.ones(2, 2) for i in range(300)} | {f"{deep}bias": torch.ones(2)}
    save_file(base, tmp_path / "base/model.safetensors")
    start = time.monotonic()
    open_checkpoint(ModelRef(str(tmp_path / "base"), adapter=ModelRef(str(folder)))).close()
    assert time.monotonic() - start < 5
