"""A method called on tensors: what it takes, what it refuses, and what its masks depend on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cuvee import methods
from cuvee.errors import CuveeError, UsageError
from cuvee.methods.tiles import mask_keys

A, B = torch.tensor([0.0, 2.0]), torch.tensor([4.0, 2.0])


def linear(*given: Any, **more: Any) -> Tensor:
    return methods.get("linear")(*given, **more)


class Array:
    """Numbers of another library: all that is asked of them is `tolist`."""

    def __init__(self, values: object) -> None:
        self._values = values

    def tolist(self) -> object:
        return self._values

    def __repr__(self) -> str:
        return f"Array({self._values})"


# --- numbers in any dress


@pytest.mark.parametrize(
    "weight", [[1, 3], (1, 3), torch.tensor([1, 3]), torch.tensor([1.0, 3.0]), Array([1, 3])], ids=lambda w: type(w)
)
def test_one_weight_per_model(weight: Any) -> None:
    assert linear([A, B], weight=weight).tolist() == [3.0, 2.0]


@pytest.mark.parametrize("weight", [2, 2.0, torch.tensor(2.0), Array(2)], ids=lambda w: type(w))
def test_one_weight_for_all(weight: Any) -> None:
    assert linear([A, B], weight=weight).tolist() == [2.0, 2.0]


def test_rows_of_one_tensor_are_models() -> None:
    assert linear(torch.stack([A, B]), weight=1).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("normalize", [0, False])
def test_a_switch_may_be_a_number(normalize: Any) -> None:
    assert linear([A, B], weight=1, normalize=normalize).tolist() == [4.0, 4.0]


# --- refused, all at once


@pytest.mark.parametrize("weight", [None, [None, 1], {}, {"a": 1}, "1", [[1], [2]], float("nan"), True], ids=str)
def test_what_is_no_weight(weight: Any) -> None:
    with pytest.raises(UsageError, match="`weight` must be a number; found") as caught:
        linear([A, B], weight=weight)
    assert set(caught.value.codes) <= {"out-of-range", "bad-argument"}


@pytest.mark.parametrize("t", [[0.1], (0.1, 0.2), None])
def test_a_shared_parameter_is_one_number(t: Any) -> None:
    with pytest.raises(UsageError, match="`t` must be a number in"):
        methods.get("slerp")([B], base=A, t=t)


@pytest.mark.parametrize("given", [[1.0, 2.0], [[1.0], [2.0]], [None], [Array([1.0])]], ids=repr)
def test_what_is_no_tensor(given: Any) -> None:
    with pytest.raises(UsageError, match="models are given as tensors"):
        linear(given, weight=1)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64], ids=str)
def test_only_floats_are_merged(dtype: torch.dtype) -> None:
    with pytest.raises(UsageError, match="only float tensors can be merged") as caught:
        linear([A.to(dtype), B.to(dtype)], weight=1)
    assert caught.value.codes == ("unmergeable-dtype",)


def test_tensors_without_data() -> None:
    with pytest.raises(UsageError, match="meta device"):
        linear([A.to("meta")], weight=1)


def test_all_faults_come_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        methods.get("ties")([A.int(), B.int()], densty=0.5, density=2, weight="x", names=["a"])
    assert sorted(caught.value.codes) == [
        *("bad-argument", "missing-base", "out-of-range", "out-of-range", "unknown-parameter", "unmergeable-dtype")
    ]


@pytest.mark.parametrize(
    "given", [{"names": [1, 2]}, {"seed": "x"}, {"seed": 1.5}, {"tile": 0}, {"tile": 2.5}], ids=str
)
def test_arguments_that_are_no_parameters(given: Any) -> None:
    with pytest.raises(UsageError, match=f"`{next(iter(given))}` must"):
        linear([A, B], weight=1, **given)


@pytest.mark.parametrize("name", [None, 3, [], "linaer"])
def test_a_method_of_no_such_name(name: Any) -> None:
    with pytest.raises(CuveeError, match="there is no merge method"):
        methods.get(name)


def test_a_method_that_always_divides() -> None:
    """One that declares a divisor and no `normalize`."""
    spec = methods.get("linear").spec
    always = replace(spec, params=spec.params[:1])
    method = replace(methods.get("linear"), spec=always, wants=frozenset({"weight"}))
    with pytest.raises(UsageError, match="divided by their sum"):
        method([A, B], weight=[1, -1])


# --- where tensors lie


@pytest.mark.parametrize("method", ["linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties"])
def test_the_default_device_has_no_say(method: str) -> None:
    settings = {"slerp": {"t": 0.3}}.get(method, {"weight": 0.5})
    base = {} if method == "linear" else {"base": A}
    expected = methods.get(method)([B] if base else [A, B], **base, **settings)
    with torch.device("meta"):
        assert methods.get(method)([B] if base else [A, B], **base, **settings).equal(expected)


# --- masks


def test_a_model_that_stands_there_twice_has_two_masks() -> None:
    keys = mask_keys(0, ["a", "b", "a", "a"], "w")
    assert len(set(keys)) == 4
    assert keys[:2] == mask_keys(0, ["a", "b"], "w")
    assert keys[2] != mask_keys(0, ["a2"], "w")[0]


@pytest.mark.parametrize("method", ["linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties"])
def test_parameters_of_a_live_model_are_tensors(method: str) -> None:
    settings = {"slerp": {"t": 0.3}}.get(method, {"weight": 0.5})
    base = {} if method == "linear" else {"base": torch.nn.Parameter(A.clone())}
    live = torch.nn.Parameter(B.clone())
    found = methods.get(method)([live], **base, **settings)
    plain = methods.get(method)([B], **({"base": A} if base else {}), **settings)
    assert found.detach().equal(plain)
    assert live.equal(B)
