"""Partial models together with modules, slices, adapters, packs and Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

import cuvee
from cuvee.errors import CuveeError, InputError
from tests.support.adapters import unwarned
from tests.support.zoo import Cellar

INSIDE = "language_model."


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Cellar:
    return Cellar(tmp_path_factory.mktemp("cellar"))


def tensors(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def merged(recipe: dict[str, Any], out: Path, **how: Any) -> dict[str, Tensor]:
    cuvee.merge(recipe, out, **how)
    assert cuvee.verify(out).ok
    return tensors(out)


def text(cellar: Cellar, seed: int = 2) -> dict[str, Any]:
    return {"model": str(cellar.model("llama", seed)), "as": "language_model"}


def half(cellar: Cellar, small: dict[str, Any]) -> dict[str, Any]:
    models = [{"model": str(cellar.model("llava", 1))}, {"model": small}]
    return {"merge_method": "linear", "models": models, "parameters": {"weight": 0.5}}


def module(cellar: Cellar, name: str, part: dict[str, Any], seed: int = 4) -> dict[str, Any]:
    """A recipe with something of its own for one module, and the rest a mean of two models."""
    whole = [{"model": str(cellar.model("llava", seed))} for seed in (1, seed)]
    return {"merge_method": "linear", "parameters": {"weight": 0.5}, "modules": {name: part, "rest": {"models": whole}}}


def test_a_part_in_a_module(cellar: Cellar, tmp_path: Path) -> None:
    vlm, other, small = (cellar.model(*one) for one in (("llava", 1), ("llava", 4), ("llama", 2)))
    models = [{"model": str(vlm)}, {"model": text(cellar)}]
    out = merged(module(cellar, "language_model", {"models": models}), tmp_path / "out")
    a, b, c = tensors(vlm), tensors(small), tensors(other)
    for name, found in out.items():
        second = b[name.removeprefix(INSIDE)] if name.startswith(INSIDE) else c[name]
        assert torch.allclose(found, 0.5 * a[name] + 0.5 * second, atol=1e-7), name


def test_a_part_in_a_module_that_holds_none_of_it_is_refused(cellar: Cellar) -> None:
    """Nothing of it would be merged, and no one would be told."""
    models = [{"model": str(cellar.model("llava", 1))}, {"model": text(cellar)}]
    with pytest.raises(InputError, match="nothing of it is merged") as caught:
        cuvee.plan(module(cellar, "vision_tower", {"models": models}))
    assert caught.value.codes == ("part-mismatch",)


def test_slices_of_a_part(cellar: Cellar, tmp_path: Path) -> None:
    """Layers of both, one behind the other; the norm and the head are the last slice's."""
    vlm, small = str(cellar.model("llava", 1)), text(cellar)
    sources = [{"model": vlm, "layer_range": [0, 2]}], [{"model": small, "layer_range": [1, 2]}]
    recipe = {
        "merge_method": "passthrough",
        "modules": {
            "language_model": {"slices": [{"sources": one} for one in sources]},
            "rest": {"models": [{"model": vlm}]},
        },
    }
    out = merged(recipe, tmp_path / "out")
    a, b = tensors(Path(vlm)), tensors(Path(small["model"]))
    layers = f"{INSIDE}model.layers."
    for name, found in out.items():
        own = name.removeprefix(INSIDE)
        if name.startswith(f"{layers}2."):
            assert torch.equal(found, b[own.replace("layers.2.", "layers.1.")]), name
        elif own in ("model.norm.weight", "lm_head.weight"):
            assert torch.equal(found, b[own]), name
        else:
            assert torch.equal(found, a[name]), name
    config = transformers.AutoConfig.from_pretrained(tmp_path / "out")
    assert config.text_config.num_hidden_layers == 3
    loaded, account = transformers.LlavaForConditionalGeneration.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(account.values())
    assert loaded(input_ids=torch.tensor([[1, 5, 9]])).logits.isfinite().all()


def adapter(base: Path, folder: Path, seed: int) -> str:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    with unwarned():
        model = transformers.LlamaForCausalLM.from_pretrained(base)
        settings = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
        get_peft_model(model, settings).save_pretrained(folder)
    return str(folder)


def test_adapters_of_a_partial_model_are_applied_first(cellar: Cellar, tmp_path: Path) -> None:
    base = cellar.model("llama", 2)
    lora = [adapter(base, tmp_path / f"lora-{seed}", seed) for seed in (1, 2)]
    applied = {"merge_method": "passthrough", "models": [{"model": {"model": str(base), "lora": lora}}]}
    cuvee.merge(applied, tmp_path / "applied")
    found = merged(half(cellar, {**text(cellar), "lora": lora}), tmp_path / "out")
    wanted = merged(half(cellar, {**text(cellar), "model": str(tmp_path / "applied")}), tmp_path / "wanted")
    plain = merged(half(cellar, text(cellar)), tmp_path / "plain")
    assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)
    assert not torch.equal(*(one[f"{INSIDE}model.layers.0.self_attn.q_proj.weight"] for one in (found, plain)))
    assert not [note for note in cuvee.card(tmp_path / "out").notes if "was not found" in note]


def emr(base: Any, *models: Any) -> dict[str, Any]:
    return {"merge_method": "emr", "base_model": base, "models": [{"model": one} for one in models]}


def test_a_pack_of_partial_models(cellar: Cellar, tmp_path: Path) -> None:
    vlm = cellar.model("llava", 1)
    made = cuvee.pack(emr(str(vlm), text(cellar, 2), text(cellar, 3)), tmp_path / "pack")
    before = tensors(vlm)
    assert len(made.facts.tasks) == 2
    for task in made.facts.tasks:
        cuvee.unpack(tmp_path / "pack", tmp_path / task.name, task=task.name)
        out = tensors(tmp_path / task.name)
        changed = {name for name in before if not torch.equal(out[name], before[name])}
        assert out.keys() == before.keys()
        assert changed == {name for name in before if name.startswith(INSIDE)}


def test_a_pack_that_would_have_no_base_to_go_with_is_not_made(cellar: Cellar, tmp_path: Path) -> None:
    base = {"model": str(cellar.model("llava", 1)), "part": "language_model"}
    with pytest.raises(CuveeError, match="a whole model") as caught:
        cuvee.pack(emr(base, str(cellar.model("llama", 2)), str(cellar.model("llama", 3))), tmp_path / "pack")
    assert caught.value.codes == ("not-yet",)
    assert not (tmp_path / "pack").exists()


def test_a_pack_of_a_part_and_a_whole_model_says_what_is_in_the_way(cellar: Cellar, tmp_path: Path) -> None:
    whole = [str(cellar.model("llava", seed)) for seed in (1, 4)]
    with pytest.raises(CuveeError, match="stand for the same part") as caught:
        cuvee.pack(emr(whole[0], text(cellar), whole[1]), tmp_path / "pack")
    assert "`missing`" not in str(caught.value)


@pytest.mark.usefixtures("cluster")
def test_a_partial_merge_spread_over_ray(cellar: Cellar, tmp_path: Path) -> None:
    recipe = half(cellar, text(cellar))
    here = merged(recipe, tmp_path / "here")
    there = merged(recipe, tmp_path / "there", executor="ray", threads=1)
    assert all(torch.equal(here[name], there[name]) for name in here)
