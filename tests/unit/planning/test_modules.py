"""Parts of a model merged by recipes of their own."""

from __future__ import annotations

import pytest

from cuvee.errors import RecipeError
from tests.support.plans import Data, entry, piece, plan_of, refusal, source, sources, stack, stacked, tensors, weights

LLAVA = (
    stack(2, "language_model.model.layers")
    | stack(2, "vision_tower.vision_model.encoder.layers")
    | tensors("language_model.model.embed_tokens.weight", "language_model.lm_head.weight")
    | tensors("multi_modal_projector.linear_1.weight", "vision_tower.vision_model.post_layernorm.weight")
)
T5 = stack(2, "encoder.block") | stack(2, "decoder.block") | tensors("shared.weight", "lm_head.weight")
BOTH = {"num_layers": 2, "num_decoder_layers": 2}


def module(*models: str) -> Data:
    return {"models": [entry(m, weight=1) for m in models]}


def modular(**parts: Data) -> Data:
    return {"merge_method": "linear", "modules": parts}


def homes(data: Data, *models: dict[str, object]) -> dict[str, str]:
    """Which models every tensor comes from, as one word."""
    given = models if len(models) > 1 else models * 3
    plan = plan_of(data, dict(zip("abc", given)))
    assert plan.lost == 0
    return {name: "".join(m for m, _ in found) for name, found in sources(plan).items()}


# --- which tensors a module is


@pytest.mark.parametrize("vision", ["vision_tower", "vision_model", "vision_tower.vision_model"])
@pytest.mark.parametrize("text", ["language_model", "text_decoder", "rest", "default"])
def test_the_parts_of_a_vision_language_model(text: str, vision: str) -> None:
    rest = {} if text in ("rest", "default") else {"multi_modal_projector": module("a")}
    found = homes(modular(**{text: module("a", "b"), vision: module("c"), **rest}), LLAVA)
    assert found.keys() == LLAVA.keys()
    assert {name for name, of in found.items() if of == "c"} == {n for n in LLAVA if n.startswith("vision_tower.")}
    assert {name for name, of in found.items() if of == "ab"} >= {n for n in LLAVA if n.startswith("language_model.")}


def test_an_encoder_and_a_decoder_and_what_they_share() -> None:
    found = homes(modular(encoder=module("a"), decoder=module("b"), rest=module("c")), T5)
    assert {name: found[name] for name in ("encoder.block.1.w", "decoder.block.1.w", "shared.weight")} == {
        "encoder.block.1.w": "a",
        "decoder.block.1.w": "b",
        "shared.weight": "c",
    }


def test_a_part_is_found_under_the_prefix_of_the_whole() -> None:
    whisper = stack(2, "model.encoder.layers") | stack(2, "model.decoder.layers") | tensors("proj_out.weight")
    found = homes(modular(encoder=module("a"), decoder=module("b"), rest=module("c")), whisper)
    assert found == {
        **{f"model.encoder.layers.{i}.w": "a" for i in range(2)},
        **{f"model.decoder.layers.{i}.w": "b" for i in range(2)},
        "proj_out.weight": "c",
    }


def test_a_name_is_a_whole_word_of_the_tensor_names() -> None:
    model = tensors("visual.w", "visual_projection.w", "revisual.w", "w")
    found = homes(modular(visual=module("a"), rest=module("b")), model)
    assert found == {"visual.w": "a", "visual_projection.w": "b", "revisual.w": "b", "w": "b"}


def test_the_narrower_part_wins() -> None:
    model = tensors("vision.encoder.w", "vision.head.w", "text.w")
    parts = {"vision": module("a"), "vision.head": module("b"), "rest": module("c")}
    assert homes(modular(**parts), model) == {"vision.encoder.w": "a", "vision.head.w": "b", "text.w": "c"}


