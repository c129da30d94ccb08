"""Tensors that do not fit each other: copied, compared, or refused by name with the models they are in."""

from __future__ import annotations

import pytest
import torch

from cuvee.errors import InputError
from cuvee.planning import Piece
from tests.support.merging import decoder
from tests.support.plans import Data, entry, named, piece, plan_of, recipe, refusal, sliced, source, stack, tensors


def linear(*models: str, **more: object) -> Data:
    return recipe("linear", *(entry(m, weight=1) for m in models), **more)


def ints(*values: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


# --- tensors that not every model has


def test_a_tensor_that_one_model_lacks_is_refused_with_both_names() -> None:
    models = {"a": tensors("w", "x"), "b": tensors("w"), "c": tensors("w", "x")}
    error = refusal(linear("a", "b", "c"), models)
    assert isinstance(error, InputError)
    (fault,) = error.faults
    assert (fault.code, fault.subject) == ("missing-tensor", "x")
    assert fault.message == "tensor x: in a, c but not in b"
    assert "set `missing` to `copy`" in fault.hint


def test_every_lacking_tensor_is_named() -> None:
    error = refusal(linear("a", "b"), {"a": tensors("w", "x", "y"), "b": tensors("w", "z")})
    assert [fault.subject for fault in error.faults] == ["x", "y", "z"]


def test_a_base_must_have_the_tensor_too() -> None:
    error = refusal(recipe("ties", entry("a", weight=1), base_model="o"), {"a": tensors("w", "x"), "o": tensors("w")})
    assert "in a but not in o" in str(error)


def test_lacking_tensors_are_copied_from_the_first_that_has_them_where_the_recipe_says_so() -> None:
    models = {"a": tensors("w"), "b": tensors("w", "x"), "c": tensors("w", "x", dtype=torch.bfloat16)}
    plan = plan_of(linear("a", "b", "c", missing="copy"), models)
    step = named(plan)["x"]
    assert (step.action, step.pieces, step.out.dtype) == ("copy", (Piece(1, "x"),), "float32")
    assert step.reason == "not in a; passed over in c"
    assert (plan.merged, plan.copied, plan.lost) == (1, 1, 0)


def test_the_base_is_the_first_to_be_copied_from() -> None:
    models = {"a": tensors("w", "x"), "b": tensors("w"), "o": tensors("w", "x")}
    data = recipe("ties", entry("a", weight=1), entry("b", weight=1), base_model="o", missing="copy")
    assert named(plan_of(data, models))["x"].pieces == (Piece(0, "x"),)


@pytest.mark.parametrize(
    "name", ["l.0.self_attn.rotary_emb.inv_freq", "embeddings.position_ids", "bn.num_batches_tracked"]
)
def test_derived_buffers_that_some_models_lack_are_copied(name: str) -> None:
    plan = plan_of(linear("a", "b"), {"a": tensors("w"), "b": tensors("w", name)})
    assert named(plan)[name].action == "copy"
    assert plan.lost == 0


def test_a_derived_buffer_is_no_weight() -> None:
    """Scaled like one, rotary frequencies would be others."""
    name = "l.0.self_attn.rotary_emb.inv_freq"
    data = recipe("linear", entry("a", weight=1), entry("b", weight=1), parameters={"normalize": False})
    step = named(plan_of(data, dict.fromkeys("ab", tensors("w", name))))[name]
    assert (step.action, step.pieces, step.reason) == ("copy", (Piece(0, name),), "a buffer that the model derives")


def test_integers_that_some_models_lack_are_copied_as_integers() -> None:
    models = {"a": tensors("w"), "b": {**tensors("w"), "embeddings.position_ids": ints(0, 1)}}
    step = named(plan_of(linear("a", "b", dtype="bfloat16"), models))["embeddings.position_ids"]
    assert (step.action, step.out.dtype) == ("copy", "int64")


def test_models_with_nothing_in_common_are_told_once() -> None:
    error = refusal(linear("a", "b"), {"a": decoder(0), "b": stack(9, "transformer.h")})
    (fault,) = error.faults
    assert fault.code == "missing-tensor"
    assert "a and b have no tensor name in common" in fault.message
    assert "transformer.h.0.w" in fault.message
    assert "same architecture" in fault.hint


def test_a_model_of_no_tensors_has_nothing_in_common_with_any() -> None:
    assert "nothing" in refusal(linear("a", "b"), {"a": {}, "b": tensors("w")}).faults[0].message


def test_every_model_that_has_nothing_in_common_with_the_first_is_told() -> None:
    error = refusal(linear("a", "b", "c"), {"a": tensors("w"), "b": tensors("x"), "c": tensors("y")})
    assert [fault.subject for fault in error.faults] == ["b", "c"]


# --- layers


def test_models_of_different_heights_are_told_once_for_each_stack() -> None:
    a = stack(2, "encoder.block") | stack(2, "decoder.block")
    b = stack(3, "encoder.block") | stack(4, "decoder.block")
    configs = {m: {"num_layers": i, "num_decoder_layers": d} for m, i, d in (("a", 2, 2), ("b", 3, 4))}
    error = refusal(linear("a", "b"), {"a": a, "b": b}, configs)
    assert error.codes == ("layer-count-mismatch",) * 2
    assert [fault.subject for fault in error.faults] == ["decoder.block", "encoder.block"]
    assert "a has 2, b has 4" in error.faults[0].message
    assert "`slices`" in error.faults[0].hint


def test_different_heights_do_not_hide_other_faults() -> None:
    a, b = stack(2) | tensors("norm.weight"), stack(3) | tensors("norm.weight", shape=(3,)) | tensors("extra")
    configs = {"a": {"num_hidden_layers": 2}, "b": {"num_hidden_layers": 3}}
    error = refusal(linear("a", "b"), {"a": a, "b": b}, configs)
    assert set(error.codes) == {"layer-count-mismatch", "missing-tensor", "shape-mismatch"}
    assert len(error.codes) == 3


def test_the_layers_that_both_have_are_held_against_each_other() -> None:
    configs = {"a": {"num_hidden_layers": 2}, "b": {"num_hidden_layers": 3}}
    other = stack(3) | tensors("model.layers.1.w", shape=(3,))
    error = refusal(linear("a", "b"), {"a": stack(2), "b": other}, configs)
    assert sorted(error.codes) == ["layer-count-mismatch", "shape-mismatch"]
    assert {fault.subject for fault in error.faults} == {"model.layers", "model.layers.1.w"}


def test_the_base_is_as_high_as_the_models() -> None:
    configs = {"a": {"num_hidden_layers": 3}, "o": {"num_hidden_layers": 2}}
    error = refusal(recipe("ties", entry("a", weight=1), base_model="o"), {"a": stack(3), "o": stack(2)}, configs)
    assert error.codes == ("layer-count-mismatch",)


def test_experts_of_different_numbers_are_no_layers() -> None:
    a, b = (tensors(*(f"l.{i}.experts.{e}.w" for i in range(2) for e in range(n))) for n in (2, 3))
    assert refusal(linear("a", "b"), {"a": a, "b": b}).codes == ("missing-tensor",) * 2


# --- shapes


def test_other_shapes_are_refused_with_each_models_own() -> None:
    models = {m: {"l.0.w": torch.zeros(shape)} for m, shape in (("a", (2, 3)), ("b", (3, 2)), ("c", (2, 3)))}
    (fault,) = refusal(linear("a", "b", "c"), models).faults
    assert (fault.code, fault.subject) == ("shape-mismatch", "l.0.w")
    assert "a [2, 3], b [3, 2], c [2, 3]" in fault.message


@pytest.mark.parametrize(("one", "other"), [((4,), (4, 1)), ((1,), ()), ((2, 2), (4,)), ((0, 3), (3, 0))])
def test_as_many_entries_are_not_enough(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    models = {"a": {"w": torch.zeros(one)}, "b": {"w": torch.zeros(other)}}
    assert refusal(linear("a", "b"), models).codes == ("shape-mismatch",)


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "lm_head.weight", "transformer.wte.weight"])
def test_vocabularies_of_other_sizes_are_told_as_such(name: str) -> None:
    models = {"a": tensors(name, shape=(5, 2)), "b": tensors(name, shape=(7, 2))}
    (fault,) = refusal(linear("a", "b"), models).faults
    assert (fault.code, fault.subject) == ("vocabulary-mismatch", name)
    assert "a [5, 2], b [7, 2]" in fault.message
    assert "tokenizer: {source: union}" in fault.hint


