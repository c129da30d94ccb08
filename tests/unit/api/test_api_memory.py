"""`merge_state_dicts`: how parameters are given, what comes back, what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import cuvee
from cuvee import merge_state_dicts, methods
from cuvee.errors import CuveeError, InputError, RecipeError, UsageError
from tests.support.checkpoints import assert_same
from tests.support.merging import decoder

A = {"w": torch.arange(4.0)}
B = {"w": torch.arange(4.0) * 3}
ZERO = {"w": torch.zeros(4)}


@contextmanager
def refused(kind: type[CuveeError], code: str, *words: str) -> Iterator[None]:
    """An error of that class, with that reason and these words, must be raised."""
    with pytest.raises(kind) as caught:
        yield
    assert caught.value.code == code
    assert [word for word in words if word not in str(caught.value)] == []


# --- how models and parameters are given


@pytest.mark.parametrize(
    ("weight", "mean"),
    [
        (0.5, [0.0, 2.0, 4.0, 6.0]),
        (7, [0.0, 2.0, 4.0, 6.0]),
        ([1, 3], [0.0, 2.5, 5.0, 7.5]),
        ((1, 3), [0.0, 2.5, 5.0, 7.5]),
        ({"a": 1, "b": 3}, [0.0, 2.5, 5.0, 7.5]),
        ({"b": 3, "a": 1}, [0.0, 2.5, 5.0, 7.5]),
        ([1.0, 0], [0.0, 1.0, 2.0, 3.0]),
    ],
    ids=str,
)
def test_weights_for_all_each_or_by_name(weight: Any, mean: list[float]) -> None:
    assert merge_state_dicts({"a": A, "b": B}, weight=weight)["w"].tolist() == mean


def test_models_in_a_row_are_called_by_their_number() -> None:
    assert merge_state_dicts([A, B], weight={"0": 1, "1": 3})["w"].tolist() == [0.0, 2.5, 5.0, 7.5]
    assert merge_state_dicts((A, B), weight=1)["w"].tolist() == [0.0, 2.0, 4.0, 6.0]


def test_lambda_by_either_name() -> None:
    for given in ({"lambda_": 0.5}, {"lambda": 0.5}):
        found = merge_state_dicts([A, B], "task_arithmetic", base=ZERO, weight=1, **given)
        assert found["w"].tolist() == [0.0, 2.0, 4.0, 6.0]


def test_lambda_by_both_names() -> None:
    with pytest.raises(CuveeError):
        merge_state_dicts([A, B], "task_arithmetic", base=ZERO, weight=1, lambda_=0.1, **{"lambda": 0.5})


def test_defaults_are_those_of_the_method() -> None:
    given = merge_state_dicts([A, B], "ties", base=ZERO, weight=0.5, density=1.0, normalize=True, lambda_=1.0)
    assert_same(merge_state_dicts([A, B], "ties", base=ZERO, weight=0.5), given)


@pytest.mark.parametrize("method", ["ties", "dare_ties", "dare_linear", "task_arithmetic"])
def test_a_whole_model_is_its_tensors_one_by_one(method: str) -> None:
    base, a, b = (decoder(seed) for seed in range(3))
    density = {} if method == "task_arithmetic" else {"density": [0.3, 0.6]}
    found = merge_state_dicts({"a": a, "b": b}, method, base=base, seed=5, weight=[0.7, 0.2], **density)
    alone = methods.get(method)
    expected = {
        name: alone(
            [a[name], b[name]],
            base=base[name],
            seed=5,
            names=["a", "b"],
            tensor_name=name,
            weight=[0.7, 0.2],
            **density,
        )
        for name in base
    }
    assert_same(found, expected)


def test_slerp_has_one_model_and_its_base() -> None:
    a, b = {"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([0.0, 2.0])}
    found = merge_state_dicts([b], "slerp", base=a, t=0.5)["w"]
    torch.testing.assert_close(found, torch.tensor([0.5**0.5, 2 * 0.5**0.5]))


GRADIENT = {f"layers.{i}.weight": torch.ones(2) for i in range(3)}


@pytest.mark.parametrize("many", [tuple, list])
def test_a_gradient_of_a_shared_parameter(many: Any) -> None:
    """A list, as a recipe has it, is taken for a plain value and crashes; a tuple is not."""
    other = {name: 3 * tensor for name, tensor in GRADIENT.items()}
    found = merge_state_dicts([other], "slerp", base=GRADIENT, t=many([0, 0.5, 1]))
    assert [tensor[0].item() for tensor in found.values()] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "weight",
    [
        {"a": [1, 0.5, 0], "b": [0, 0.5, 1]},
        {"a": [{"filter": "0", "value": 1}, {"value": 0.5}], "b": 0.5},
        [[1, 0.5, 0], [0, 0.5, 1]],
    ],
    ids=["gradients by name", "filters", "gradients in a row"],
)
def test_gradients_and_filters_of_weights(weight: Any) -> None:
    other = {name: 3 * tensor for name, tensor in GRADIENT.items()}
    assert merge_state_dicts({"a": GRADIENT, "b": other}, weight=weight).keys() == GRADIENT.keys()


@pytest.mark.parametrize("weight", [[1, 1, 2], {"0": 1, "1": 1, "base": 2}], ids=str)
def test_a_base_that_counts_as_one_more_model_has_a_weight(weight: Any) -> None:
    found = merge_state_dicts([A, B], "linear", base=ZERO, weight=weight)
    assert found["w"].tolist() == [0.0, 1.0, 2.0, 3.0]


# --- what comes back


def test_names_come_in_the_order_of_the_state_dicts() -> None:
    first = {"z": torch.ones(1), "a": torch.ones(1), "m": torch.ones(1)}
    again = {name: first[name] for name in ("m", "a", "z")}
    assert list(merge_state_dicts([first, again], weight=1)) == ["z", "a", "m"]


def test_the_result_is_a_plain_dict_of_plain_tensors() -> None:
    model = torch.nn.Linear(2, 2)
    found = merge_state_dicts([model.state_dict(), OrderedDict(model.state_dict())], weight=1)
    assert type(found) is dict
    assert {type(tensor) for tensor in found.values()} == {Tensor}
    model.load_state_dict(found)


def test_shapes_of_every_kind() -> None:
    model = {
        "scalar": torch.tensor(2.0),
        "empty": torch.empty(0, 3),
        "one": torch.ones(1, 1, 1),
        "four": torch.arange(16.0).reshape(2, 2, 2, 2),
    }
    assert_same(merge_state_dicts([model, model], weight=1), model)


def test_nothing_merged_is_nothing() -> None:
    assert merge_state_dicts([{}, {}], weight=1) == {}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_dtype_that_is_asked_for(dtype: str) -> None:
    model = {"w": torch.ones(2), "n": torch.tensor([1, 2])}
    found = merge_state_dicts([model, model], weight=1, dtype=dtype)
    assert (found["w"].dtype, found["n"].dtype) == (getattr(torch, dtype), torch.int64)


def test_buffers_that_agree_are_copied() -> None:
    batch_norm = torch.nn.BatchNorm1d(3).state_dict()
    assert_same(merge_state_dicts([batch_norm, batch_norm], weight=1), batch_norm)


def test_masks_depend_on_names_and_seed() -> None:
    def drop(names: tuple[str, str], seed: int) -> Tensor:
        models = dict(zip(names, ({"w": torch.ones(500)}, {"w": torch.ones(500) * 2})))
        base = {"w": torch.zeros(500)}
        return merge_state_dicts(models, "dare_linear", base=base, weight=1, density=0.5, seed=seed)["w"]

    assert torch.equal(drop(("a", "b"), 1), drop(("a", "b"), 1))
    assert not torch.equal(drop(("a", "b"), 1), drop(("a", "b"), 2))
    assert not torch.equal(drop(("a", "b"), 1), drop(("a", "c"), 1))


# --- what is refused


def test_an_unknown_parameter() -> None:
    with refused(RecipeError, "unknown-parameter", "wieght", "did you mean `weight`?"):
        merge_state_dicts([A, B], wieght=1)


def test_an_unknown_method() -> None:
    with refused(RecipeError, "unknown-method", "liner", "did you mean `linear`?"):
        merge_state_dicts([A, B], "liner", weight=1)


def test_a_missing_parameter_names_the_model() -> None:
    with refused(RecipeError, "missing-parameter", "linear needs `weight` for `b`"):
        merge_state_dicts({"a": A, "b": B}, weight={"a": 1})


def test_weights_for_strangers() -> None:
    with refused(RecipeError, "bad-argument", "weight", "'c'"):
        merge_state_dicts({"a": A, "b": B}, weight={"a": 1, "c": 1})


@pytest.mark.parametrize("weight", [[1], [1, 2, 3], []], ids=str)
def test_the_wrong_number_of_weights(weight: list[float]) -> None:
    with refused(RecipeError, "bad-argument", "must have 2 values", f"found {len(weight)}"):
        merge_state_dicts([A, B], weight=weight)


@pytest.mark.parametrize("weight", ["much", True, None, float("nan"), {1.0, 2.0}], ids=str)
def test_weights_that_are_no_numbers(weight: Any) -> None:
    with pytest.raises(RecipeError) as caught:
        merge_state_dicts([A, B], weight=weight)
    assert set(caught.value.codes) <= {"wrong-type", "out-of-range"}


def test_a_parameter_out_of_range() -> None:
    with refused(RecipeError, "out-of-range", "density", "(0, 1]"):
        merge_state_dicts([A], "ties", base=ZERO, weight=1, density=1.5)


def test_weights_that_sum_to_zero() -> None:
    with refused(RecipeError, "zero-weight-sum"):
        merge_state_dicts([A, B], weight=[1, -1])


def test_a_method_without_its_base() -> None:
    with refused(RecipeError, "missing-base"):
        merge_state_dicts([A, B], "ties", weight=1)


def test_too_many_models() -> None:
    with refused(RecipeError, "wrong-number-of-models"):
        merge_state_dicts([A, B], "slerp", base=ZERO, t=0.5)


def test_no_models() -> None:
    with pytest.raises(RecipeError):
        merge_state_dicts([], weight=1)


def test_a_model_called_as_the_base() -> None:
    with refused(RecipeError, "duplicate-model", "`base`"):
        merge_state_dicts({"base": A}, "ties", base=ZERO, weight=1)
    assert merge_state_dicts({"base": A, "b": B}, weight=1)["w"].tolist() == [0.0, 2.0, 4.0, 6.0]


def test_names_that_are_no_text() -> None:
    with pytest.raises(CuveeError):
        merge_state_dicts({0: A, 1: B}, weight=1)  # type: ignore[dict-item]


@pytest.mark.parametrize("dtype", ["int8", "half", ""])
def test_a_dtype_that_cannot_be_written(dtype: str) -> None:
    with refused(RecipeError, "wrong-value", "`dtype` should be bfloat16, float16, float32 or float64"):
        merge_state_dicts([A, B], weight=1, dtype=dtype)


def test_a_missing_tensor() -> None:
    with refused(InputError, "missing-tensor", "tensor x: in b but not in a"):
        merge_state_dicts({"a": A, "b": B | {"x": torch.ones(1)}}, weight=1)


def test_a_missing_tensor_has_advice_that_can_be_followed() -> None:
    models = {"a": A, "b": B | {"x": torch.ones(1)}}
    with pytest.raises(InputError) as caught:
        merge_state_dicts(models, weight=1)
    assert "set `missing` to `copy`" in str(caught.value)
    assert merge_state_dicts(models, weight=1, missing="copy")["x"].tolist() == [1.0]


def test_different_shapes() -> None:
    with refused(InputError, "shape-mismatch", "a [4], b [2, 2]"):
        merge_state_dicts({"a": A, "b": {"w": torch.ones(2, 2)}}, weight=1)


def test_buffers_that_differ() -> None:
    with refused(InputError, "unmergeable-dtype", "tensor n (int64)", "a and b differ"):
        merge_state_dicts({"a": {"n": torch.tensor([1])}, "b": {"n": torch.tensor([2])}}, weight=1)


@pytest.mark.parametrize("threads", [1, 2])
def test_numbers_that_are_none(threads: int) -> None:
    ill = {"w": torch.tensor([0.0, float("nan"), 1.0, 2.0])}
    with refused(InputError, "non-finite", "b: tensor w must be finite; entry 1 is nan"):
        merge_state_dicts({"a": A, "b": ill}, weight=1, threads=threads)
    found = merge_state_dicts({"a": A, "b": ill}, weight=1, threads=threads, allow_nonfinite=True)
    assert found["w"].nan_to_num(-1.0).tolist() == [0.0, -1.0, 1.5, 2.5]


def test_everything_wrong_with_the_state_dicts_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        merge_state_dicts({"a": {"w": torch.ones(2), "x": 3, "y": torch.eye(2).to_sparse()}}, weight=1)
    assert [fault.subject for fault in caught.value.faults] == ["x", "y"]


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one(threads: int) -> None:
    with refused(UsageError, "bad-argument", "threads"):
        merge_state_dicts([A, B], weight=1, threads=threads)


def test_inputs_are_never_changed() -> None:
    models = [decoder(seed) for seed in range(3)]
    before = [{n: t.clone() for n, t in m.items()} for m in models]
    merge_state_dicts(models[1:], "ties", base=models[0], weight=1, density=0.5)
    for model, kept in zip(models, before):
        assert_same(model, kept)


# --- imports


def test_nothing_large_is_imported_but_torch() -> None:
    code = """
import sys, torch
before = set(sys.modules)
import cuvee
cuvee.merge_state_dicts([{"w": torch.ones(2)}], weight=1)
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(new & {"transformers", "huggingface_hub", "safetensors", "ruamel", "rich", "cyclopts", "numpy", "peft"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_is_a_public_name() -> None:
    assert cuvee.merge_state_dicts is merge_state_dicts
