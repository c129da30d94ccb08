"""Stacks, ties and sections: which number of the configuration counts which run of layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from cuvee.families import Stack, input_embeddings, said_tied, sections, study
from cuvee.families.anatomy import stored_heads
from cuvee.types import TensorSpec

Config = dict[str, Any]
VLM: Config = {"text_config": {"num_hidden_layers": 4}, "vision_config": {"num_hidden_layers": 4}}


def specs(*names: str, shape: tuple[int, ...] = (2,)) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, "float32", shape) for name in names}


def runs(**counts: int) -> dict[str, TensorSpec]:
    """Layers under prefixes; `__` stands for a dot."""
    return specs(*(f"{prefix.replace('__', '.')}.{i}.w" for prefix, n in counts.items() for i in range(n)))


def counted(
    tensors: dict[str, TensorSpec], config: Config | None
) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """For every stack, the section of the configuration and its keys."""
    return {s.prefix: (s.section, s.keys) for s in study(tensors, config).stacks}


# --- which key counts which run


@pytest.mark.parametrize(
    "key", ["num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers", "depth"]
)
def test_a_run_is_counted_under_any_usual_key(key: str) -> None:
    (stack,) = study(runs(model__layers=3), {key: 3, "other": 3}).stacks
    assert stack == Stack("model.layers", 3, (), (key,))


def test_all_equal_keys_of_a_section_are_kept_up() -> None:
    (stack,) = study(runs(h=3), {"n_layer": 3, "num_hidden_layers": 3}).stacks
    assert set(stack.keys) == {"n_layer", "num_hidden_layers"}


def test_a_run_of_another_length_is_no_stack() -> None:
    anatomy = study(runs(model__layers=3, blocks=5), {"num_hidden_layers": 3})
    assert [s.prefix for s in anatomy.stacks] == ["model.layers"]
    assert anatomy.sizes == {"model.layers": 3, "blocks": 5}


def test_encoder_and_decoder_of_equal_length_have_their_own_keys() -> None:
    t5 = runs(encoder__block=4, decoder__block=4)
    assert counted(t5, {"num_layers": 4, "num_decoder_layers": 4}) == {
        "encoder.block": ((), ("num_layers",)),
        "decoder.block": ((), ("num_decoder_layers",)),
    }
    whisper = runs(model__encoder__layers=4, model__decoder__layers=4)
    found = counted(whisper, {"decoder_layers": 4, "encoder_layers": 4})
    assert found == {
        "model.encoder.layers": ((), ("encoder_layers",)),
        "model.decoder.layers": ((), ("decoder_layers",)),
    }


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("text", "vision"),
    [
        ("model.layers", "visual.blocks"),
        ("model.language_model.layers", "model.visual.blocks"),
        ("language_model.model.layers", "vision_tower.vision_model.encoder.layers"),
        ("model.text_model.layers", "model.vision_model.encoder.layers"),
        ("text_model.encoder.layers", "vision_model.encoder.layers"),
    ],
)
def test_a_vision_tower_as_deep_as_the_text_model_is_told_apart(text: str, vision: str, reverse: bool) -> None:
    tensors = specs(*(f"{prefix}.{i}.w" for prefix in (text, vision) for i in range(4)))
    config = dict(reversed(VLM.items())) if reverse else VLM
    expected = {text: (("text_config",), ("num_hidden_layers",)), vision: (("vision_config",), ("num_hidden_layers",))}
    assert counted(tensors, config) == expected


def test_a_flat_text_configuration_beside_a_vision_section() -> None:
    """Qwen2-VL as it was first published."""
    found = counted(runs(model__layers=4, visual__blocks=4), {"num_hidden_layers": 4, "vision_config": {"depth": 4}})
    assert found == {"model.layers": ((), ("num_hidden_layers",)), "visual.blocks": (("vision_config",), ("depth",))}


def test_an_audio_tower_has_its_own_section() -> None:
    config = {"audio_config": {"encoder_layers": 4}, "text_config": {"num_hidden_layers": 4}}
    assert counted(runs(audio_tower__layers=4, language_model__model__layers=4), config) == {
        "audio_tower.layers": (("audio_config",), ("encoder_layers",)),
        "language_model.model.layers": (("text_config",), ("num_hidden_layers",)),
    }


def test_experts_as_many_as_layers_are_no_layers() -> None:
    tensors = specs(*(f"model.layers.{i}.mlp.experts.{e}.w1" for i in range(4) for e in range(4)))
    tensors |= specs(*(f"shared.experts.{e}.w" for e in range(4)))
    assert counted(tensors, {"num_hidden_layers": 4, "num_local_experts": 4}).keys() == {"model.layers"}


def test_convolutions_as_many_as_layers_are_no_layers() -> None:
    tensors = runs(wav2vec2__encoder__layers=7, wav2vec2__feature_extractor__conv_layers=7)
    assert counted(tensors, {"num_hidden_layers": 7}).keys() == {"wav2vec2.encoder.layers"}


def test_a_model_of_one_layer_has_a_stack_of_one() -> None:
    assert study(runs(model__layers=1), {"num_hidden_layers": 1}).stacks[0].count == 1


@pytest.mark.parametrize(
    "prefix",
    [
        "vision_model.encoder.layers",
        "audio_spectrogram_transformer.encoder.layer",
        "data2vec_vision.encoder.layer",
        "data2vec_audio.encoder.layers",
        "speecht5.encoder.wrapped_encoder.layers",
        "visual_bert.encoder.layer",
    ],
)
def test_a_tower_on_its_own_has_a_flat_configuration(prefix: str) -> None:
    """CLIPVisionModel, AST, Data2Vec, SpeechT5, VisualBERT: one stack, counted at the top."""
    assert counted(specs(*(f"{prefix}.{i}.w" for i in range(3))), {"num_hidden_layers": 3}).keys() == {prefix}


# --- multi-token prediction


def test_layers_beyond_the_counted_ones_are_extra() -> None:
    (stack,) = study(runs(model__layers=5), {"num_hidden_layers": 4, "num_nextn_predict_layers": 1}).stacks
    assert (stack.count, stack.extra) == (5, 1)


def test_announced_extra_layers_that_are_not_stored_are_none() -> None:
    (stack,) = study(runs(model__layers=4), {"num_hidden_layers": 4, "num_nextn_predict_layers": 1}).stacks
    assert (stack.count, stack.extra) == (4, 0)


def test_more_layers_than_announced_make_no_stack() -> None:
    assert study(runs(model__layers=6), {"num_hidden_layers": 4, "num_nextn_predict_layers": 1}).stacks == ()


@pytest.mark.parametrize("value", [None, 0, False])
def test_no_extra_layers_may_be_said_in_any_way(value: object) -> None:
    (stack,) = study(runs(model__layers=4), {"num_hidden_layers": 4, "num_nextn_predict_layers": value}).stacks
    assert stack.extra == 0


# --- configurations that mean no good


@pytest.mark.parametrize("count", ["3", True, -3, 0, 3.5, None, [3], {"n": 3}, 10**30])
def test_a_count_that_is_no_number_of_layers_counts_nothing(count: object) -> None:
    assert study(runs(model__layers=3), {"num_hidden_layers": count}).stacks == ()


def test_a_count_of_true_is_not_one_layer() -> None:
    assert study(runs(model__layers=1), {"num_hidden_layers": True}).stacks == ()


def test_sections_are_followed_to_a_limited_depth() -> None:
    config: Config = {}
    for _ in range(100_000):
        config = {"text_config": config, "num_hidden_layers": 3}
    found = list(sections(config))
    assert len(found) == 5
    assert found[0] == ((), config)
    assert study(runs(model__layers=3), config).stacks[0].section == ()


@pytest.mark.parametrize("value", ["1", [1], {"n": 1}])
def test_extra_layers_that_are_no_number_are_none(value: object) -> None:
    (stack,) = study(runs(model__layers=3), {"num_hidden_layers": 3, "num_nextn_predict_layers": value}).stacks
    assert stack.extra == 0


def test_there_are_never_fewer_than_no_extra_layers() -> None:
    stacks = study(runs(model__layers=2), {"num_hidden_layers": 3, "num_nextn_predict_layers": -1}).stacks
    assert all(stack.extra >= 0 for stack in stacks)


# --- no configuration


def test_without_a_configuration_the_longest_run_is_the_stack() -> None:
    assert study(runs(h=5, heads=2), None).stacks == (Stack("h", 5),)


@pytest.mark.parametrize("tensors", [runs(a=4, b=4), runs(a=1), {}, specs("block1.conv2.weight", "fc.weight")])
def test_without_a_configuration_nothing_is_guessed(tensors: dict[str, TensorSpec]) -> None:
    assert study(tensors, None).stacks == ()


def test_a_configuration_that_counts_nothing_is_believed() -> None:
    assert study(runs(h=5), {"model_type": "x"}).stacks == ()


def test_a_sequential_of_linear_layers_is_a_run_under_no_prefix() -> None:
    assert study(specs("0.weight", "0.bias", "1.weight"), None).stacks == (Stack("", 2),)
    assert study(specs("0.weight", "2.weight"), None).sizes == {}


# --- ties


def matrices(*names: str, shape: Iterable[int] = (9, 4)) -> dict[str, TensorSpec]:
    return specs(*names, shape=tuple(shape))


def test_a_stored_head_is_tied_where_the_configuration_says_so() -> None:
    tensors = matrices("model.embed_tokens.weight", "lm_head.weight") | specs("lm_head.bias", shape=(9,))
    assert study(tensors, {"tie_word_embeddings": True}).tied == {"lm_head.weight": "model.embed_tokens.weight"}
    assert study(tensors, {"tie_word_embeddings": False}).tied == {}
    assert study(tensors, {}).tied == {}


def test_a_head_of_another_shape_is_not_tied() -> None:
    tensors = matrices("wte.weight") | matrices("score.weight", shape=(2, 4))
    assert stored_heads(tensors) == {}


@pytest.mark.parametrize(
    "name", ["pooler.weight", "bert.pooler.dense.weight", "cls.predictions.transform.dense.weight"]
)
def test_what_is_as_large_as_an_embedding_is_not_thereby_tied_to_it(name: str) -> None:
    """A model with as many words as dimensions."""
    assert stored_heads(matrices("embeddings.word_embeddings.weight", name, shape=(32, 32))) == {}


def test_the_way_from_an_embedding_into_the_layers_is_no_embedding() -> None:
    tensors = matrices("albert.encoder.embedding_hidden_mapping_in.weight", shape=(32, 32))
    assert input_embeddings(tensors) == {}


@pytest.mark.parametrize(
    ("config", "tied"),
    [
        ({}, None),
        ({"tie_word_embeddings": True}, True),
        ({"tie_word_embeddings": False}, False),
        ({"text_config": {"tie_word_embeddings": True}}, True),
        ({"text_config": {"tie_word_embeddings": False}}, False),
        ({"tie_word_embeddings": False, "text_config": {"tie_word_embeddings": True}}, False),
        ({"text_config": {"tie_word_embeddings": True}, "tie_word_embeddings": False}, False),
    ],
)
def test_the_outermost_word_on_tying_holds(config: Config, tied: bool | None) -> None:
    assert said_tied(config) is tied


@pytest.mark.parametrize("other", ["vision_config", "audio_config"])
def test_other_parts_than_the_text_model_have_no_word_on_tying(other: str) -> None:
    assert said_tied({other: {"tie_word_embeddings": True}, "text_config": {"tie_word_embeddings": False}}) is False
    assert said_tied({other: {"tie_word_embeddings": True}}) is None


def test_embeddings_are_known_by_shape_and_positions_are_none() -> None:
    tensors = matrices("embeddings.position_embeddings.weight", "embeddings.word_embeddings.weight", shape=(9, 4))
    tensors |= matrices("embeddings.token_type_embeddings.weight", shape=(2, 4)) | specs("embeddings.LayerNorm.weight")
    assert input_embeddings(tensors) == {(9, 4): "embeddings.word_embeddings.weight"}


def test_positions_of_a_byte_level_gpt2_are_no_word_embeddings() -> None:
    """256 bytes and a context of 256: both tables have one shape."""
    tensors = matrices("transformer.wpe.weight", "transformer.wte.weight", "lm_head.weight", shape=(256, 64))
    assert input_embeddings(tensors) == {(256, 64): "transformer.wte.weight"}


def test_every_key_that_counts_the_layers_is_known() -> None:
    """xLSTM says it twice."""
    (stack,) = study(
        specs(*(f"backbone.blocks.{i}.w" for i in range(4))), {"num_blocks": 4, "num_hidden_layers": 4}
    ).stacks
    assert set(stack.keys) == {"num_blocks", "num_hidden_layers"}
