"""Blocks that write zeros: every kind of model that is said to be tried answers as before, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as t

import cuvee
from cuvee.errors import InputError
from cuvee.families.residual import TRIED
from tests.end_to_end.test_stack import NAMES
from tests.support.lanes import rarely
from tests.support.zoo import seeded

TEXT: dict[str, Any] = {
    "vocab_size": 80,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
SIGHT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 8,
    "num_labels": 3,
}
Make = Callable[[], Any]
BLOOM = {"vocab_size": 80, "hidden_size": 32, "n_layer": 4, "n_head": 4}
MIXED = {"num_local_experts": 2, "interleave_moe_layer_step": 2}
KINDS: dict[str, Make] = {
    "dinov2": lambda: t.Dinov2ForImageClassification(t.Dinov2Config(**SIGHT)),
    "dinov2_with_registers": lambda: t.Dinov2WithRegistersForImageClassification(t.Dinov2WithRegistersConfig(**SIGHT)),
    "deit": lambda: t.DeiTForImageClassification(t.DeiTConfig(**SIGHT, intermediate_size=48)),
    "beit": lambda: t.BeitForImageClassification(t.BeitConfig(**SIGHT, intermediate_size=48)),
    "vit_msn": lambda: t.ViTMSNForImageClassification(t.ViTMSNConfig(**SIGHT, intermediate_size=48)),
    "bloom": lambda: t.BloomForCausalLM(t.BloomConfig(**BLOOM)),
    "granite": lambda: t.GraniteForCausalLM(t.GraniteConfig(**TEXT, residual_multiplier=0.3)),
    "glm4": lambda: t.Glm4ForCausalLM(t.Glm4Config(**TEXT, head_dim=8, pad_token_id=0)),
    "llama4_text": lambda: t.Llama4ForCausalLM(
        t.Llama4TextConfig(
            **TEXT,
            head_dim=8,
            intermediate_size_mlp=48,
            num_local_experts=2,
            interleave_moe_layer_step=2,
            pad_token_id=0,
        )
    ),
    "cohere": lambda: t.CohereForCausalLM(t.CohereConfig(**TEXT)),
    "stablelm": lambda: t.StableLmForCausalLM(t.StableLmConfig(**TEXT)),
    "smollm3": lambda: t.SmolLM3ForCausalLM(t.SmolLM3Config(**TEXT, pad_token_id=0, no_rope_layer_interval=2)),
    "exaone4": lambda: t.Exaone4ForCausalLM(t.Exaone4Config(**TEXT)),
    "hunyuan_v1_dense": lambda: t.HunYuanDenseV1ForCausalLM(t.HunYuanDenseV1Config(**TEXT, head_dim=8, pad_token_id=0)),
    "phimoe": lambda: t.PhimoeForCausalLM(t.PhimoeConfig(**TEXT, num_local_experts=2)),
    "starcoder2": lambda: t.Starcoder2ForCausalLM(t.Starcoder2Config(**TEXT)),
    "mpt": lambda: t.MptForCausalLM(
        t.MptConfig(vocab_size=80, d_model=32, n_layers=4, n_heads=4, expansion_ratio=2, max_seq_len=64)
    ),
}
REFUSED: dict[str, Make] = {
    "sums of what is normalised": lambda: t.BloomForCausalLM(
        t.BloomConfig(**BLOOM, apply_residual_connection_post_layernorm=True)
    ),
    "sums that are scaled by tensors": lambda: t.DogeForCausalLM(t.DogeConfig(**TEXT, pad_token_id=0)),
    "sums that are scaled by numbers": lambda: t.MiniMaxForCausalLM(
        t.MiniMaxConfig(**TEXT, num_local_experts=2, layer_types=["full_attention"] * 4, head_dim=8)
    ),
}
QUICK = ("dinov2", "bloom", "starcoder2")


def answer(model: Any) -> torch.Tensor:
    if "image_size" in model.config.to_dict():
        pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        given = {"pixel_values": pixels}
    else:
        given = {"input_ids": torch.arange(3, 19).view(2, 8)}
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(**given).logits
    return found


@pytest.mark.parametrize("kind", [*QUICK, *rarely(*(kind for kind in KINDS if kind not in QUICK))])
def test_answers_are_what_they_were(kind: str, tmp_path: Path) -> None:
    model = seeded(KINDS[kind], 0)
    model.save_pretrained(tmp_path / "model")
    made = cuvee.stack(tmp_path / "model", tmp_path / "out", expand=2)
    assert made.notes[0].startswith("the function is unchanged")
    after, account = type(model).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(account.values())
    assert len(made.made.layers) == 6
    assert torch.equal(answer(after), answer(model))


@pytest.mark.parametrize("kind", REFUSED)
def test_layers_that_do_more_than_add_are_refused(kind: str, tmp_path: Path) -> None:
    seeded(REFUSED[kind], 0).save_pretrained(tmp_path / "model")
    with pytest.raises(InputError) as caught:
        cuvee.stack(tmp_path / "model", tmp_path / "out", expand=2)
    assert caught.value.code == "no-silent-layer"


def test_a_kind_that_was_not_tried_is_told(tmp_path: Path) -> None:
    model = seeded(lambda: t.LlamaForCausalLM(t.LlamaConfig(**TEXT)), 0)
    model.save_pretrained(tmp_path / "model")
    file = tmp_path / "model/config.json"
    file.write_text(file.read_text("utf-8").replace('"llama"', '"never-heard-of"'), "utf-8")
    made = cuvee.stack(tmp_path / "model", tmp_path / "out", expand=1)
    assert "were not tried with this kind of model" in made.notes[0]


def test_what_is_said_to_be_tried_is_tried() -> None:
    elsewhere = {*(name.replace(" ", "_") for name in NAMES if name != "bert"), "gpt_neox", "mixtral", "olmo2", "phi"}
    assert {*KINDS, *elsewhere} == TRIED
