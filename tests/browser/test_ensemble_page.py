"""The page of the demo of ensembles, opened from the disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from cuvee.demo.predictions.perform import CONFIGS, run
from tests.browser.test_report import CONTRAST
from tests.support.browsing import Seen, opening

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("ensembles") / "out", quick=True).out


@pytest.fixture
def open_page(browser: Browser, place: Path) -> Iterator[Callable[..., Seen]]:
    with opening(browser, place / "report.html") as made:
        yield made


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")])
def test_nothing_is_asked_for_and_nothing_goes_wrong(
    open_page: Callable[..., Seen], place: Path, width: int, scheme: str
) -> None:
    seen = open_page(width=width, scheme=scheme)
    assert seen.requests == [(place / "report.html").as_uri()]
    assert seen.errors == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.page.locator("[data-chart]").count() == seen.page.locator("figure.drawn").count() == 2 * len(CONFIGS)
    assert seen.page.evaluate(CONTRAST) == []
    seen.shot(f"ensembles-{width}-{scheme}")


def test_every_ensemble_has_its_figures_in_chart_and_table(open_page: Callable[..., Seen], place: Path) -> None:
    seen = open_page()
    told = json.loads((place / "results.json").read_text("utf-8"))["ensembles"]
    for number, (name, found) in enumerate(told.items(), start=1):
        section = seen.page.locator(f"#ensemble-{number}")
        assert section.locator("h2").text_content() == name
        for row in found["leaderboard"]:
            mark = seen.labelled(f"board-{number}", f"model: {row['name']};")
            assert mark.count() == 1, row["name"]
            assert f"{row['log_loss']:.3f}" in (mark.get_attribute("aria-label") or "")
        points = {row["name"]: row for row in seen.data(f"cost-{number}")}
        assert points.keys() == {point["name"] for point in found["front"]}
        for point in found["front"]:
            assert points[point["name"]]["y"] == point["log_loss"]
            assert (points[point["name"]]["kind"] == "Pareto front") == point["on_front"]


def test_on_paper_no_table_is_cut_off(open_page: Callable[..., Seen]) -> None:
    seen = open_page(width=718)  # A4 between its margins
    seen.page.emulate_media(media="print")
    wide = "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth + 1)"
    assert seen.page.evaluate(f"{wide}.map((one) => one.ariaLabel)") == []
