"""The per-layer facts of a configuration follow the layers, or the stack is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.layers import Changes, SourceLayer, may_differ_by_position, restack

Section = Mapping[str, Any]
TYPES = ["full", "sliding", "linear"]


def layers(section: Section, count: int, picked: Sequence[int], model: str = "a") -> list[SourceLayer]:
    return [SourceLayer(model, section, layer, count) for layer in picked]


def stacked(section: Section, count: int, picked: Sequence[int]) -> Changes:
    """A restack of the layers of one model."""
    section = {"n": count, **section}
    return restack(section, count, ["n"], layers(section, count, picked))


def values(section: Section, count: int, picked: Sequence[int]) -> Mapping[str, Any]:
    """What changes besides the number of layers, which must be right."""
    found = stacked(section, count, picked)
    assert found.faults == ()
    assert found.values.get("n", count) == len(picked)
    return {key: value for key, value in found.values.items() if key != "n"}


def refusal(section: Section, count: int, picked: Sequence[int]) -> str:
    """The message of the one fault there is."""
    (fault,) = stacked(section, count, picked).faults
    assert fault.code == "layers-unrepresentable"
    assert fault.hint
    assert fault.subject in section
    return fault.message


def mixed(a: Section, b: Section, picked: Sequence[tuple[str, int]], counts: tuple[int, int] = (4, 4)) -> Changes:
    """A restack of the layers of two models, on the configuration of the first."""
    count = dict(zip("ab", counts, strict=True))
    sections = {"a": {"n": counts[0], **a}, "b": {"n": counts[1], **b}}
    sources = [SourceLayer(model, sections[model], layer, count[model]) for model, layer in picked]
    return restack(sections["a"], counts[0], ["n"], sources)


# --- how many layers


def test_every_key_that_counts_the_layers_is_set() -> None:
    section = {"n_layer": 3, "num_hidden_layers": 3, "num_heads": 3}
    found = restack(section, 3, ["n_layer", "num_hidden_layers"], layers(section, 3, [0, 1]))
    assert found == Changes({"n_layer": 2, "num_hidden_layers": 2})


PLAIN: Section = {
    "n": 4,
    "layer_types": ["full", "sliding", "full", "sliding"],
    "mlp_only_layers": [1, 2],
    "first_k_dense_replace": 1,
    "moe_layer_freq": 2,
    "hybrid_override_pattern": "M*M-",
    "eos_token_id": [1, 2, 3, 4],
    "use_sliding_window": True,
    "max_window_layers": 2,
    "rope_scaling": {"factor": [1, 2, 3, 4]},
}


def test_the_same_layers_in_the_same_order_change_nothing() -> None:
    assert restack(PLAIN, 4, ["n"], layers(PLAIN, 4, range(4))).values == {}


@pytest.mark.parametrize(
    "rule",
    [
        {"decoder_sparse_step": 2},
        {"mlp_only_layers": [2, 1]},
        {"mlp_only_layers": [1, 9]},
        {"first_k_dense_replace": 9},
        {"max_window_layers": 28, "use_sliding_window": True},
        {"cross_attention_layers": [-1]},
    ],
)
def test_no_rule_is_said_in_another_way_for_the_same_layers(rule: Section) -> None:
    assert stacked(rule, 4, range(4)).values == {}


# --- lists with an entry for each layer


@settings(deadline=None)
@given(st.lists(st.sampled_from(TYPES), min_size=1, max_size=6), st.data())
def test_a_list_with_an_entry_for_each_layer_follows_them(types: list[str], data: st.DataObject) -> None:
    picked = data.draw(st.lists(st.integers(0, len(types) - 1), min_size=1, max_size=8))
    found = values({"layer_types": types}, len(types), picked).get("layer_types", types)
    assert found == [types[layer] for layer in picked]


@pytest.mark.parametrize(
    "key",
    [
        "layer_types",
        "layers_block_type",
        "mlp_layer_types",
        "attn_type_list",
        "no_rope_layers",
        "num_kv_heads",
        "num_query_heads",
        "ffn_multipliers",
        "intermediate_size",
        "activation_sparsity_pattern",
        "block_configs",
        "moe_layer_freq",
        "sliding_window",
    ],
)
def test_lists_of_these_names_follow_the_layers(key: str) -> None:
    assert values({key: [10, 11, 12]}, 3, [0, 2, 2, 1]) == {key: [10, 12, 12, 11]}


@pytest.mark.parametrize(
    "key", ["eos_token_id", "pad_token_ids", "architectures", "conv_layers", "mrope_section", "out_indices"]
)
def test_unrelated_lists_of_the_same_length_are_left_alone(key: str) -> None:
    found = stacked({key: [5, 6]}, 2, [1, 0, 1])
    assert found == Changes({"n": 3})


@pytest.mark.parametrize("key", ["image_size", "image_mean", "keys_to_ignore_at_inference"])
def test_a_list_that_may_or_may_not_be_meant_is_left_alone_and_told(key: str) -> None:
    found = stacked({key: [5, 6]}, 2, [1, 0, 1])
    assert found.values == {"n": 3}
    (note,) = found.notes
    assert f"`{key}`" in note
    assert "left as it is" in note


def test_two_end_tokens_of_a_model_of_two_layers_stay() -> None:
    """As in Llama 3 chat models; a list of two is no list of layers because there are two layers."""
    section = {"eos_token_id": [128001, 128009], "layer_types": ["full", "sliding"]}
    assert values(section, 2, [1, 0, 0]) == {"layer_types": ["sliding", "full", "full"]}


def test_a_list_of_another_length_is_left_alone() -> None:
    assert stacked({"layer_types": ["x", "y"], "stages": [1, 2]}, 3, [0, 1]) == Changes({"n": 2})


def test_a_pattern_in_letters_follows_the_layers() -> None:
    assert values({"hybrid_override_pattern": "M*-E"}, 4, [3, 1, 0]) == {"hybrid_override_pattern": "E*M"}
    assert values({"model_type": "four"}, 4, [3, 1, 0]) == {}


# --- lists of layer numbers


@pytest.mark.parametrize(
    "key",
    [
        "moe_layers",
        "cross_attention_layers",
        "global_attention_layers",
        "full_attn_idxs",
        "attn_layer_indices",
        "fullatt_block_indexes",
        "hybrid_layer_ids",
        "local_layer_ids",
    ],
)
def test_layer_numbers_are_renumbered(key: str) -> None:
    """Layers 1 and 3 are meant; they now stand at 0, 2 and 3."""
    assert values({key: [1, 3]}, 5, [3, 0, 1, 3]) == {key: [0, 2, 3]}


def test_numbers_of_layers_that_are_gone_are_gone() -> None:
    assert values({"cross_attention_layers": [1, 3]}, 5, [0, 2]) == {"cross_attention_layers": []}


@settings(deadline=None)
@given(st.sets(st.integers(0, 5)), st.lists(st.integers(0, 5), min_size=1, max_size=9))
def test_a_layer_is_listed_where_its_source_was(meant: set[int], picked: list[int]) -> None:
    found = values({"moe_layers": sorted(meant)}, 6, picked).get("moe_layers", sorted(meant))
    assert [o in found for o in range(len(picked))] == [layer in meant for layer in picked]


@pytest.mark.parametrize("key", ["deepstack_visual_indexes", "global_attn_indexes", "window_block_indices"])
def test_layer_numbers_of_vision_towers_are_renumbered_or_refused(key: str) -> None:
    """Qwen3-VL, SAM, ViTDet."""
    found = stacked({key: [1, 3]}, 5, [3, 0, 1])
    assert found.faults or found.values[key] == [0, 2]


# --- experts


def is_sparse(section: Section, layer: int) -> bool:
    """Qwen's rule: every n-th layer has experts, unless it is listed as having none."""
    step = section.get("decoder_sparse_step", 1)
    return layer not in section.get("mlp_only_layers", ()) and (layer + 1) % step == 0