def test_parts_may_be_merged_from_different_models_of_which_none_is_whole() -> None:
    vision, text = tensors("visual.w"), tensors("text.w")
    found = homes(modular(visual=module("a"), text=module("b")), vision, text)
    assert found == {"visual.w": "a", "text.w": "b"}


# --- what goes wrong


def test_a_part_that_does_not_exist_is_refused_with_the_nearest_name() -> None:
    error = refusal(modular(vision_towr=module("a"), rest=module("a")), {"a": LLAVA})
    assert isinstance(error, RecipeError)
    assert error.codes == ("unknown-module",)
    assert "`vision_towr`" in error.faults[0].message
    assert error.faults[0].hint == "did you mean `vision_tower`?"


def test_tensors_of_no_part_are_refused_by_name() -> None:
    error = refusal(modular(vision_tower=module("a"), language_model=module("a")), {"a": LLAVA})
    assert error.codes == ("unknown-module",)
    assert "multi_modal_projector.linear_1.weight" in error.faults[0].message
    assert "`rest:`" in error.faults[0].hint


def test_all_wrong_names_and_what_they_leave_over_are_told_at_once() -> None:
    error = refusal(modular(visoin=module("a"), txt=module("a")), {"a": LLAVA})
    assert error.codes == ("unknown-module",) * 3


def test_a_name_that_could_mean_two_parts_is_refused() -> None:
    model = stack(2, "a.encoder.layers") | stack(2, "b.encoder.layers")
    assert refusal(modular(encoder=module("a"), rest=module("a")), {"a": model}).codes == ("unknown-module",)


@pytest.mark.parametrize("names", [("language_model", "text_decoder"), ("rest", "default")])
def test_two_names_for_one_part_are_refused(names: tuple[str, str]) -> None:
    parts = {names[0]: module("a"), names[1]: module("b"), "vision_tower": module("a")}
    parts |= {} if "rest" in names else {"multi_modal_projector": module("a")}
    assert refusal(modular(**parts), {"a": LLAVA, "b": LLAVA}).code


# --- slices in modules


def test_one_part_is_stacked_and_the_others_stay() -> None:
    cut = {"slices": stacked(("a", 0, 2), ("b", 1, 2))["slices"]}
    data = {"merge_method": "passthrough", "modules": {"language_model": cut, "rest": {"models": [{"model": "a"}]}}}
    config = {"text_config": {"num_hidden_layers": 2}, "vision_config": {"num_hidden_layers": 2}}
    plan = plan_of(data, {"a": LLAVA, "b": LLAVA}, {"a": config, "b": config})
    assert plan.config_changes == {"text_config.num_hidden_layers": 3}
    found = sources(plan)
    assert found["language_model.model.layers.2.w"] == [("b", "language_model.model.layers.1.w")]
    assert found["language_model.lm_head.weight"] == [("b", "language_model.lm_head.weight")]
    assert {n for n in found if n.startswith("vision")} == {n for n in LLAVA if n.startswith("vision")}


def test_ranges_are_held_against_the_layers_of_the_part() -> None:
    model = stack(2, "encoder.block") | stack(3, "decoder.block")
    cut = {"slices": [piece(source("a", 0, 3))]}
    data = {"merge_method": "passthrough", "modules": {"encoder": cut, "rest": {"models": [{"model": "a"}]}}}
    error = refusal(data, {"a": model}, {"a": {"num_layers": 2, "num_decoder_layers": 3}})
    assert error.codes == ("layers-out-of-range",)
    data["modules"] = {"decoder": cut, "rest": {"models": [{"model": "a"}]}}
    assert len(plan_of(data, {"a": model}, {"a": {"num_layers": 2, "num_decoder_layers": 3}}).steps) == 5


def test_parameters_of_a_module_hold_in_it() -> None:
    data = modular(encoder={**module("a"), "parameters": {"normalize": False}}, rest=module("a"))
    found = weights(plan_of(data, {"a": T5}), "normalize")
    assert {name for name, on in found.items() if not on} == {"encoder.block.0.w", "encoder.block.1.w"}


