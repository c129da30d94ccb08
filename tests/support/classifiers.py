"""Tiny classifiers of transformers of every modality, random from seeds, with what makes their inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import transformers

from tests.support import zoo_configs as configs
from tests.support.calibration import LLAMA, SMALL, TEXTS, make_tokenizer
from tests.support.zoo import seeded

NAMES = {0: "dry", 1: "sweet", 2: "corked"}
NAMED = {"id2label": NAMES, "label2id": {name: number for number, name in NAMES.items()}}
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
LONG = (*TEXTS, "oak", "wine of the north " * 20)
"""Texts of many lengths, the last beyond what the models have positions for."""


def bert(seed: int = 0, **settings: Any) -> Any:
    """A classifier of texts."""
    config = transformers.BertConfig(**SMALL, **({**NAMED} if "num_labels" not in settings else {}), **settings)
    return seeded(lambda: transformers.BertForSequenceClassification(config), seed)


def llama(**settings: Any) -> Any:
    """A decoder as a classifier of texts, which looks for the end of a text."""
    config = transformers.LlamaConfig(**{**LLAMA, **NAMED, **settings})
    return seeded(lambda: transformers.LlamaForSequenceClassification(config), 0)


def tagger() -> Any:
    """A classifier of words."""
    config = transformers.BertConfig(**SMALL, **NAMED)
    return seeded(lambda: transformers.BertForTokenClassification(config), 0)


def vit() -> tuple[Any, Any]:
    """A classifier of pictures and its processor."""
    config = transformers.ViTConfig(**{**configs.vit(1), **NAMED})
    model = seeded(lambda: transformers.ViTForImageClassification(config), 0)
    return model, transformers.ViTImageProcessor(size={"height": 16, "width": 16})


def wav2vec2(norm: str = "group") -> tuple[Any, Any]:
    """A classifier of sounds as samples; with `group` norms it is one that padding changes, mask or not."""
    settings = {**configs.wav2vec2(1), **NAMED, "feat_extract_norm": norm, "classifier_proj_size": 8}
    model = seeded(lambda: transformers.Wav2Vec2ForSequenceClassification(transformers.Wav2Vec2Config(**settings)), 0)
    return model, transformers.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer")


def ast() -> tuple[Any, Any]:
    """A classifier of sounds as spectra."""
    shape = {"num_mel_bins": 16, "max_length": 32, "patch_size": 8, "frequency_stride": 8, "time_stride": 8}
    model = seeded(lambda: transformers.ASTForAudioClassification(transformers.ASTConfig(**SIZES, **shape, **NAMED)), 0)
    return model, transformers.ASTFeatureExtractor(num_mel_bins=16, max_length=32)


def tokenizer() -> Any:
    """The tokenizer of all of them."""
    return make_tokenizer()


def pictures(n: int) -> list[Any]:
    """Pictures of several sizes."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (int(h), int(w), 3), dtype=np.uint8) for h, w in rng.integers(10, 30, (n, 2))]


def sounds(*lengths: int) -> list[Any]:
    """Noise of some lengths."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=length).astype(np.float32) for length in lengths]
