"""Names of a model found in another one: layouts that no tiny checkpoint of this version writes."""

from __future__ import annotations

import pytest

from cuvee.families.towers import fit_by_name, fit_by_prefix, home_of, tensors_of_part, uncovered
from cuvee.types import TensorSpec

TEXT = {
    "model.embed_tokens.weight": (80, 32),
    "model.layers.0.mlp.weight": (48, 32),
    "model.layers.1.mlp.weight": (48, 32),
    "model.norm.weight": (32,),
    "lm_head.weight": (80, 32),
}
VISION = {"layers.0.mlp.weight": (16, 16), "layers.1.mlp.weight": (16, 16)}


def specs(shapes: dict[str, tuple[int, ...]]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, "float32", shape) for name, shape in shapes.items()}


def layout(text: str, vision: str, head: str) -> dict[str, TensorSpec]:
    body = {text + name.removeprefix("model."): shape for name, shape in TEXT.items() if name != "lm_head.weight"}
    return specs({**body, head: (80, 32), **{vision + name: shape for name, shape in VISION.items()}})


LAYOUTS = {
    "llava, old": ("language_model.model.", "vision_tower.vision_model.", "language_model.lm_head.weight"),
    "llava, new": ("model.language_model.", "model.vision_tower.", "lm_head.weight"),
    "qwen2-vl, old": ("model.", "visual.", "lm_head.weight"),
    "qwen2-vl, new": ("model.language_model.", "model.visual.", "lm_head.weight"),
    "idefics3": ("model.text_model.", "model.vision_model.", "lm_head.weight"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_text_model_is_found_and_comes_out_again(name: str) -> None:
    target = layout(*LAYOUTS[name])
    (fit,) = fit_by_name(specs(TEXT), target, "language_model")
    assert not fit.wrong
    text, _, head = LAYOUTS[name]
    assert fit.names["lm_head.weight"] == head
    assert fit.names["model.norm.weight"] == f"{text}norm.weight"
    assert uncovered(fit, target) == []
    back = tensors_of_part("language_model", target)
    assert {back[new]: new for new in back} == fit.names


def test_rows_of_a_vocabulary_may_differ_and_nothing_else() -> None:
    target = layout(*LAYOUTS["llava, new"])
    assert fit_by_name(specs({**TEXT, "model.embed_tokens.weight": (70, 32)}), target, "language_model")
    assert not fit_by_name(specs({**TEXT, "model.norm.weight": (33,)}), target, "language_model")


def test_a_head_without_a_place_is_said() -> None:
    target = {name: spec for name, spec in layout(*LAYOUTS["llava, new"]).items() if name != "lm_head.weight"}
    (fit,) = fit_by_name(specs(TEXT), target, "language_model")
    assert fit.wrong == ("lm_head.weight [80, 32]: it has no place there",)


def test_two_places_are_two_fits() -> None:
    body = {name.removeprefix("model."): shape for name, shape in TEXT.items() if name != "lm_head.weight"}
    target = specs(
        {f"{side}.text_model.{name}": shape for side in ("query", "passage") for name, shape in body.items()}
    )
    assert len(fit_by_name(specs(body), target, "text_model")) == 2
    (fit,) = fit_by_name(specs(body), target, "query")
    assert set(fit.names.values()) == {name for name in target if name.startswith("query.")}
    assert home_of("text_model", target) is None


def test_an_encoder_stands_where_it_stood() -> None:
    encoder = {"shared.weight": (80, 32), "encoder.block.0.layer.0.k.weight": (32, 32)}
    target = specs({**encoder, "decoder.block.0.layer.0.k.weight": (32, 32)})
    (fit,) = fit_by_name(specs(encoder), target, "encoder")
    assert fit.names == {name: name for name in encoder}


def test_the_longest_prefix_is_replaced_and_no_two_names_become_one() -> None:
    fit = fit_by_prefix(specs({"a.b.x": (1,), "a.y": (1,)}), None, (("a.", "c."), ("a.b.", "d.")))
    assert fit.names == {"a.b.x": "d.x", "a.y": "c.y"}
    twice = fit_by_prefix(specs({"a.x": (1,), "b.x": (1,)}), None, (("a.", ""), ("b.", "")))
    assert twice.wrong == ("x: two tensors would get this name",)