# --- stacks of different heights


def test_a_part_that_a_model_has_no_share_in_may_be_as_deep_there_as_it_likes() -> None:
    """Two models of one language and different eyes: the eyes are taken from the first."""
    a = stack(2, "language_model.layers") | stack(2, "visual.blocks")
    b = stack(2, "language_model.layers") | stack(3, "visual.blocks")
    configs = {
        m: {"text_config": {"num_hidden_layers": 2}, "vision_config": {"depth": d}} for m, d in zip("ab", (2, 3))
    }
    plan = plan_of(modular(language_model=module("a", "b"), rest=module("a")), {"a": a, "b": b}, configs)
    assert [m for m, _ in sources(plan)["visual.blocks.1.w"]] == ["a"]


def test_a_part_put_together_from_slices_may_come_from_models_of_any_height() -> None:
    a = stack(2, "language_model.layers") | stack(2, "visual.blocks")
    b = stack(4, "language_model.layers") | stack(2, "visual.blocks")
    configs = {
        m: {"text_config": {"num_hidden_layers": n}, "vision_config": {"depth": 2}} for m, n in zip("ab", (2, 4))
    }
    cut = {"slices": [piece(source("a", 0, 1, weight=1)), piece(source("b", 3, 4, weight=1))]}
    plan = plan_of(modular(language_model=cut, rest=module("a", "b")), {"a": a, "b": b}, configs)
    assert sources(plan)["language_model.layers.1.w"] == [("b", "language_model.layers.3.w")]


# --- one key for two stacks, two keys for one stack


def one_stacked(part: str, model: dict[str, object], config: Data) -> dict[str, object]:
    """What changes in the configuration when one part of a model gets a third layer."""
    cut = {"slices": stacked(("a", 0, 1), ("a", 0, 2))["slices"]}
    data = {"merge_method": "passthrough", "modules": {part: cut, "rest": {"models": [{"model": "a"}]}}}
    return dict(plan_of(data, {"a": model}, {"a": config}).config_changes)


def test_an_encoder_gets_a_layer_and_the_decoder_none() -> None:
    assert one_stacked("encoder", T5, BOTH) == {"num_layers": 3}
    assert one_stacked("decoder", T5, BOTH) == {"num_decoder_layers": 3}


def test_a_decoder_that_is_counted_with_the_encoder_does_not_change_its_number() -> None:
    """T5 says `num_decoder_layers` only where it differs; changing `num_layers` takes layers from the encoder."""
    found = one_stacked("decoder", T5, {"num_layers": 2})
    assert found == {"num_decoder_layers": 3}


def test_the_second_number_of_an_encoders_layers_is_changed_as_well() -> None:
    """Whisper and BART on the hub hold both, and transformers reads `num_hidden_layers` as the encoder's."""
    model = stack(2, "model.encoder.layers") | stack(2, "model.decoder.layers")
    found = one_stacked("encoder", model, {"num_hidden_layers": 2, "encoder_layers": 2, "decoder_layers": 2})
    assert found == {"encoder_layers": 3, "num_hidden_layers": 3}


def test_both_sections_that_count_the_layers_are_changed() -> None:
    """Qwen2.5-VL as some versions of transformers wrote it: flat and nested; the nested one is read."""
    model = stack(2) | stack(2, "visual.blocks")
    config = {"num_hidden_layers": 2, "text_config": {"num_hidden_layers": 2}, "vision_config": {"depth": 2}}
    cut = {"slices": stacked(("a", 0, 1), ("a", 0, 2))["slices"]}
    data = {"merge_method": "passthrough", "modules": {"rest": cut, "visual": {"models": [{"model": "a"}]}}}
    found = plan_of(data, {"a": model}, {"a": config}).config_changes
    assert found == {"num_hidden_layers": 3, "text_config.num_hidden_layers": 3}
