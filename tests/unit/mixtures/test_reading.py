"""A mixture's YAML: what is read, and what is told of what is wrong, where."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvee import methods
from cuvee.api import route_prompts, upcycled
from cuvee.errors import InputError, RecipeError, UsageError
from cuvee.mixtures.model import Expert, Mixture
from cuvee.mixtures.reading import parse_mixture, read_mixture
from cuvee.mixtures.written import to_data, to_yaml
from cuvee.recipe import parse_text
from cuvee.types import ModelRef

WRONG = """\
base_model: a
gate_mode: hiden
experts_per_token: 5
dtype: float31
architecture: mixtrel
experts:
  - source_model: b
    positive_promts: [x]
  - source_model: 3
    positive_prompts: 4
    noise_scale: -1
shared_experts:
  - {source_model: c}
  - {source_model: d, residual_scale: .inf}
"""


def test_mergekits_keys_are_read(tmp_path: Path) -> None:
    mixture = parse_mixture(
        "base_model: a\n"
        "gate_mode: cheap_embed\n"
        "dtype: bfloat16\n"
        "experts_per_token: 1\n"
        "architecture: qwen\n"
        "experts:\n"
        "  - {source_model: b+adapter, positive_prompts: [x, y], negative_prompts: [z]}\n"
        "  - {source_model: c@main, positive_prompts: [w], noise_scale: 0.1, residual_scale: 0.5}\n"
        "shared_experts:\n"
        "  - {source_model: d, positive_prompts: [v]}\n",
        root=tmp_path,
    )
    assert mixture == Mixture(
        base=ModelRef("a"),
        experts=(
            Expert(ModelRef("b", adapter=ModelRef("adapter")), ("x", "y"), ("z",)),
            Expert(ModelRef("c", "main"), ("w",), (), 0.1, 0.5),
        ),
        shared=(Expert(ModelRef("d"), ("v",)),),
        gate_mode="cheap_embed",
        dtype="bfloat16",
        per_token=1,
        architecture="qwen",
    )


def test_everything_that_is_wrong_is_told_at_once_and_where() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_mixture(WRONG, "bad.yml")
    found = {(fault.place.line, fault.code) for fault in caught.value.faults if fault.place}
    assert {line for line, _ in found} == {2, 3, 4, 5, 8, 9, 10, 11, 14}
    assert (3, "bad-mixture") in found
    assert (5, "no-layout") in found
    assert "did you mean `positive_prompts`?" in str(caught.value)
    assert "shared_experts` should name at most one expert, found 2" in str(caught.value)


@pytest.mark.parametrize("mode", ["hidden", "hidden_avg", "hidden_last", "cheap_embed"])
def test_an_expert_needs_prompts_where_routers_come_from_them(mode: str) -> None:
    experts = [{"source_model": "b", "positive_prompts": ["x"]}, {"source_model": "c", "positive_prompts": []}]
    with pytest.raises(RecipeError, match="entry 2 of `experts` should have `positive_prompts`") as caught:
        read_mixture({"base_model": "a", "gate_mode": mode, "experts": experts})
    assert [fault.code for fault in caught.value.faults] == ["bad-mixture"]


@pytest.mark.parametrize("mode", ["random", "uniform_random"])
def test_random_routers_need_none(mode: str) -> None:
    experts = [{"source_model": name} for name in "bc"]
    assert read_mixture({"base_model": "a", "gate_mode": mode, "experts": experts}).gate_mode == mode


def test_prompts_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "maths.txt").write_text("one\n\ntwo\n", "utf-8")
    experts = [{"source_model": "b", "positive_prompts": ["zero"], "positive_prompts_file": "maths.txt"}]
    whole: dict[str, Any] = {"base_model": "a", "experts_per_token": 1, "experts": experts}
    assert read_mixture(whole, tmp_path).experts[0].positive == ("zero", "one", "two")
    experts[0]["positive_prompts_file"] = "physics.txt"
    with pytest.raises(RecipeError) as caught:
        read_mixture(whole, tmp_path)
    assert [fault.code for fault in caught.value.faults] == ["data-missing"]


@pytest.mark.parametrize("kind", ["a pipe", "huge", "binary", "a folder"])
def test_files_that_hold_no_prompts_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    """A pipe that nobody writes to is not waited for, and what is larger than prompts are is not read."""
    file = tmp_path / "prompts.txt"
    if kind == "a pipe":
        os.mkfifo(file)
    elif kind == "huge":
        with file.open("wb") as stream:
            stream.truncate(1 << 40)
    elif kind == "binary":
        file.write_bytes(b"\xff\xfe\x00")
    else:
        file.mkdir()
    expert = {"source_model": "b", "positive_prompts_file": file.name}
    with pytest.raises(RecipeError, match="names a file"):
        read_mixture({"base_model": "a", "experts_per_token": 1, "experts": [expert]}, tmp_path)
    with pytest.raises(InputError, match=r"prompts\.txt"):
        route_prompts(tmp_path, {"a": file})


@pytest.mark.parametrize("text", ["", "3\n", "[a]\n", "base_model: a\n", "base_model: a\nexperts: []\n"])
def test_what_is_no_mixture_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        parse_mixture(text)


@pytest.mark.parametrize("read", [parse_mixture, lambda text: parse_text(text, methods.specs())], ids=["moe", "merge"])
def test_a_recipe_and_a_mixture_are_told_from_each_other(read: Callable[[str], object]) -> None:
    mixture = "base_model: a\ngate_mode: hidden\nexperts:\n  - source_model: b\n    positive_prompts: [x]\n"
    recipe = "merge_method: linear\nmodels:\n  - model: a\n  - model: b\n"
    text, line, words = (recipe, 1, "cuvee merge") if read is parse_mixture else (mixture, 3, "cuvee moe")
    with pytest.raises(RecipeError, match=words) as caught:
        read(text)
    (fault,) = caught.value.faults
    assert (fault.code, fault.place and fault.place.line) == ("missing-key", line)


def test_messages_of_mixtures_speak_of_mixtures(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("a: [", "utf-8")
    (tmp_path / "large.yml").write_text("#" * 1_000_001, "utf-8")
    (tmp_path / "latin.yml").write_bytes(b"a: \xe9\n")
    (tmp_path / "twice.yml").write_text("base_model: a\nbase_model: b\n", "utf-8")
    for name in ("bad", "large", "latin", "twice", "missing"):
        with pytest.raises(RecipeError) as caught:
            read_mixture(tmp_path / f"{name}.yml")
        assert "recipe" not in str(caught.value), name


def test_numbers_that_are_refused_say_what_is_taken() -> None:
    whole: dict[str, Any] = {"base_model": "a", "gate_mode": "random", "experts": [{"source_model": "b"}] * 2}
    assert read_mixture({**whole, "gate_scale": 0}).gate_scale == 0
    with pytest.raises(RecipeError, match="gate_scale` should be at least 0, found -1"):
        read_mixture({**whole, "gate_scale": -1})
    for seed in (2**64, -(2**64)):
        with pytest.raises(RecipeError, match="seed` should be an integer that 64 bits hold"):
            read_mixture({**whole, "seed": seed})
        with pytest.raises(UsageError, match="seed` must be an integer that 64 bits hold"):
            upcycled("a", 2, seed=seed)


def test_what_is_written_is_read_back() -> None:
    experts = (Expert(ModelRef("b"), ("on", "1"), ("- x",), 0.5, 2.0), Expert(ModelRef("c@d"), ("y",)))
    mixture = Mixture(ModelRef("a"), experts, experts[:1], "random", "float16", 1, "qwen2_moe", "average", 7, 0.02)
    assert parse_mixture(to_yaml(mixture)) == mixture
    assert read_mixture(to_data(mixture)) == mixture
