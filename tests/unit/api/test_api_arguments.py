"""Calls with things of another type than they take: told what was expected and what was found, and nothing is done."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import cuvee
from cuvee.api.arguments import as_path
from cuvee.errors import CuveeError, RecipeError, UsageError
from tests.support.merging import files, linear, picture
from tests.support.yard import Yard, new_yard

A = {"w": torch.arange(4.0)}
B = {"w": torch.arange(4.0) * 3}
MODULE = torch.nn.Linear(2, 2)


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    """Models, a recipe, and the working folder beside them."""
    made = new_yard(tmp_path)
    made.file(linear("a", "b"))
    monkeypatch.chdir(tmp_path)
    return made


def refusal(call: Callable[..., object], *given: Any, **settings: Any) -> UsageError:
    """The error of a call that is wrong in itself."""
    with pytest.raises(CuveeError) as caught:
        call(*given, **settings)
    assert (type(caught.value), set(caught.value.codes)) == (UsageError, {"bad-argument"})
    return caught.value


# --- recipes and paths

NO_PATHS = [None, 5, True, [], {"w": 1}, b"out", object(), SimpleNamespace(__fspath__="x"), MODULE]


@pytest.mark.parametrize("recipe", [r for r in NO_PATHS if not isinstance(r, dict)], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("call", [cuvee.plan, lambda recipe: cuvee.merge(recipe, "out")], ids=["plan", "merge"])
def test_what_is_no_recipe(yard: Yard, call: Callable[[Any], object], recipe: Any) -> None:
    told = str(refusal(call, recipe))
    assert told.startswith("`recipe` must be a recipe, a mapping with its keys, or the path of its file; found ")
    assert not yard.out.exists()


@pytest.mark.parametrize("data", [None, 5, "recipe.yml", Path("recipe.yml"), [("merge_method", "linear")]], ids=repr)
def test_what_is_no_mapping(data: Any) -> None:
    told = str(refusal(cuvee.recipe_from, data))
    assert "`data` must be a mapping with the recipe's keys; found " in told
    assert "`load_recipe`" in told


@pytest.mark.parametrize("path", [None, 5, {}, b"recipe.yml"], ids=repr)
def test_what_is_no_recipe_file(path: Any) -> None:
    assert "`path` must be the path of a recipe file; found " in str(refusal(cuvee.load_recipe, path))


@pytest.mark.parametrize("root", [5, [], ""], ids=repr)
def test_what_is_no_root(root: Any) -> None:
    refusal(cuvee.recipe_from, linear("a", "b"), root=root)


@pytest.mark.parametrize("given", NO_PATHS, ids=lambda r: type(r).__name__)
def test_what_is_no_path(yard: Yard, given: Any) -> None:
    """`str` makes a text of anything: a folder called `None` is nobody's wish."""
    before = picture(yard.root)
    assert "the output must be a folder's name; found " in str(refusal(cuvee.merge, "recipe.yml", given))
    assert "a model must be a folder or weight file; found " in str(refusal(cuvee.verify, given))
    for look in (cuvee.inspect, lambda m: cuvee.diff("a", m), lambda m: cuvee.diff(m, "a")):
        assert "a model should be `path` or `path@revision`, found " in str(refusal(look, given))
    if given is not None:
        refusal(cuvee.diff, "a", "b", base=given)
    assert picture(yard.root) == before


def test_none_and_short_words_are_what_is_found() -> None:
    for value, words in (
        (None, "found None"),
        (7, "found 7"),
        ([1], "found a list"),
        (MODULE, "found a Python Linear"),
    ):
        with pytest.raises(UsageError, match=f"rule; {words}\n"):
            as_path(value, "out", "rule")


def test_every_path_like_is_a_path(yard: Yard) -> None:
    with os.scandir(".") as entries:
        entry = {entry.name: entry for entry in entries}
    cuvee.merge(entry["recipe.yml"], "one")  # a DirEntry is no Path
    cuvee.merge(Path("recipe.yml"), Path("two"))
    assert files(yard.root / "one") == files(yard.root / "two")
    assert cuvee.inspect(entry["a"]).tensors == 9


def test_a_recipe_that_was_changed_by_hand_is_checked(yard: Yard) -> None:
    good = cuvee.load_recipe("recipe.yml")
    assert cuvee.plan(good).merged
    for bad, code in ((replace(good, method="liner"), "unknown-method"), (replace(good, models=()), "missing-key")):
        with pytest.raises(RecipeError) as caught:
            cuvee.plan(bad)
        assert code in caught.value.codes


# --- settings of a merge