@settings(deadline=None)
@given(step=st.integers(1, 4), dense=st.sets(st.integers(0, 5)), picked=st.lists(st.integers(0, 5), min_size=1))
def test_layers_have_experts_where_their_sources_have(step: int, dense: set[int], picked: list[int]) -> None:
    section = {"decoder_sparse_step": step, "mlp_only_layers": sorted(dense)}
    after = {**section, **values(section, 6, picked)}
    assert [is_sparse(after, o) for o in range(len(picked))] == [is_sparse(section, layer) for layer in picked]


def test_models_that_place_their_experts_by_different_rules_go_together() -> None:
    found = mixed({"decoder_sparse_step": 1}, {"decoder_sparse_step": 2}, [("a", 0), ("b", 0), ("b", 1), ("a", 1)])
    after = {"decoder_sparse_step": 1, **found.values}
    assert [is_sparse(after, o) for o in range(4)] == [True, False, True, True]


# --- the first k layers


@pytest.mark.parametrize(
    ("picked", "k"),
    [([0, 1, 2], 2), ([0, 2, 3], 1), ([2, 3], 0), ([0, 1, 0, 1, 3], 4), ([0, 1], 2), ([1, 3], 1), ([1, 0, 2], 2)],
)
def test_the_first_layers_stay_the_first(picked: list[int], k: int) -> None:
    section = {"first_k_dense_replace": 2}
    assert {**section, **values(section, 4, picked)} == {"first_k_dense_replace": k}


