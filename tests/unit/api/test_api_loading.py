"""A recipe's result as a ready model: the logits of merging to disk and loading that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

import cuvee
from cuvee.errors import InputError, RecipeError, UsageError
from cuvee.families import pretrained
from tests.support.merging import decoder, hidden, write

LLAMA = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = {"n_layer": 2, "n_head": 2, "n_embd": 32, "vocab_size": 64, "n_positions": 32}
GPT2 |= {"bos_token_id": 1, "eos_token_id": 2}
KINDS = {
    "llama": ("LlamaConfig", LLAMA, "LlamaForCausalLM"),
    "gpt2 tied": ("GPT2Config", GPT2, "GPT2LMHeadModel"),
    "experts fused in memory": ("MixtralConfig", {**LLAMA, "num_local_experts": 4}, "MixtralForCausalLM"),
}


def two(kind: str, root: Path, dtype: torch.dtype = torch.float32) -> dict[str, object]:
    """A recipe of two models of a kind, written by transformers."""
    config, settings, cls = KINDS[kind]
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        model = getattr(transformers, cls)(getattr(transformers, config)(**settings)).to(dtype)
        pretrained.save(model, root / name)
    models = [{"model": str(root / name), "parameters": {"weight": 1 + (name == "b")}} for name in "ab"]
    return {"merge_method": "linear", "models": models}


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(8)[None]).logits


@pytest.mark.parametrize("kind", KINDS)
def test_the_logits_are_those_of_merging_to_disk_and_loading(tmp_path, kind) -> None:
    asked = two(kind, tmp_path)
    file = tmp_path / "a" / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "max_new_tokens": 7}))
    loaded = cuvee.load(asked)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"], "nothing is written"
    cuvee.merge(asked, tmp_path / "out")
    expected = getattr(transformers, KINDS[kind][2]).from_pretrained(tmp_path / "out").eval()
    assert type(loaded) is type(expected)
    assert not loaded.training
    assert torch.equal(logits(loaded), logits(expected))
    assert torch.equal(logits(cuvee.load(tmp_path / "out")), logits(expected)), "a folder is loaded as it is"
    assert loaded.generation_config.max_new_tokens == expected.generation_config.max_new_tokens == 7


def test_the_first_factor_of_layer_scaling_is_found(tmp_path) -> None:
    two("llama", tmp_path)
    asked = {
        "merge_method": "ties",
        "base_model": str(tmp_path / "a"),
        "models": [{"model": str(tmp_path / "b"), "parameters": {"weight": 1.0, "density": 0.3}}],
        "layer_scaling": {"policy": "lines", "beta": 0.5},
    }
    loaded = cuvee.load(asked)
    cuvee.merge(asked, tmp_path / "out")
    assert torch.equal(logits(loaded), logits(cuvee.load(tmp_path / "out")))


def test_a_tied_head_is_tied(tmp_path) -> None:
    loaded = cuvee.load(two("gpt2 tied", tmp_path))
    assert loaded.lm_head.weight is loaded.transformer.wte.weight


def test_nested_recipes_and_masks_from_a_seed(tmp_path) -> None:
    inner = {"name": "first", **two("llama", tmp_path)}
    base = str(tmp_path / "a")
    asked = {"merge_method": "dare_ties", "base_model": base, "models": [{"model": inner}]}
    asked |= {"parameters": {"weight": 1, "density": 0.5}}
    cuvee.merge(asked, tmp_path / "out", seed=3)
    expected = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(logits(cuvee.load(asked, seed=3, threads=1)), logits(expected))
    assert not torch.equal(logits(cuvee.load(asked, seed=4)), logits(expected))


def test_the_dtype_is_the_results_own_or_as_asked(tmp_path) -> None:
    asked = two("llama", tmp_path, torch.bfloat16)
    assert cuvee.load(asked).dtype == torch.bfloat16
    assert cuvee.load(asked, dtype="float32", device="cpu").dtype == torch.float32
    assert cuvee.load(tmp_path / "a", dtype="float16").dtype == torch.float16


def test_a_recipe_file_is_merged_and_a_result_without_configuration_refused(tmp_path) -> None:
    for seed, name in enumerate("ab"):
        write(tmp_path / name, decoder(seed), None)
    asked = tmp_path / "recipe.yml"
    asked.write_text("merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 1}\n")
    with pytest.raises(InputError, match=r"a has no config.json, so the result has none") as caught:
        cuvee.load(asked)
    assert caught.value.code == "bad-config"
    assert hidden(tmp_path) == []


def test_a_class_that_transformers_does_not_know(tmp_path) -> None:
    config = {"model_type": "small", "architectures": ["SmallForCausalLM"], "num_hidden_layers": 2}
    for seed, name in enumerate("ab"):
        write(tmp_path / name, decoder(seed), config)
    models = [{"model": str(tmp_path / name)} for name in "ab"]
    with pytest.raises(InputError, match="model type `small`") as caught:
        cuvee.load({"merge_method": "linear", "models": models, "parameters": {"weight": 1}})
    assert caught.value.code == "bad-config"


def test_tensors_that_the_class_needs_and_the_result_lacks_are_not_made_up(tmp_path) -> None:
    asked = two("llama", tmp_path)
    for name in "ab":
        config = json.loads((tmp_path / name / "config.json").read_text())
        (tmp_path / name / "config.json").write_text(json.dumps({**config, "attention_bias": True}))
    with pytest.raises(InputError, match=r"q_proj\.bias") as caught:
        cuvee.load(asked)
    assert caught.value.code == "missing-tensor"
    with pytest.raises(InputError, match=r"q_proj\.bias"):
        cuvee.load(tmp_path / "a")


def test_tensors_that_the_class_has_no_place_for_are_told(tmp_path) -> None:
    two("llama", tmp_path)
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    (tmp_path / "a" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    with pytest.warns(UserWarning, match=r"has no place for model\.layers\.1"):
        cuvee.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "int8"}, "`dtype` must be one of"),
        ({"dtype": torch.float32}, "`dtype` must be one of"),
        ({"device": 3}, "`device` must be a device"),
        ({"device": "nowhere"}, "`device` 'nowhere' is not there"),
        ({"threads": 0}, "`threads` must be"),
        ({"allow_nonfinite": "no"}, "`allow_nonfinite` must be"),
    ],
)
def test_arguments_are_checked_before_anything_is_opened(options, words) -> None:
    with pytest.raises(UsageError, match=words):
        cuvee.load("/nowhere", **options)


def test_what_is_neither_a_folder_nor_a_recipe(tmp_path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        cuvee.load(tmp_path / "absent")
    with pytest.raises(UsageError, match="recipe"):
        cuvee.load(3)  # type: ignore[arg-type]