WRONG: dict[str, list[Any]] = {
    "seed": [None, "x", 1.5, True, []],
    "threads": ["x", 1.5, True, 0, []],
    "tile": ["x", 1.5, True, 0, []],
    "shard_size": [None, "x", 1.5, True, 0, []],
    "runner": [None, "x", []],
    "overwrite": [None, "no", 1, []],
    "allow_nonfinite": [None, "no", 1, []],
    "sha256": [None, "no", 1, []],
    "progress": ["no", 1, []],
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_of_the_wrong_type(yard: Yard, name: str) -> None:
    before = picture(yard.root)
    for value in WRONG[name]:
        told = str(refusal(cuvee.merge, "recipe.yml", "out", **{name: value}))
        assert f"`{name}` must be " in told or name == "shard_size"
    assert picture(yard.root) == before


def test_all_that_is_wrong_with_a_call_is_told_at_once(yard: Yard) -> None:
    error = refusal(cuvee.merge, "recipe.yml", "out", seed="x", threads=0, overwrite="no", progress=5)
    assert [fault.subject for fault in error.faults] == ["seed", "threads", "overwrite", "progress"]


@pytest.mark.parametrize("call", [cuvee.verify, lambda m, progress: cuvee.diff(m, m, progress=progress)])
def test_progress_must_be_a_function(yard: Yard, call: Callable[..., object]) -> None:
    assert "`progress` must be a function; found 5" in str(refusal(call, "a", progress=5))


# --- state dicts

NO_MODELS: dict[str, tuple[Any, list[str]]] = {
    "one state dict": (A, ["`models` must be several state dicts", "found one state dict", "put it in a list"]),
    "nothing": (None, ["`models` must be state dicts, by name or in a list; found None"]),
    "a number": (5, ["found 5"]),
    "a module": (MODULE, ["found a Python Linear", "`model.state_dict()`"]),
    "a tensor": (torch.ones(2, 2), ["found a Python Tensor"]),
    "a path": ("a", ["found the text 'a'", "`cuvee.merge`"]),
    "modules": ([MODULE, A], ["`models[0]` must be a state dict; found a Python Linear", "`model.state_dict()`"]),
    "modules by name": ({"a": A, "b": MODULE}, ["`models['b']` must be a state dict", "`model.state_dict()`"]),
    "layers": (torch.nn.Sequential(MODULE, MODULE), ["`models[1]` must be a state dict", "`model.state_dict()`"]),
    "paths": (["a", Path("b")], ["`models[0]` must", "`models[1]` must", "`cuvee.merge`"]),
    "nothings": ([None, A], ["`models[0]` must be a state dict; found None"]),
    "tensors": ([torch.ones(2), A], ["`models[0]` must be a state dict; found a Python Tensor"]),
    "a tensor by name": ({"a": A, "b": torch.ones(2)}, ["`models['b']` must be a state dict; found a Python Tensor"]),
    "names that are numbers": ({0: A, 1: B}, ["models must be named by text; found 0, 1"]),
    "names that are bytes": ({b"a": A}, ["models must be named by text; found a Python bytes"]),
    "names that nobody can write": ({"\ud800": A}, ["models must be named by text"]),
    "tensors by number": ([A, {0: torch.ones(4)}], ["`models[1]` must name its tensors by text; found 0"]),
}


@pytest.mark.parametrize("case", NO_MODELS)
def test_what_are_no_state_dicts(case: str) -> None:
    models, words = NO_MODELS[case]
    told = str(refusal(cuvee.merge_state_dicts, models, weight=1))
    assert [word for word in words if word not in told] == [], told


@pytest.mark.parametrize("base", [5, [A], MODULE, "a", {0: torch.ones(4)}], ids=lambda b: type(b).__name__)
def test_what_is_no_base(base: Any) -> None:
    assert "`base` must " in str(refusal(cuvee.merge_state_dicts, [A, B], "ties", base=base, weight=1))


SETTINGS: dict[str, list[Any]] = {
    "method": [None, 5, [], {}, cuvee.methods.get("linear")],
    "dtype": [5, [], torch.float16],
    "missing": [None, 5, []],
    "seed": [None, "x", 1.5],
    "threads": ["x", 1.5, 0],
    "allow_nonfinite": [None, "no", 1],
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_in_memory_of_the_wrong_type(name: str) -> None:
    for value in SETTINGS[name]:
        told = str(refusal(cuvee.merge_state_dicts, [A, B], **{"weight": 1, name: value}))
        assert f"`{name}` must be " in told


def test_state_dicts_that_are_only_passed_by() -> None:
    expected = cuvee.merge_state_dicts([A, B], weight=1)["w"].tolist()
    for models in ((m for m in (A, B)), {"a": A, "b": B}.values(), (A, B)):
        assert cuvee.merge_state_dicts(models, weight=1)["w"].tolist() == expected  # type: ignore[arg-type]


ARRAYS: dict[str, Any] = {
    "an array": np.array([1, 3]),
    "a narrow array": np.array([1, 3], dtype=np.float16),
    "a tensor": torch.tensor([1.0, 3.0]),
    "a parameter": torch.nn.Parameter(torch.tensor([1.0, 3.0])),
    "scalars in a row": [np.float32(1), torch.tensor(3)],
    "a tuple of scalars": (torch.tensor(1.0), np.int64(3)),
    "scalars by name": {"0": torch.tensor(1.0), "1": np.array(3.0)},
}


@pytest.mark.parametrize("case", ARRAYS)
def test_weights_may_be_arrays(case: str) -> None:
    assert cuvee.merge_state_dicts([A, B], weight=ARRAYS[case])["w"].tolist() == [0.0, 2.5, 5.0, 7.5]


@pytest.mark.parametrize("t", [np.array([0, 0.5, 1]), torch.tensor([0, 0.5, 1])], ids=["array", "tensor"])
def test_a_gradient_may_be_an_array(t: Any) -> None:
    layers = {f"layers.{i}.weight": torch.ones(2) for i in range(3)}
    found = cuvee.merge_state_dicts([{n: 3 * x for n, x in layers.items()}], "slerp", base=layers, t=t)
    assert [tensor[0].item() for tensor in found.values()] == [1.0, 2.0, 3.0]


def test_a_switch_may_be_of_numpy() -> None:
    found = cuvee.merge_state_dicts([A, B], weight=[1, 3], normalize=np.bool_(False))
    assert found["w"].tolist() == [0.0, 10.0, 20.0, 30.0]


@pytest.mark.parametrize(
    "weight", [np.array([1, 2, 3]), torch.ones(1), np.array([1j, 1]), np.array(["a", "b"])], ids=str
)
def test_arrays_that_are_no_weights(weight: Any) -> None:
    with pytest.raises(RecipeError, match=re.escape("`weight`")):
        cuvee.merge_state_dicts([A, B], weight=weight)