@pytest.mark.parametrize("picked", [[2, 0], [0, 2, 1], [0, 1, 2, 0]])
def test_a_special_first_layer_behind_a_common_one_cannot_be_said(picked: list[int]) -> None:
    message = refusal({"first_k_dense_replace": 2}, 4, picked)
    at = max(o for o, layer in enumerate(picked) if layer < 2)
    assert f"output layer {at} is one of the special first layers of a" in message
    assert "`first_k_dense_replace` (2)" in message


def test_models_with_different_numbers_of_first_layers_go_together() -> None:
    a, b = {"first_k_dense_replace": 1}, {"first_k_dense_replace": 3}
    found = mixed(a, b, [("a", 0), ("b", 1), ("b", 2), ("b", 3), ("a", 1)])
    assert found == Changes({"n": 5, "first_k_dense_replace": 3})


def test_a_model_that_does_not_say_its_first_layers_is_refused() -> None:
    (fault,) = mixed({"first_k_dense_replace": 1}, {}, [("a", 0), ("b", 1)]).faults
    assert "b does not say `first_k_dense_replace`" in fault.message


def test_windows_from_a_layer_on_count_only_where_windows_are_used() -> None:
    rule = {"max_window_layers": 2}
    assert values({**rule, "use_sliding_window": False}, 4, [3, 0]) == {}
    assert values(rule, 4, [3, 0]) == {}
    assert values({**rule, "use_sliding_window": True}, 4, [0, 2]) == {"max_window_layers": 1}
    assert "max_window_layers" in refusal({**rule, "use_sliding_window": True}, 4, [3, 0])


def test_a_list_of_layer_types_overrules_the_windows() -> None:
    section = {"max_window_layers": 2, "use_sliding_window": True, "layer_types": ["f", "f", "s", "s"]}
    assert values(section, 4, [3, 0]) == {"layer_types": ["s", "f"]}


# --- every n-th layer

PERIODS = {
    "sliding_window_pattern": "layer_types",
    "global_attn_every_n_layers": "layer_types",
    "full_attention_interval": "layer_types",
    "no_rope_layer_interval": "no_rope_layers",
    "attn_layer_period": "layers_block_type",
    "expert_layer_period": None,
    "interleave_moe_layer_step": None,
    "moe_layer_freq": None,
}


@pytest.mark.parametrize("key", PERIODS)
def test_a_period_is_kept_where_every_layer_keeps_its_step(key: str) -> None:
    assert values({key: 2}, 6, [0, 1, 4, 5]) == {}
    assert values({key: 3}, 6, [3, 1, 5]) == {}
    assert values({key: 1}, 6, [4, 4, 1]) == {}


@pytest.mark.parametrize("key", PERIODS)
def test_a_period_that_is_broken_is_refused(key: str) -> None:
    message = refusal({key: 2}, 6, [0, 2])
    assert f"`{key}` (2)" in message
    assert "output layer 1 is layer 2 of a" in message


@pytest.mark.parametrize(("key", "instead"), [(k, v) for k, v in PERIODS.items() if v])
def test_a_list_overrules_the_period(key: str, instead: str) -> None:
    assert values({key: 2, instead: [1, 2, 3]}, 3, [0, 2]) == {instead: [1, 3]}


def test_models_of_different_periods_are_refused() -> None:
    (fault,) = mixed({"moe_layer_freq": 2}, {"moe_layer_freq": 4}, [("a", 0), ("b", 1)]).faults
    assert "b says 4" in fault.message


@pytest.mark.parametrize("kind", ["attn", "expert"])
def test_models_whose_periods_begin_elsewhere_are_refused(kind: str) -> None:
    """Jamba: layer i is special where i % period == offset."""
    a, b = ({f"{kind}_layer_period": 2, f"{kind}_layer_offset": offset} for offset in (0, 1))
    assert mixed(a, b, [("a", 0), ("b", 1), ("b", 2)]).faults


@pytest.mark.parametrize("key", [*PERIODS, "decoder_sparse_step"])
def test_a_period_of_zero_is_no_crash(key: str) -> None:
    stacked({key: 0}, 4, [0, 2])


