"""Recipes inside recipes that would never end, grow without bound, or reach where they should not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cuvee import methods
from cuvee.api.nesting import folder_for
from cuvee.errors import CuveeError, RecipeError, UsageError
from cuvee.recipe import from_data, parse_file, parse_text
from cuvee.recipe.limits import MAX_DEPTH, MAX_STAGES

SPECS = methods.specs()


def linear(*models: str) -> str:
    listed = "".join(f"  - {{model: {model}, parameters: {{weight: 1}}}}\n" for model in models)
    return f"merge_method: linear\nmodels:\n{listed}"


def refused(read: object, argument: object, code: str) -> RecipeError:
    """The error of a recipe that must be refused within a few seconds."""
    start = time.perf_counter()
    with pytest.raises(RecipeError) as caught:
        read(argument, SPECS)  # type: ignore[operator]
    assert code in caught.value.codes, str(caught.value)
    assert time.perf_counter() - start < 10
    return caught.value


def test_documents_that_double_with_every_level() -> None:
    documents = [f"name: d0\n{linear('a', 'b')}"]
    for level in range(1, 60):
        documents += [f"name: d{level}{c}\n{linear(f'd{level - 1}', c)}" for c in "xyz"]
        documents.append(f"name: d{level}\n{linear(*(f'd{level}{c}' for c in 'xyz'))}")
    refused(parse_text, "---\n".join(documents[: 4 * 4 + 1]), "recipe-too-large")
    assert len(documents) > MAX_STAGES
    refused(parse_text, "---\n".join(documents), "recipe-too-large")


def test_recipes_that_double_by_aliases() -> None:
    lines = ["a0: &a0 {merge_method: linear, models: [{model: a}], parameters: {weight: 1}}"]
    for level in range(1, 20):
        both = ", ".join(f"{{model: *a{level - 1}}}" for _ in range(10))
        lines.append(f"a{level}: &a{level} {{merge_method: linear, models: [{both}], parameters: {{weight: 1}}}}")
    refused(parse_text, "\n".join(lines), "recipe-too-large")


def test_files_that_double_with_every_level(tmp_path: Path) -> None:
    (tmp_path / "0.yml").write_text(linear("a", "b"))
    for level in range(1, 12):
        for copy in range(4):
            os.link(tmp_path / f"{level - 1}.yml", tmp_path / f"{level - 1}-{copy}.yml")
        (tmp_path / f"{level}.yml").write_text(linear(*(f"{level - 1}-{copy}.yml" for copy in range(4))))
    refused(parse_file, tmp_path / "4.yml", "recipe-too-large")
    refused(parse_file, tmp_path / "11.yml", "recipe-too-large")


def test_more_files_than_any_recipe_has(tmp_path: Path) -> None:
    for number in range(MAX_STAGES + 5):
        (tmp_path / f"{number}.yml").write_text(linear("a", f"b{number}"))
    (tmp_path / "all.yml").write_text(linear(*(f"{number}.yml" for number in range(MAX_STAGES + 5))))
    refused(parse_file, tmp_path / "all.yml", "recipe-too-large")


def test_recipes_deeper_than_any_stack() -> None:
    data: dict[str, object] = {"merge_method": "linear", "models": [{"model": "a"}], "parameters": {"weight": 1}}
    for _ in range(MAX_DEPTH * 40):
        data = {"merge_method": "linear", "models": [{"model": data}]}
    refused(from_data, data, "recipe-too-large")


@pytest.mark.parametrize("kind", ["itself", "a link", "a hard link", "a chain", "through ..", "another document"])
def test_files_that_lead_back_to_themselves(tmp_path: Path, kind: str) -> None:
    asked, other = tmp_path / "asked.yml", tmp_path / "other.yml"
    (tmp_path / "sub").mkdir()
    way = {"itself": "asked.yml", "through ..": "sub/../asked.yml"}.get(kind, "other.yml")
    several = f"name: x\n{linear('a', way)}---\n{linear('x')}"
    asked.write_text(several if kind == "another document" else linear("a", way))
    if kind == "a link":
        other.symlink_to(asked)
    elif kind == "a hard link":
        os.link(asked, other)
    elif kind in ("a chain", "another document"):
        other.write_text(linear("b", "asked.yml"))
    error = refused(parse_file, asked, "recipe-cycle")
    assert ".yml → " in str(error) or "x → x" in str(error)


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a large file", "a binary", "a long name"])
def test_inner_files_that_are_no_recipes(tmp_path: Path, kind: str) -> None:
    inner = tmp_path / "inner.yml"
    if kind == "a pipe":
        os.mkfifo(inner)
    elif kind == "a device":
        inner.symlink_to("/dev/zero")
    else:
        inner.write_bytes(b"#" * 2_000_000 if kind == "a large file" else b"\xff\xfe\x00")
    (tmp_path / "outer.yml").write_text(linear("a", f"{'x' * 5000}.yml" if kind == "a long name" else "inner.yml"))
    with pytest.raises(CuveeError):
        parse_file(tmp_path / "outer.yml", SPECS)


@pytest.mark.parametrize("name", ["..", "../x", "/x", "a/../../x", "", "a\0b", "."])
def test_names_that_lead_out_of_the_folder_of_intermediates(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        folder_for(tmp_path, name)


def test_a_document_that_takes_the_name_of_a_recipe_in_its_place() -> None:
    inner = "{name: x, merge_method: linear, models: [{model: b}], parameters: {weight: 1}}"
    text = f"name: x\n{linear('a')}---\n{linear('x', inner)}"
    error = refused(parse_text, text, "bad-stage")
    assert "two" in str(error)
