"""The anatomy of real checkpoints of many architectures: stacks, the keys that count them, and what stands outside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from cuvee.checkpoint import MemoryReader
from cuvee.families import Anatomy, Stack, is_before_layers, role_of, spot_of, study
from cuvee.types import TensorSpec
from tests.support.zoo import PLAIN, ZOO, Cellar, stored, ties_of

Expected = tuple[str, int, tuple[str, ...], str]
TEXT, VISION = ("text_config",), ("vision_config",)
LLAMA: list[Expected] = [("model.layers", 2, (), "num_hidden_layers")]
BERT: list[Expected] = [("encoder.layer", 2, (), "num_hidden_layers")]
T5: list[Expected] = [("encoder.block", 2, (), "num_layers"), ("decoder.block", 3, (), "num_decoder_layers")]
QWEN_VL: list[Expected] = [("model.layers", 2, TEXT, "num_hidden_layers"), ("visual.blocks", 2, VISION, "depth")]
TWO_TOWERS: list[Expected] = [
    ("language_model.model.layers", 2, TEXT, "num_hidden_layers"),
    ("vision_tower.encoder.layers", 2, VISION, "num_hidden_layers"),
]
LIKE_LLAMA = ["llama", "llama with biases", "mistral", "qwen2", "qwen3", "gemma2", "gemma3 text", "phi", "phi3"]
LIKE_LLAMA += ["cohere2", "olmo2", "modernbert", "mixtral", "qwen3-moe", "deepseek-v3", "gpt-oss"]
STACKS: dict[str, list[Expected]] = {
    **dict.fromkeys(LIKE_LLAMA, LLAMA),
    "qwen2-vl": QWEN_VL,
    "qwen2.5-vl": QWEN_VL,
    "gemma3": TWO_TOWERS,
    "llava": TWO_TOWERS,
    "gpt2": [("transformer.h", 2, (), "n_layer")],
    "gpt-neox": [("gpt_neox.layers", 2, (), "num_hidden_layers")],
    "falcon 7b": [("transformer.h", 2, (), "num_hidden_layers")],
    "falcon 40b": [("transformer.h", 2, (), "num_hidden_layers")],
    "bert": BERT,
    "roberta": BERT,
    **{f"bert {kind}": [("bert.encoder.layer", 2, (), "num_hidden_layers")] for kind in ("masked", "classifier")},
    **{f"roberta {kind}": [("roberta.encoder.layer", 2, (), "num_hidden_layers")] for kind in ("masked", "classifier")},
    "distilbert": [("transformer.layer", 2, (), "n_layers")],
    "t5": T5,
    "t5 gated": T5,
    "vit": [("vit.encoder.layer", 2, (), "num_hidden_layers")],
    "clip": [
        ("text_model.encoder.layers", 3, TEXT, "num_hidden_layers"),
        ("vision_model.encoder.layers", 2, VISION, "num_hidden_layers"),
    ],
    "whisper": [("model.encoder.layers", 2, (), "encoder_layers"), ("model.decoder.layers", 3, (), "decoder_layers")],
    "wav2vec2": [("wav2vec2.encoder.layers", 2, (), "num_hidden_layers")],
    "plain state dict": [],
}

DECODER = {"embedding": ["model.embed_tokens"], "norm": ["model.norm"]}
WITH_HEAD = {**DECODER, "head": ["lm_head"]}
BERT_IN = [f"embeddings.{part}_embeddings" for part in ("word", "position", "token_type")] + ["embeddings.LayerNorm"]


def under(prefix: str, names: list[str]) -> list[str]:
    return [f"{prefix}.{name}" for name in names]


VISUAL = {
    "embedding": ["model.embed_tokens", "visual.patch_embed.proj"],
    "norm": ["model.norm", "visual.merger.ln_q"],
    "head": ["lm_head"],
}
FALCON = {"embedding": ["transformer.word_embeddings"], "norm": ["transformer.ln_f"]}
GEMMA_POOLING = [f"attention.{part}" for part in ("in_proj_weight", "in_proj_bias", "out_proj")]
CLIP_IN = ["class_embedding", "patch_embedding", "position_embedding"]
OUTSIDE: dict[str, dict[str, list[str]]] = {
    **dict.fromkeys(["qwen2", "qwen3", "gemma2", "gemma3 text", "cohere2"], DECODER),
    **dict.fromkeys(["llama", "llama with biases", "mistral", "phi3", "olmo2", "mixtral", "qwen3-moe"], WITH_HEAD),
    **dict.fromkeys(["deepseek-v3", "gpt-oss"], WITH_HEAD),
    "phi": {**WITH_HEAD, "norm": ["model.final_layernorm"]},
    **dict.fromkeys(["qwen2-vl", "qwen2.5-vl"], VISUAL),
    "gpt2": {"embedding": ["transformer.wte", "transformer.wpe"], "norm": ["transformer.ln_f"]},
    "gpt-neox": {"embedding": ["gpt_neox.embed_in"], "norm": ["gpt_neox.final_layer_norm"], "head": ["embed_out"]},
    **dict.fromkeys(["falcon 7b", "falcon 40b"], FALCON),
    "bert": {"embedding": BERT_IN, "head": ["pooler.dense"]},
    "roberta": {"embedding": BERT_IN, "head": ["pooler.dense"]},
    "bert masked": {
        "embedding": under("bert", BERT_IN),
        "head": under("cls.predictions", ["", "transform.dense", "transform.LayerNorm"]),
    },
    "bert classifier": {"embedding": under("bert", BERT_IN), "head": ["bert.pooler.dense", "classifier"]},
    "roberta masked": {
        "embedding": under("roberta", BERT_IN),
        "head": ["lm_head", "lm_head.dense", "lm_head.layer_norm"],
    },
    "roberta classifier": {
        "embedding": under("roberta", BERT_IN),
        "head": ["classifier.dense", "classifier.out_proj"],
    },
    "distilbert": {"embedding": [name for name in BERT_IN if "type" not in name]},
    "t5": {"embedding": ["shared"], "norm": ["encoder.final_layer_norm", "decoder.final_layer_norm"]},
    "t5 gated": {
        "embedding": ["shared"],
        "norm": ["encoder.final_layer_norm", "decoder.final_layer_norm"],
        "head": ["lm_head"],
    },
    "vit": {
        "embedding": under("vit.embeddings", ["cls_token", "position_embeddings", "patch_embeddings.projection"]),
        "norm": ["vit.layernorm"],
        "head": ["classifier"],
    },
    "clip": {
        "embedding": under("text_model.embeddings", ["token_embedding", "position_embedding"])
        + under("vision_model.embeddings", CLIP_IN),
        "norm": ["text_model.final_layer_norm", "vision_model.post_layernorm"],
        "head": ["text_projection", "visual_projection", "logit_scale"],
    },
    "llava": {
        "embedding": ["language_model.model.embed_tokens", *under("vision_tower.embeddings", CLIP_IN)],
        "norm": ["language_model.model.norm", "vision_tower.post_layernorm"],
        "head": ["language_model.lm_head"],
    },
    "modernbert": {
        "embedding": ["model.embeddings.tok_embeddings", "model.embeddings.norm"],
        "norm": ["model.final_norm"],
        "head": ["head.dense", "head.norm"],
    },
    "gemma3": {
        "embedding": [
            "language_model.model.embed_tokens",
            *under("vision_tower.embeddings", ["patch_embedding", "position_embedding"]),
        ],
        "norm": ["language_model.model.norm", "vision_tower.post_layernorm", "multi_modal_projector.mm_soft_emb_norm"],
        "head": under("vision_tower.head", ["probe", "layernorm", "mlp.fc1", "mlp.fc2", *GEMMA_POOLING]),
    },
    "wav2vec2": {
        "embedding": [
            "wav2vec2.masked_spec_embed",
            "wav2vec2.encoder.pos_conv_embed.conv",
            *under("wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight", ["original0", "original1"]),
        ],
        "norm": ["wav2vec2.feature_projection.layer_norm", "wav2vec2.encoder.layer_norm"],
        "head": ["lm_head"],
    },
    "plain state dict": {},
    "whisper": {
        "embedding": ["model.encoder.embed_positions", "model.decoder.embed_positions", "model.decoder.embed_tokens"],
        "norm": ["model.encoder.layer_norm", "model.decoder.layer_norm"],
    },
}
"""Every embedding, head and norm outside the layers, without `.weight` and `.bias`."""
ENTRANCES = {
    "clip": ["vision_model.pre_layrnorm"],
    "llava": ["vision_tower.pre_layrnorm"],
    "whisper": ["model.encoder.conv1", "model.encoder.conv2"],
    "wav2vec2": under("wav2vec2.feature_projection", ["projection", "layer_norm"]),
}
"""What else works before the layers."""


@dataclass(frozen=True)
class Found:
    specs: dict[str, TensorSpec]
    config: dict[str, Any] | None
    anatomy: Anatomy

    def outside(self) -> set[str]:
        return {name for name in self.specs if spot_of(name) is None}


@pytest.fixture(scope="module")
def cellar(tmp_path_factory: pytest.TempPathFactory) -> Cellar:
    return Cellar(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module", params=ZOO)
def studied(request: pytest.FixtureRequest, cellar: Cellar) -> tuple[str, Found]:
    path = cellar.model(request.param, 1)
    config = None if ZOO[request.param] is PLAIN else json.loads((path / "config.json").read_text())
    specs = dict(MemoryReader(request.param, stored(path)).specs)
    return request.param, Found(specs, config, study(specs, config))


def plain(name: str) -> str:
    """A name without the word for the kind of parameter; a head that is nothing but a bias stands under its own."""
    return name.removesuffix(".weight").removesuffix(".bias")


def test_every_architecture_has_an_expectation() -> None:
    assert STACKS.keys() == OUTSIDE.keys() == ZOO.keys()


def test_stacks_and_the_keys_that_count_them(studied: tuple[str, Found]) -> None:
    name, found = studied
    expected = {Stack(prefix, count, section, (key,)) for prefix, count, section, key in STACKS[name]}
    assert set(found.anatomy.stacks) == expected
    for prefix, count, _, _ in STACKS[name]:
        assert found.anatomy.stack(prefix).count == count == found.anatomy.sizes[prefix]
    assert found.anatomy.stack("no.such.stack") is None


def test_other_runs_of_modules_are_known_and_are_no_stacks(studied: tuple[str, Found]) -> None:
    name, found = studied
    others = found.anatomy.sizes.keys() - {s.prefix for s in found.anatomy.stacks}
    assert others == ({"wav2vec2.feature_extractor.conv_layers"} if name == "wav2vec2" else set())


def test_embeddings_heads_and_norms_outside_the_layers(studied: tuple[str, Found]) -> None:
    name, found = studied
    roles: dict[str, set[str]] = {}
    for tensor in found.outside():
        roles.setdefault(role_of(tensor), set()).add(plain(tensor))
    roles.pop("other", None)
    assert roles == {role: {n.removesuffix(".") for n in names} for role, names in OUTSIDE[name].items()}


def test_what_stands_before_the_layers(studied: tuple[str, Found]) -> None:
    name, found = studied
    before = {plain(tensor) for tensor in found.outside() if is_before_layers(tensor)}
    assert before == {*OUTSIDE[name].get("embedding", []), *ENTRANCES.get(name, [])}


def test_everything_inside_the_stacks_is_a_layer(studied: tuple[str, Found]) -> None:
    _, found = studied
    assert all(role_of(name) == "layer" for name in found.specs.keys() - found.outside())


@pytest.mark.parametrize("name", ["gpt2", "bert masked", "qwen2", "roberta masked", "whisper", "t5"])
def test_stored_copies_of_tied_heads_are_known(name: str, cellar: Cellar) -> None:
    """Older tools stored a tied head as well; it is named with the embedding that transformers ties it to."""
    path = cellar.model(name, 1)
    tensors, entry = stored(path), ZOO[name]
    heads = {a: b for a, b in ties_of(entry.build(1)).items() if b in tensors and role_of(a) == "head"}
    heads = {a: b for a, b in heads.items() if tensors[b].dim() == 2}
    config = json.loads((path / "config.json").read_text())
    specs = MemoryReader(name, tensors | {a: tensors[b] for a, b in heads.items()}).specs
    assert heads
    assert dict(study(specs, config).tied) == heads
    assert study(specs, {**config, "tie_word_embeddings": False}).tied == {}
