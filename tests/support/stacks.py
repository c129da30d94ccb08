"""Stacks of layers built by hand, to compare stored ones with.

A stack by hand is a model built from a configuration changed through transformers' own attributes, and filled with
the modules of the source models; nothing of it goes through a file.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tests.support.zoo import ZOO, Cellar, Entry

Cut = tuple[str, int, int]
"""A run of layers: `a` or `b`, first layer, and the one after the last."""

PREFIX = {
    "llama": "model.layers",
    "llama with biases": "model.layers",
    "mistral": "model.layers",
    "qwen2": "model.layers",
    "qwen3": "model.layers",
    "gemma2": "model.layers",
    "gemma3 text": "model.layers",
    "cohere2": "model.layers",
    "olmo2": "model.layers",
    "phi": "model.layers",
    "phi3": "model.layers",
    "gpt2": "transformer.h",
    "gpt-neox": "gpt_neox.layers",
    "falcon 7b": "transformer.h",
    "falcon 40b": "transformer.h",
    "modernbert": "model.layers",
    "bert": "encoder.layer",
    "bert masked": "bert.encoder.layer",
    "bert classifier": "bert.encoder.layer",
    "roberta masked": "roberta.encoder.layer",
    "distilbert": "transformer.layer",
    "vit": "vit.layers",
    "mixtral": "model.layers",
    "qwen3-moe": "model.layers",
    "gpt-oss": "model.layers",
    "deepseek-v3": "model.layers",
}
"""Where the layers stand in the model in memory."""

STORED_PREFIX = {**PREFIX, "vit": "vit.encoder.layer"}
LAYERS = 4
FIRST = re.compile(r"embed(?!_out)|wte|wpe")
"""Tensors of the input side; they come from the first slice's model, all others outside the layers from the last's."""


@dataclass(frozen=True)
class Pair:
    """Two stored models of one architecture to cut layers from."""

    entry: Entry
    paths: dict[str, Path]

    @property
    def models(self) -> dict[str, Any]:
        """The models, loaded."""
        return {key: self.entry.load(path)[0] for key, path in self.paths.items()}


def pair(name: str, cellar: Cellar) -> Pair:
    """Two four-layer models of the zoo."""
    return Pair(ZOO[name], {"a": cellar.model(name, 1, LAYERS), "b": cellar.model(name, 2, LAYERS)})


def recipe(paths: dict[str, Path], cuts: Sequence[Cut]) -> dict[str, Any]:
    """A passthrough recipe of slices."""
    slices = [{"sources": [{"model": str(paths[m]), "layer_range": [start, stop]}]} for m, start, stop in cuts]
    return {"merge_method": "passthrough", "slices": slices}


def picked(cuts: Sequence[Cut]) -> list[tuple[str, int]]:
    """For each layer of the stack, the model and the layer it comes from."""
    return [(model, layer) for model, start, stop in cuts for layer in range(start, stop)]


def stacked_config(models: dict[str, Any], cuts: Sequence[Cut]) -> Any:
    """The first model's configuration with the number of layers, and what is said of each of them, of the stack."""
    config, sources = copy.deepcopy(models[cuts[0][0]].config), picked(cuts)
    config.num_hidden_layers = len(sources)
    if getattr(config, "layer_types", None):
        config.layer_types = [models[m].config.layer_types[i] for m, i in sources]
    if config.model_type == "deepseek_v3":
        config.first_k_dense_replace = sum(i < models[m].config.first_k_dense_replace for m, i in sources)
    if config.model_type == "qwen3_moe":
        config.decoder_sparse_step = 1
        config.mlp_only_layers = [n for n, (m, i) in enumerate(sources) if is_dense(models[m].config, i)]
    return config


def is_dense(config: Any, layer: int) -> bool:
    """Whether a layer of a Qwen3-MoE has one feed-forward block instead of experts."""
    return layer in config.mlp_only_layers or (layer + 1) % config.decoder_sparse_step != 0


def stack_of(values: dict[str, dict[str, Any]], prefix: str, cuts: Sequence[Cut]) -> dict[str, Any]:
    """Named values of a stack: layers renumbered, the input side from the first model, the rest from the last."""
    layer = re.compile(rf"{re.escape(prefix)}\.(\d+)\.(.*)")
    first, last = values[cuts[0][0]], values[cuts[-1][0]]
    outside = {k: v for k, v in first.items() if not layer.match(k) and FIRST.search(k)}
    outside |= {k: v for k, v in last.items() if not layer.match(k) and not FIRST.search(k)}
    for number, (model, source) in enumerate(picked(cuts)):
        mine = {k: m[2] for k in values[model] if (m := layer.match(k)) and int(m[1]) == source}
        outside |= {f"{prefix}.{number}.{rest}": values[model][k] for k, rest in mine.items()}
    return outside


def stack_by_hand(name: str, models: dict[str, Any], cuts: Sequence[Cut]) -> nn.Module:
    """The stack as a model in memory."""
    config = stacked_config(models, cuts)
    model = type(models[cuts[0][0]])(config).eval()
    tied = set(model.all_tied_weights_keys)
    own = {key: {k: v for k, v in m.state_dict().items() if k not in tied} for key, m in models.items()}
    missing, unexpected = model.load_state_dict(stack_of(own, PREFIX[name], cuts), strict=False)
    assert set(missing) <= tied
    assert not unexpected
    return model