@pytest.mark.parametrize(
    "rule",
    [
        {"num_kv_shared_layers": 2},
        {"moe_layer_interval": 2, "moe_layer_start_index": 1, "moe_layer_end_index": -1},
        {"num_dense_layers": 1},
        {"cross_attention_frequency": 2},
    ],
    ids=["Gemma 3n", "Ernie 4.5", "LFM2-MoE", "Q-Former"],
)
def test_no_rule_by_position_is_overlooked(rule: Section) -> None:
    """Two layers change places; a layer that shares its keys, or has experts, is then another one."""
    found = stacked(rule, 4, [3, 2, 1, 0])
    assert found.faults or found.notes or found.values


@pytest.mark.parametrize("value", ["2", None, True, [2], {"n": 2}, 2.0])
@pytest.mark.parametrize("key", ["sliding_window_pattern", "first_k_dense_replace"])
def test_a_rule_that_is_no_number_says_nothing(key: str, value: object) -> None:
    assert stacked({key: value}, 4, [2, 0]) == Changes({"n": 2})


# --- several models


def test_lists_of_several_models_are_put_together() -> None:
    a, b = {"layer_types": ["f", "s"]}, {"layer_types": ["x", "y", "z"]}
    found = mixed(a, b, [("a", 1), ("b", 0), ("b", 2)], (2, 3))
    assert found == Changes({"n": 3, "layer_types": ["s", "x", "z"]})


def test_a_model_without_the_list_is_refused_by_name() -> None:
    (fault,) = mixed({"layer_types": ["f", "s", "f", "s"]}, {}, [("a", 0), ("b", 0)]).faults
    assert fault.message.endswith("b has no such entry for each of its 4 layers")


def test_a_list_that_only_another_model_has_is_not_lost() -> None:
    (fault,) = mixed({}, {"layer_types": ["f", "s", "f", "s"]}, [("a", 0), ("b", 1)]).faults
    assert "a has no such entry" in fault.message


def test_all_that_cannot_be_said_is_said_at_once() -> None:
    section = {"first_k_dense_replace": 1, "moe_layer_freq": 2, "sliding_window_pattern": 3}
    found = stacked(section, 4, [1, 0])
    assert {fault.subject for fault in found.faults} == section.keys()


# --- may layers differ without a list?


@pytest.mark.parametrize(
    ("section", "may"),
    [
        ({}, False),
        ({"sliding_window": None}, False),
        ({"sliding_window": 4096}, True),
        ({"attention_chunk_size": 8192}, True),
        ({"global_attn_every_n_layers": 3}, True),
        ({"sliding_window": 4096, "layer_types": ["f"]}, False),
        ({"sliding_window": 4096, "layer_types": None}, True),
    ],
)
def test_a_section_that_lists_its_layers_leaves_nothing_open(section: Section, may: bool) -> None:
    assert may_differ_by_position(section) == may


@pytest.mark.parametrize(
    "spelled", [[[["x", "y"], 2]], [[["x", "y", "x", "y"], 1]], [[["x"], 1], [["y", "x", "y"], 1]]]
)
def test_runs_of_kinds_are_spelled_out(spelled: list[Any]) -> None:
    section = {"attention_types": spelled}
    layers = [SourceLayer("a", section, layer, 4) for layer in (1, 1, 2)]
    assert restack(section, 4, (), layers).values == {"attention_types": [[["y", "y", "x"], 1]]}


def test_runs_that_do_not_cover_the_layers_are_refused() -> None:
    section = {"attention_types": [[["x"], 3]]}
    (fault,) = restack(section, 4, (), [SourceLayer("a", section, 0, 4)]).faults
    assert "a names 3 kinds for its 4 layers" in fault.message


# --- encoders and decoders with experts


TWO_SIDES = {"encoder_sparse_step": 2, "decoder_sparse_step": 4}


@pytest.mark.parametrize(
    ("counted", "picked", "kept"),
    [
        ("encoder_layers", [0, 1, 2, 3, 2, 3], True),
        ("encoder_layers", [0, 2], False),
        ("decoder_layers", [0, 1, 2, 3, 0, 1, 2, 3], True),
        ("decoder_layers", [0, 1, 2, 3, 2, 3], False),
    ],
)
def test_each_side_keeps_its_own_step_of_experts(counted: str, picked: list[int], kept: bool) -> None:
    found = restack(TWO_SIDES | {counted: 4}, 4, [counted], layers(TWO_SIDES | {counted: 4}, 4, picked))
    assert bool(found.faults) is not kept
    assert found.values == ({counted: len(picked)})


def test_kinds_of_indexers_follow_their_layers() -> None:
    section = {"indexer_types": ["full", "none", "none", "full"]}
    assert restack(section, 4, ["n"], layers(section, 4, [3, 1])).values["indexer_types"] == ["full", "none"]
