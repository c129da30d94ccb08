"""docs/methods/ is what the methods declare, and the recipes on its pages are good ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cuvee import methods
from cuvee.methods.pages import index, page
from cuvee.recipe import parse_text

FOLDER = Path(__file__).parents[2] / "docs" / "methods"
AGAIN = "run `python tools/write_method_pages.py`"


def test_every_method_has_its_page_and_nothing_else_has_one() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == {*methods.names(), "README"}, AGAIN


@pytest.mark.parametrize("name", methods.names())
def test_a_page_is_what_its_method_declares(name: str) -> None:
    assert (FOLDER / f"{name}.md").read_text("utf-8") == page(methods.get(name).spec), AGAIN


def test_the_list_is_that_of_all_methods() -> None:
    text = (FOLDER / "README.md").read_text("utf-8")
    assert text == index(methods.specs()), AGAIN
    assert set(re.findall(r"\[`(\w+)`\]", text)) == set(methods.names())


@pytest.mark.parametrize("name", methods.names())
def test_the_recipe_on_a_page_is_right(name: str) -> None:
    recipe = re.search(r"```yaml\n(.*?)```", page(methods.get(name).spec), re.DOTALL)
    assert recipe is not None
    assert parse_text(recipe[1], methods.specs()).method == name


@pytest.mark.parametrize("name", methods.names())
def test_a_method_has_a_family(name: str) -> None:
    assert methods.get(name).spec.family != "other"


def test_what_grows_faster_than_the_models_says_so() -> None:
    silent = [name for name, spec in methods.specs().items() if spec.scope == "matrix" and not spec.cost]
    assert silent == []
