"""Adapters that are extracted or merged, by the names that they give: what peft and this library read them as."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from cuvee import api
from cuvee.adapters.written import Change, Result
from tests.support.adapters import unwarned

WIDTH = 12


class Tower(nn.Module):
    """A module called `proj`, as the model around it has one."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(WIDTH, WIDTH, bias=False)


class Towers(Tower):
    """`proj` and `vision.proj`."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = Tower()


def write_plain(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "towers"}))
    return folder


def test_a_module_whose_name_ends_another_has_a_rank_of_its_own(tmp_path: Path) -> None:
    from peft import PeftModel

    torch.manual_seed(0)
    base = {name: torch.randn(WIDTH, WIDTH) for name in ("proj.weight", "vision.proj.weight")}
    changes = {
        name: torch.randn(WIDTH, rank) @ torch.randn(rank, WIDTH) for name, rank in zip(base, (2, 5), strict=True)
    }
    tuned = {name: base[name] + change for name, change in changes.items()}
    folders = [write_plain(tmp_path / name, value) for name, value in (("tuned", tuned), ("base", base))]
    api.extract_adapter(*folders, tmp_path / "out", energy=0.999999)
    assert api.lora_info(tmp_path / "out").ranks == {2: 1, 5: 1}
    model = Towers()
    model.load_state_dict(base)
    with unwarned():
        merged = PeftModel.from_pretrained(model, str(tmp_path / "out")).merge_and_unload().state_dict()
    for name, value in tuned.items():
        assert torch.allclose(merged[name], value, atol=1e-4), name


def test_patterns_stand_for_one_module_whatever_their_order() -> None:
    """peft sorts the keys when it writes a configuration anew, and takes the first that matches."""
    made = [Change(name, torch.zeros(r, 2), torch.zeros(2, r), 3.0 * r) for name, r in (("a.b", 1), ("b", 2), ("c", 2))]
    settings = Result(tuple(made)).settings()
    assert settings["rank_pattern"] == {r"^a\.b": 1, "^b": 2, "^c": 2}
    assert list(settings["alpha_pattern"]) == sorted(settings["alpha_pattern"])
