"""docs/search.md: its recipe is one, and its tables are whole."""

from __future__ import annotations

import re
from pathlib import Path

from cuvee.recipe.files import documents_of
from cuvee.searching.reading import read_space
from cuvee.searching.space import fill
from cuvee.searching.strategy import STRATEGIES

PAGE = (Path(__file__).parents[3] / "docs" / "search.md").read_text("utf-8")


def test_the_recipe_of_the_page_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    space = read_space(documents_of(text, "search.md"), None)
    assert len(space.holes) == 13
    assert "scale" in space.start
    assert fill(space, space.start).method == "task_arithmetic"


def test_every_strategy_is_on_the_page() -> None:
    told = set(re.findall(r"`([a-z0-9-]+)`", PAGE.split("## Strategies")[1].split("## Objectives")[0]))
    assert {*STRATEGIES, "learned-soup"} - {"pool"} <= told
