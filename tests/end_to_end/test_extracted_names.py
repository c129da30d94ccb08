"""Adapters that are extracted or merged, by the names that they give: what peft and this library read them as."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn

from cuvee import api
from cuvee.adapters.written import Change, Result
from cuvee.errors import InputError
from tests.support.adapters import SIZES, load_base, logits, merged_by_peft, unwarned, write_base

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
    torch.manual_seed(0)
    base = {name: torch.randn(WIDTH, WIDTH) for name in ("proj.weight", "vision.proj.weight")}
    changes = {
        name: torch.randn(WIDTH, rank) @ torch.randn(rank, WIDTH) for name, rank in zip(base, (2, 5), strict=True)
    }
    tuned = {name: base[name] + change for name, change in changes.items()}
    folders = [write_plain(tmp_path / name, value) for name, value in (("tuned", tuned), ("base", base))]
    api.extract_adapter(folders[0], folders[1], tmp_path / "out", energy=0.999999)
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


def changed_copy(base: Path, folder: Path, *endings: str) -> Path:
    """The model of a folder with some of its matrices changed, written as transformers writes it."""
    model = load_base(base)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(endings):
                parameter.add_(torch.randn_like(parameter) * 0.05)
    with unwarned():
        model.save_pretrained(str(folder))
    return folder


def without_prefix(folder: Path, prefix: str, to: Path) -> Path:
    """A model folder whose names lack a prefix, as GPT-2's on the hub do; with the masks that older ones hold."""
    shutil.copytree(folder, to)
    tensors = {name.removeprefix(prefix): value for name, value in load_file(folder / "model.safetensors").items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 4, 4)
    save_file(tensors, to / "model.safetensors", metadata={"format": "pt"})
    return to


def write_llava(folder: Path) -> Path:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    sizes = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = CLIPVisionConfig(**sizes, image_size=16, patch_size=8)
    torch.manual_seed(0)
    with unwarned():
        config = LlavaConfig(vision_config=vision, text_config=LlamaConfig(**SIZES["llama"]), image_token_index=5)
        LlavaForConditionalGeneration(config).save_pretrained(str(folder))
    return folder


def assert_loads_everywhere(base: Path, tuned: Path, adapter: Path, out: Path) -> None:
    """The adapter on the base is the tuned model, in peft and here."""
    want = load_base(tuned).state_dict()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(missing adapter keys|did not match).*")
        merged = merged_by_peft(base, adapter).state_dict()
    api.lora_apply(base, adapter, out)
    for found in (merged, load_base(out).state_dict()):
        assert all(torch.allclose(found[name], value, atol=1e-6) for name, value in want.items())


@pytest.mark.parametrize("prefixed", ["neither", "tuned", "base"])
def test_names_are_those_of_transformers(tmp_path: Path, prefixed: str) -> None:
    """GPT-2's names on the hub lack `transformer.`, and its older files hold masks that no class has a place for."""
    base = write_base("gpt2", tmp_path / "base")
    tuned = changed_copy(base, tmp_path / "tuned", "c_attn.weight", "c_proj.weight", "wpe.weight")
    if prefixed != "base":
        base = without_prefix(base, "transformer.", tmp_path / "bare-base")
    if prefixed != "tuned":
        tuned = without_prefix(tuned, "transformer.", tmp_path / "bare-tuned")
    found = api.extract_adapter(tuned, base, tmp_path / "out", rank=16, save=("wpe",))
    assert found.modules[0].module == "transformer.h.0.attn.c_attn"
    assert any("`transformer.`" in note for note in found.notes) == (prefixed != "neither")
    assert_loads_everywhere(base, tuned, tmp_path / "out", tmp_path / "applied")


def test_a_tower_is_named_as_transformers_names_it(tmp_path: Path) -> None:
    base = write_llava(tmp_path / "base")
    tuned = changed_copy(base, tmp_path / "tuned", "q_proj.weight", "linear_1.weight")
    assert "language_model.model.layers.0.self_attn.q_proj.weight" in load_file(base / "model.safetensors")
    found = api.extract_adapter(tuned, base, tmp_path / "out", rank=24)
    assert "model.language_model.layers.0.self_attn.q_proj" in [one.module for one in found.modules]
    assert_loads_everywhere(base, tuned, tmp_path / "out", tmp_path / "applied")


def test_what_transformers_does_not_know_keeps_its_names_and_is_told(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = {"proj.weight": torch.randn(WIDTH, WIDTH), "embedding_mapping.weight": torch.randn(WIDTH, 4)}
    tuned = {name: value + 1 for name, value in base.items()}
    folders = [write_plain(tmp_path / name, value) for name, value in (("tuned", tuned), ("base", base))]
    found = api.extract_adapter(folders[0], folders[1], tmp_path / "out", rank=1)
    assert [one.module for one in found.modules] == ["embedding_mapping", "proj"]
    assert any("`towers`" in note and "names on disk" in note for note in found.notes)
    assert "base_model.model.embedding_mapping.lora_A.weight" in load_file(
        tmp_path / "out" / "adapter_model.safetensors"
    )


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_tied_embedding_is_stored_for_both_sides(tmp_path: Path, kind: str) -> None:
    """Of Llama-3.2-1B and Gemma the embedding is the head; what peft loads must change both."""
    embedding = {"llama": "embed_tokens", "gpt2": "wte"}[kind]
    base = write_base(kind, tmp_path / "base", tie_word_embeddings=True)
    tuned = changed_copy(base, tmp_path / "tuned", f"{embedding}.weight", "q_proj.weight", "c_attn.weight")
    with pytest.raises(InputError, match=r"--save-module '.*' stores it whole, for both"):
        api.extract_adapter(tuned, base, tmp_path / "out", rank=24, embed_lora=True)
    api.extract_adapter(tuned, base, tmp_path / "out", rank=24, save=embedding)
    assert_loads_everywhere(base, tuned, tmp_path / "out", tmp_path / "applied")
    with unwarned():
        running = PeftModel.from_pretrained(load_base(base), str(tmp_path / "out")).eval()
    assert torch.allclose(logits(running), logits(load_base(tuned)), atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_an_embedding_that_is_several_modules_is_refused(tmp_path: Path, tied: bool) -> None:
    """T5's `shared` is that of encoder and decoder: peft would change one of the three."""
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"vocab_size": 48, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    with unwarned():
        made = T5ForConditionalGeneration(T5Config(**sizes, tie_word_embeddings=tied))
        made.save_pretrained(str(tmp_path / "base"))
    tuned = changed_copy(tmp_path / "base", tmp_path / "tuned", "shared.weight", "SelfAttention.q.weight")
    for how in ({"save": "shared"}, {"embed_lora": True}):
        with pytest.raises(InputError, match=r"encoder\.embed_tokens") as caught:
            api.extract_adapter(tuned, tmp_path / "base", tmp_path / "out", rank=4, **how)
        assert [fault.subject for fault in caught.value.faults] == ["shared.weight"]
    api.extract_adapter(tuned, tmp_path / "base", tmp_path / "out", rank=4, leave="shared")