def test_embeddings_of_other_widths_are_no_matter_of_vocabulary() -> None:
    name = "model.embed_tokens.weight"
    models = {"a": tensors(name, shape=(5, 2)), "b": tensors(name, shape=(7, 3))}
    assert refusal(linear("a", "b"), models).codes == ("shape-mismatch",)


@pytest.mark.parametrize(
    "name",
    [
        "embeddings.position_embeddings.weight",
        "transformer.wpe.weight",
        "embeddings.token_type_embeddings.weight",
        "classifier.weight",
        "score.weight",
        "vit.embeddings.patch_embeddings.projection.bias",
    ],
)
def test_positions_labels_and_patches_are_no_vocabulary(name: str) -> None:
    """A longer context or other labels: `tokenizer_source` would not help."""
    models = {"a": tensors(name, shape=(5, 2)), "b": tensors(name, shape=(7, 2))}
    assert refusal(linear("a", "b"), models).codes == ("shape-mismatch",)


# --- dtypes


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn])
def test_what_cannot_be_averaged_is_copied_where_it_is_equal(dtype: torch.dtype) -> None:
    models = {m: {"w": torch.zeros(2), "i": torch.zeros(3).to(dtype)} for m in "abo"}
    data = recipe("ties", entry("a", weight=1), entry("b", weight=1), base_model="o", dtype="bfloat16")
    step = named(plan_of(data, models))["i"]
    assert (step.action, step.inputs, step.base) == ("copy", (Piece(0, "i"),), None)
    assert step.must_equal == (Piece(1, "i"), Piece(2, "i"))
    assert step.out.dtype == str(dtype).removeprefix("torch.")
    assert "cannot be merged" in step.reason


