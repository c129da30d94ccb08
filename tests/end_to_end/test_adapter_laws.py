"""What must hold of adapters by their arithmetic alone: small ones, written by hand, against sums of s · B · A."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cuvee import api

Tensors = dict[str, torch.Tensor]

Q, V, EMBEDDING, HEAD = "model.layers.0.q_proj", "model.layers.0.v_proj", "model.embed_tokens", "lm_head"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model of one layer, an embedding of 6 tokens and a head of its own."""
    return write_model(tmp_path / "base")


def write_model(folder: Path, dtype: torch.dtype = torch.float32, **config: Any) -> Path:
    folder.mkdir()
    torch.manual_seed(0)
    tensors = {f"{Q}.weight": torch.randn(4, 4), f"{V}.weight": torch.randn(2, 4), f"{V}.bias": torch.randn(2)}
    tensors |= {f"{EMBEDDING}.weight": torch.randn(6, 4), f"{HEAD}.weight": torch.randn(6, 4)}
    save_file({name: value.to(dtype) for name, value in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **config}), "utf-8")
    return folder


def write(folder: Path, tensors: Tensors, **settings: Any) -> Path:
    """An adapter of rank 1 and scale 3, of these tensors."""
    folder.mkdir()
    save_file({f"base_model.model.{n}": t for n, t in tensors.items()}, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 3, **settings}
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return folder


def factors(module: str, outputs: int, seed: int = 0, inputs: int = 4) -> Tensors:
    """B and A of one module."""
    torch.manual_seed(seed)
    return {f"{module}.lora_A.weight": torch.randn(1, inputs), f"{module}.lora_B.weight": torch.randn(outputs, 1)}


def change(adapter: Path, module: str) -> torch.Tensor:
    """s · B · A."""
    held = load_file(adapter / "adapter_model.safetensors")
    a, b = (held[f"base_model.model.{module}.lora_{part}.weight"].double() for part in "AB")
    return 3 * b @ a


def weights(folder: Path) -> Tensors:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_a_base_that_has_an_adapter_keeps_it(base: Path, tmp_path: Path, weight: float) -> None:
    one, two, three = (write(tmp_path / f"a{i}", factors(Q, 4, i)) for i in (1, 2, 3))
    api.lora_apply(f"{base}+{one}", [two, three], tmp_path / "out", weight=weight)
    added = change(one, Q) + weight * (change(two, Q) + change(three, Q))
    found = weights(tmp_path / "out")[f"{Q}.weight"] - weights(base)[f"{Q}.weight"]
    torch.testing.assert_close(found.double(), added, rtol=0, atol=1e-5)
