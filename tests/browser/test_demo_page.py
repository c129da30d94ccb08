"""The page that the demo ends with, opened from the disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from cuvee import demo
from tests.support.browsing import Seen, opening

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo.run(tmp_path_factory.mktemp("demo") / "out", seed=0, quick=True).out


@pytest.fixture
def open_page(browser: Browser, place: Path) -> Iterator[Callable[..., Seen]]:
    with opening(browser, place / "report.html") as made:
        yield made


def told(place: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / f"{name}.json").read_text("utf-8"))
    return found


def test_nothing_is_asked_for_and_nothing_goes_wrong(open_page: Callable[..., Seen], place: Path) -> None:
    for width, scheme in ((1280, "light"), (1280, "dark"), (360, "light")):
        seen = open_page(width=width, scheme=scheme)
        assert seen.requests == [(place / "report.html").as_uri()]
        assert seen.errors == []
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.page.locator("[data-chart]").count() == seen.page.locator("figure.drawn").count() > 8
        seen.shot(f"demo-{width}-{scheme}")


def test_every_score_stands_in_its_chart_by_its_label(open_page: Callable[..., Seen], place: Path) -> None:
    seen, compared = open_page(), told(place, "compare")
    for number, task in enumerate(compared["tasks"], start=1):
        assert seen.page.locator(f"#figure-task-{number} h3").text_content() == task
        assert len(seen.data(f"task-{number}")) == len(compared["models"])
        for one in compared["models"]:
            name, value = one["model"].rpartition("/")[2], one["tasks"][task]["value"]
            mark = seen.labelled(f"task-{number}", f"model: {name};")
            assert mark.count() == 1
            said = mark.get_attribute("aria-label") or ""
            assert f"score: {f'{value:.3f}' if value else '0'}" in said


def test_what_contributed_and_what_was_tried_are_those_of_the_commands(
    open_page: Callable[..., Seen], place: Path
) -> None:
    seen = open_page()
    for number, one in enumerate(told(place, "explain")["explanations"], start=1):
        rows = {(row["part"], row["kind"]): row["value"] for row in seen.data(f"explain-{number}")}
        for part in one["parts"]:
            name = part["name"].rpartition("/")[2]
            assert rows[name, "Shapley value"] == part["shapley"]["value"]
            assert seen.labelled(f"explain-{number}", f"part: {name};", "kind: Shapley value;").count() == 1
    (journal,) = place.glob("searches/searched/journal.jsonl")
    trials = [json.loads(line) for line in journal.read_text("utf-8").splitlines()[1:]]
    assert [row["gain"] for row in seen.data("search-1")] == pytest.approx(
        [sum(one["gains"]) / len(one["gains"]) for one in trials]
    )


def test_on_paper_no_table_is_cut_off(open_page: Callable[..., Seen]) -> None:
    seen = open_page(width=718)  # A4 between its margins
    seen.page.emulate_media(media="print")
    wide = "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth + 1)"
    assert seen.page.evaluate(f"{wide}.map((one) => one.ariaLabel)") == []


def test_a_layer_is_chosen_and_its_figures_are_told(open_page: Callable[..., Seen]) -> None:
    seen = open_page()
    seen.page.focus("#layer-tensor")
    seen.page.keyboard.press("ArrowDown")
    seen.page.wait_for_function("document.getElementById('layer-said').textContent.includes('layer 0')")
    assert seen.page.locator("#layer-said", has_text="cosine").count() == 1
