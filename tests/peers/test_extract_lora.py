"""mergekit-extract-lora beside `cuvee lora extract`: the same changes of low rank, and what else each stores."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import cuvee
from tests.peers.rival import Rival
from tests.support.adapters import load_base, write_base

pytestmark = pytest.mark.peers


def tuned_from(base: Path, folder: Path) -> Path:
    """A model whose linear maps all differ from the base's, and nothing else."""
    model = load_base(base)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.endswith("proj.weight"):
                values.add_(0.02 * torch.randn(values.shape, generator=generator))
    model.save_pretrained(folder)
    return folder


def changes(folder: Path) -> dict[str, Tensor]:
    """B · A of every module; both tools write α = r."""
    found = load_file(folder / "adapter_model.safetensors")
    ends = [name.removesuffix("lora_A.weight") for name in found if name.endswith("lora_A.weight")]
    return {end: found[f"{end}lora_B.weight"].double() @ found[f"{end}lora_A.weight"].double() for end in ends}


def test_the_changes_are_the_same_and_mergekit_stores_what_did_not_change(rival: Rival, tmp_path: Path) -> None:
    base = write_base("llama", tmp_path / "base")
    tuned = tuned_from(base, tmp_path / "tuned")
    tool = rival.python.with_name("mergekit-extract-lora")
    words = [str(tool), "--model", str(tuned), "--base-model", str(base), "--out-path", str(tmp_path / "theirs")]
    subprocess.run(
        [*words, "--max-rank", "4"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
        check=False,  # it asks the hub for a model card at the end, when all is written
        capture_output=True,
    )
    cuvee.extract_adapter(tuned, base, tmp_path / "ours", rank=4)
    theirs, ours = changes(tmp_path / "theirs"), changes(tmp_path / "ours")
    assert theirs.keys() == ours.keys()
    for module, wanted in theirs.items():
        torch.testing.assert_close(ours[module], wanted, rtol=0, atol=2e-6)
    extra = load_file(tmp_path / "theirs/adapter_model.safetensors").keys() - {
        *load_file(tmp_path / "ours/adapter_model.safetensors")
    }
    original = load_file(base / "model.safetensors")
    assert extra
    for name in extra:  # embeddings, norms and the head, all of them as in the base
        stored = load_file(tmp_path / "theirs/adapter_model.safetensors")[name]
        assert torch.equal(stored, original[name.removeprefix("base_model.model.")])
