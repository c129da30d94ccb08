"""Models of several sections and heads: what the configuration says where one part is put together anew."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from cuvee.families import study
from cuvee.types import TensorSpec
from tests.support.plans import Data, entry, named, plan_of, recipe, sources, stack, stacked, tensors

Config = dict[str, Any]
COUNT = "num_hidden_layers"
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TIED, UNTIED = ({COUNT: 2, "tie_word_embeddings": tied} for tied in (True, False))
COMPOSED: dict[str, Data] = {
    "slices": stacked(("a", 0, 1), ("b", 1, 2)),
    "modules": {
        "merge_method": "linear",
        "modules": {"visual": {"models": [entry("a", weight=1)]}, "rest": {"models": [entry("b", weight=1)]}},
    },
}


def linear(*models: str) -> Data:
    return recipe("linear", *(entry(m, weight=1) for m in models))


def counted(config: Config, **counts: int) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """For every stack, the section of the configuration and its keys; `__` stands for a dot."""
    names = [f"{prefix.replace('__', '.')}.{i}.w" for prefix, n in counts.items() for i in range(n)]
    specs = {name: TensorSpec(name, "float32", (2,)) for name in names}
    return {s.prefix: (s.section, s.keys) for s in study(specs, config).stacks}


def one_stacked(part: str, model: dict[str, Tensor], config: Config, other: str = "rest") -> Config:
    """What changes in the configuration when one part of a model gets a third layer and the other none."""
    cut = {"slices": stacked(("a", 0, 1), ("a", 0, 2))["slices"]}
    data = {"merge_method": "passthrough", "modules": {part: cut, other: {"models": [{"model": "a"}]}}}
    return dict(plan_of(data, {"a": model}, {"a": config}).config_changes)


# --- whose number of layers


@pytest.mark.parametrize(
    ("config", "counts", "key"),
    [
        (
            {"text_config": {COUNT: 3}, "vision_config": {COUNT: 4}},
            {"language_model__model__decoder__layers": 3, "vision_model__encoder__layers": 4},
            (("text_config",), (COUNT,)),
        ),
        (
            {"encoder": {COUNT: 3}, "decoder": {"n_layer": 2}},
            {"encoder__encoder__layer": 3, "decoder__transformer__h": 2},
            (("decoder",), ("n_layer",)),
        ),
        (
            {"encoder": {COUNT: 3}, "decoder": {COUNT: 2}},
            {"encoder__encoder__layer": 3, "decoder__bert__encoder__layer": 2},
            (("decoder",), (COUNT,)),
        ),
    ],
    ids=["BLIP-2 with OPT", "ViT and GPT-2", "two BERTs"],
)
def test_a_decoder_with_a_section_of_its_own_keeps_its_key(config: Config, counts: dict[str, int], key: object) -> None:
    (found,) = [where for prefix, where in counted(config, **counts).items() if "decoder" in prefix]
    assert found == key


def test_two_berts_of_equal_depth_are_told_apart() -> None:
    found = counted(
        {"encoder": {COUNT: 2}, "decoder": {COUNT: 2}}, encoder__encoder__layer=2, decoder__bert__encoder__layer=2
    )
    assert {prefix: section for prefix, (section, _) in found.items()} == {
        "encoder.encoder.layer": ("encoder",),
        "decoder.bert.encoder.layer": ("decoder",),
    }


def test_both_sections_that_list_the_layers_are_changed() -> None:
    """Qwen2.5-VL as some versions of transformers wrote it, flat and nested."""
    inner = {COUNT: 2, "layer_types": ["x", "y"]}
    config = {**inner, "text_config": inner, "vision_config": {"depth": 2}}
    after = {COUNT: 3, "layer_types": ["x", "x", "y"]}
    found = one_stacked("rest", stack(2) | stack(2, "visual.blocks"), config, other="visual")
    assert found == {**after, **{f"text_config.{key}": value for key, value in after.items()}}


def test_another_part_of_the_same_depth_keeps_its_number() -> None:
    """InstructBLIP: a language model, and a Q-Former as deep."""
    model = stack(2, "language_model.model.layers") | stack(2, "qformer.encoder.layer")
    config = {f"{part}_config": {COUNT: 2} for part in ("qformer", "text")}
    assert one_stacked("language_model", model, config) == {f"text_config.{COUNT}": 3}


def test_a_tower_as_deep_as_a_flat_text_model_keeps_its_number() -> None:
    """IDEFICS 9B: 32 layers at the top for the text, and 32 in the vision section."""
    model = stack(2) | stack(2, "vision_model.encoder.layers")
    config = {COUNT: 2, "vision_config": {COUNT: 2}}
    assert one_stacked("rest", model, config, other="vision_model") == {COUNT: 3}


# --- whose head


@pytest.mark.parametrize("data", COMPOSED.values(), ids=COMPOSED)
def test_a_stored_copy_in_the_first_model_does_not_keep_the_tie(data: Data) -> None:
    """Loaded as tied, the output would have the first model's embedding for a head."""
    model = stack(2) | tensors("visual.w") | {EMBED: torch.ones(4, 2)}
    models = {"a": {**model, HEAD: torch.ones(4, 2)}, "b": {**model, HEAD: torch.zeros(4, 2)}}
    plan = plan_of(data, models, {"a": TIED, "b": UNTIED})
    assert HEAD in named(plan)
    assert json.loads(plan.config_text)["tie_word_embeddings"] is False


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_stored_copy_meets_the_head_of_an_untied_model(order: str) -> None:
    """The merged head is no copy any more, whoever gives the configuration."""
    model = stack(2) | {EMBED: torch.ones(4, 2)}
    models = {"a": {**model, HEAD: torch.ones(4, 2)}, "b": {**model, HEAD: torch.zeros(4, 2)}}
    plan = plan_of(linear(*order), models, {"a": TIED, "b": UNTIED})
    assert sources(plan)[HEAD] == [(m, HEAD) for m in order]
    assert json.loads(plan.config_text)["tie_word_embeddings"] is False