def test_counters_need_not_be_equal() -> None:
    models = {m: {"w": torch.zeros(2), "bn.num_batches_tracked": ints(i)} for i, m in enumerate("ab")}
    step = named(plan_of(linear("a", "b"), models))["bn.num_batches_tracked"]
    assert (step.action, step.must_equal) == ("copy", ())


def test_integers_and_floats_do_not_meet() -> None:
    (fault,) = refusal(linear("a", "b"), {"a": {"w": torch.zeros(2)}, "b": {"w": ints(1, 2)}}).faults
    assert (fault.code, fault.subject) == ("dtype-mismatch", "w")
    assert "a float32, b int64" in fault.message


def test_integers_of_two_sizes_do_not_meet() -> None:
    models = {"a": {"w": ints(1)}, "b": {"w": ints(1, dtype=torch.int32)}}
    assert refusal(linear("a", "b"), models).codes == ("dtype-mismatch",)


def test_one_model_need_not_equal_itself() -> None:
    model = {"l.0.i": ints(1), "l.1.i": ints(2), "ids": ints(3), "w": torch.zeros(1)}
    plan = plan_of(sliced("linear", piece(source("a", 0, 1, weight=1), source("a", 1, 2, weight=1))), {"a": model})
    assert named(plan)["l.0.i"].must_equal == (Piece(0, "l.1.i"),)
    assert named(plan)["ids"].must_equal == ()
    plan = plan_of(linear("a"), {"a": model})
    assert named(plan)["l.0.i"].must_equal == ()


def test_layers_of_one_model_of_integers_and_floats_do_not_meet() -> None:
    model = {"l.0.w": ints(1), "l.1.w": torch.zeros(1), "w": torch.zeros(1)}
    data = sliced("linear", piece(source("a", 0, 1, weight=1), source("a", 1, 2, weight=1)))
    assert refusal(data, {"a": model}).codes == ("dtype-mismatch",)


# --- all at once


def test_faults_of_all_kinds_are_told_at_once_each_with_tensor_and_models() -> None:
    a = {
        "model.embed_tokens.weight": torch.zeros(4, 2),
        "shape": torch.zeros(2),
        "kind": torch.zeros(2),
        "lacking": torch.zeros(2),
        "weighted": torch.zeros(2),
        "fine": torch.zeros(2),
    }
    b = {**a, "model.embed_tokens.weight": torch.zeros(5, 2), "shape": torch.zeros(3), "kind": ints(1, 2)}
    del b["lacking"]
    weight = [{"filter": "weighted", "value": -1}, {"value": 1}]
    error = refusal(recipe("linear", entry("a", weight=weight), entry("b", weight=1)), {"a": a, "b": b})
    assert isinstance(error, InputError)
    assert {fault.subject: fault.code for fault in error.faults} == {
        "model.embed_tokens.weight": "vocabulary-mismatch",
        "shape": "shape-mismatch",
        "kind": "dtype-mismatch",
        "lacking": "missing-tensor",
        "weighted": "zero-weight-sum",
    }
    for fault in error.faults:
        assert f" {fault.subject}" in fault.message
        assert fault.code == "zero-weight-sum" or ("a" in fault.message.split() and "b" in fault.message.split())


def test_faults_of_the_recipe_come_before_those_of_the_models() -> None:
    data = {"merge_method": "linear", "modules": {"nowhere": {"models": [entry("a", weight=1), entry("b", weight=1)]}}}
    models = {"a": tensors("w", shape=(2,)), "b": tensors("w", shape=(3,))}
    assert set(refusal(data, models).codes) == {"unknown-module"}
