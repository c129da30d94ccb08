"""What a tensor is, read off its name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.families import Spot, is_before_layers, is_optional, is_vocabulary, natural_key, role_of, spot_of
from cuvee.families.names import stack_sizes

SPOTS = {
    "model.layers.3.mlp.experts.0.w1.weight": ("model.layers", 3, "mlp.experts.0.w1.weight"),
    "0": ("", 0, ""),
    "0.weight": ("", 0, "weight"),
    "12.3.bias": ("", 12, "3.bias"),
    "layers.7": ("layers", 7, ""),
    "encoder.block.0.layer.1.DenseReluDense.wi.weight": ("encoder.block", 0, "layer.1.DenseReluDense.wi.weight"),
    "h.100.attn.c_attn.weight": ("h", 100, "attn.c_attn.weight"),
}
NO_SPOT = [
    "",
    "weight",
    "block1.conv2.weight",
    "layer1.bn2.bias",
    "a.1b.c",
    "a.-1.b",
    "a.1_0.b",
    "a.².b",
    "a.٣.b",
    "x.",
]

ROLES = {
    "embedding": [
        "model.embed_tokens.weight",
        "transformer.wte.weight",
        "wpe.weight",
        "shared.weight",
        "bert.embeddings.LayerNorm.weight",
        "gpt_neox.embed_in.weight",
        "vit.embeddings.cls_token",
        "model.decoder.embed_positions.weight",
        "visual.patch_embed.proj.weight",
        "wav2vec2.masked_spec_embed",
    ],
    "head": [
        "lm_head.weight",
        "lm_head.bias",
        "embed_out.weight",
        "score.weight",
        "classifier.out_proj.weight",
        "cls.predictions.decoder.weight",
        "qa_outputs.bias",
        "bert.pooler.dense.weight",
        "fc.weight",
        "logit_scale",
        "text_projection.weight",
        "vocab_projector.bias",
    ],
    "norm": [
        "model.norm.weight",
        "transformer.ln_f.bias",
        "model.final_layernorm.weight",
        "gpt_neox.final_layer_norm.bias",
        "model.final_norm.weight",
        "vit.layernorm.weight",
        "backbone.norm_f.weight",
        "visual.merger.ln_q.weight",
    ],
    "layer": ["model.layers.0.input_layernorm.weight", "0.weight", "classifier.2.weight"],
    "other": ["multi_modal_projector.linear_1.weight", "block1.conv2.weight", "planet.weight", "w", "overhead.weight"],
}
BEFORE = [
    *ROLES["embedding"],
    "model.encoder.conv1.weight",
    "vision_model.pre_layrnorm.weight",
    "wav2vec2.feature_projection.projection.weight",
    "wav2vec2.feature_extractor.conv_layers.0.conv.weight",
    "model.decoder.project_in.weight",
    "stem.weight",
]
AFTER = [*ROLES["head"], *ROLES["norm"], "model.decoder.project_out.weight", "multi_modal_projector.linear_1.weight"]

PARTS = st.lists(st.sampled_from(["model", "layers", "0", "1", "17", "b1", "weight"]), min_size=1, max_size=6)


# --- spots


@pytest.mark.parametrize(("name", "spot"), SPOTS.items())
def test_the_first_number_of_a_name_is_its_layer(name: str, spot: tuple[str, int, str]) -> None:
    assert spot_of(name) == Spot(*spot)


@pytest.mark.parametrize("name", NO_SPOT)
def test_a_name_without_a_number_of_its_own_has_no_layer(name: str) -> None:
    assert spot_of(name) is None


@settings(deadline=None)
@given(PARTS, st.integers(0, 99))
def test_a_tensor_moves_to_another_layer_and_back(parts: list[str], index: int) -> None:
    name = ".".join(parts)
    spot = spot_of(name)
    if spot is None:
        assert not any(part.isdigit() for part in parts)
        return
    moved = spot_of(spot.moved(index))
    assert moved == Spot(spot.prefix, index, spot.rest)
    assert moved.moved(spot.index) == name


def test_only_the_layers_own_number_is_changed() -> None:
    spot = spot_of("model.layers.3.mlp.experts.3.w1.weight")
    assert spot is not None
    assert spot.moved(10) == "model.layers.10.mlp.experts.3.w1.weight"


@pytest.mark.parametrize("function", [spot_of, natural_key])
def test_a_name_of_thousands_of_digits_is_a_name(function: object) -> None:
    function("layers." + "1" * 5000)  # type: ignore[operator]


def test_a_number_with_leading_zeros_is_found_again() -> None:
    spot = spot_of("h.01.w")
    assert spot is None or spot.moved(spot.index) == "h.01.w"


# --- runs of layers


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        ([], {}),
        (["w", "a.b"], {}),
        (["a.0.w", "a.1.w", "a.2.w"], {"a": 3}),
        (["a.2.w", "a.0.w", "a.1.w", "a.1.b"], {"a": 3}),
        (["a.0.w", "a.2.w"], {}),
        (["a.1.w", "a.2.w"], {}),
        (["0.weight", "1.weight"], {"": 2}),
        (["0.weight", "2.weight"], {}),
        (["a.0.experts.0.w", "a.0.experts.1.w", "a.0.experts.2.w"], {"a": 1}),
        (["a.0.w", "b.0.w", "b.1.w"], {"a": 1, "b": 2}),
    ],
)
def test_a_run_of_layers_has_no_gap(names: list[str], sizes: dict[str, int]) -> None:
    assert stack_sizes(names) == sizes


# --- roles


@pytest.mark.parametrize(("role", "name"), [(role, name) for role, names in ROLES.items() for name in names])
def test_the_role_of_a_tensor(role: str, name: str) -> None:
    assert role_of(name) == role


@pytest.mark.parametrize("name", BEFORE)
def test_what_works_before_the_layers(name: str) -> None:
    assert is_before_layers(name)


@pytest.mark.parametrize("name", AFTER)
def test_what_works_after_the_layers(name: str) -> None:
    assert not is_before_layers(name)


@pytest.mark.parametrize(
    ("name", "optional"),
    [
        ("model.layers.0.self_attn.rotary_emb.inv_freq", True),
        ("bert.embeddings.position_ids", True),
        ("embeddings.token_type_ids", True),
        ("bn1.num_batches_tracked", True),
        ("gpt_neox.layers.0.attention.masked_bias", True),
        ("transformer.h.0.attn.masked_bias", True),
        ("bn1.running_mean", False),
        ("h.0.attn.bias", False),
        ("bert.embeddings.position_embeddings.weight", False),
        ("model.layers.0.self_attn.q_proj.weight", False),
        ("position_ids.weight", False),
    ],
)
def test_derived_buffers_are_optional(name: str, optional: bool) -> None:
    assert is_optional(name) == optional


# --- words


@pytest.mark.parametrize("prefix", ["", "model.", "composer.", "runtime.", "prototype.encoder."])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("embed_tokens.weight", True),
        ("word_embeddings.weight", True),
        ("lm_head.weight", True),
        ("embed_positions.weight", False),
        ("position_embeddings.weight", False),
        ("token_type_embeddings.weight", False),
        ("wpe.weight", False),
        ("patch_embedding.weight", False),
        ("embeddings.LayerNorm.weight", False),
        ("cls_token", False),
    ],
)
def test_what_has_a_row_per_token_whatever_it_lies_in(prefix: str, name: str, words: bool) -> None:
    assert is_vocabulary(prefix + name) is words


# --- order


def test_layers_are_sorted_as_one_counts() -> None:
    names = ["h.10.w", "h.9.w", "h.2.w", "embed", "h.2.b", "h.0.experts.11", "h.0.experts.2", "10", "9"]
    assert sorted(names, key=natural_key) == [
        *("9", "10", "embed", "h.0.experts.2", "h.0.experts.11"),
        *("h.2.b", "h.2.w", "h.9.w", "h.10.w"),
    ]


@settings(deadline=None)
@given(st.lists(PARTS.map(".".join), unique=True))
def test_different_names_have_different_keys(names: list[str]) -> None:
    assert len({natural_key(name) for name in names}) == len(names)
