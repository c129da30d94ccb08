"""The page as a browser shows it, from disk: no request, no error, charts by their labels, selectors, themes, paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import cuvee
from tests.support.browsing import Seen, opening
from tests.support.reporting import HOSTILE, comparison, evidence_files, folder_of, search_folder

pytestmark = pytest.mark.browser

CONTRAST = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (at) => {
    for (; at; at = at.parentElement) {
      const found = rgb(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const at = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !at.checkVisibility() || at.closest("script, style, .skip")) continue;
    const svg = at.closest("svg") !== null;
    if (svg && (at.closest(".role-mark") || at.matches(".end"))) continue;
    const style = getComputedStyle(at);
    const [a, b] = [light(rgb(svg ? style.fill : style.color)), light(ground(at))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) faint.push([walker.currentNode.textContent.slice(0, 40), style.color]);
  }
  return faint;
}"""
"""Visible text with a contrast below 4.5 to 1, but for that on heat maps and on the last box of the lineage."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("report")
    folder = folder_of(made)
    cuvee.report(folder, made / "report.html", files=evidence_files(made), searches=[search_folder(made / "found")])
    return made


@pytest.fixture
def open_page(browser: Browser, root: Path) -> Iterator[Callable[..., Seen]]:
    with opening(browser, root / "report.html") as made:
        yield made


def test_nothing_is_asked_for_and_nothing_goes_wrong(open_page: Callable[..., Seen], root: Path) -> None:
    seen = open_page()
    assert seen.requests == [(root / "report.html").as_uri()]
    assert seen.errors == []
    drawn = seen.page.locator("[data-chart]").count()
    assert drawn == seen.page.locator("[data-chart] svg.marks").count() == seen.page.locator("figure.drawn").count() > 8
    seen.shot("light")


def test_scores_stand_in_the_chart_by_their_labels(open_page: Callable[..., Seen], root: Path) -> None:
    seen = open_page()
    told = {Path(one["model"]).name: one["tasks"]["sums"] for one in comparison(root)["models"]}
    for name, role in (("merged", "this merge"), ("one", "input"), ("base", "base"), ("ensemble", "ensemble")):
        mark = seen.labelled("task-1", f"model: {name};", f"role: {role}")
        assert mark.count() == 1
        assert f"score: {told[name]['value']:.3f} ± {told[name]['stderr']:.3f}" in (
            mark.get_attribute("aria-label") or ""
        )
    rows = {row["model"]: row for row in seen.data("task-1")}
    assert rows["merged"]["value"] == told["merged"]["value"]
    assert seen.page.locator("#chart-task-1 svg text", has_text="merged").count() == 1


def test_a_click_on_a_cell_shows_how_its_changes_are_spread(open_page: Callable[..., Seen]) -> None:
    seen = open_page()
    seen.labelled("map-cosine", "layer: 1;", "part: mlp.up_proj;").click()
    said = seen.page.locator("#layer-said")
    seen.page.wait_for_function(
        "document.getElementById('layer-said').textContent.startsWith('mlp.up_proj, layer 1, one')"
    )
    layers = seen.page.evaluate("JSON.parse(document.getElementById('cuvee-layers').textContent)")
    (cell,) = [one for one in layers["cells"] if (one["layer"], one["part"]) == ("1", "mlp.up_proj")]
    assert f"cosine {cell['models']['one'][0]:.3f}" in (said.text_content() or "")
    counts = cell["models"]["one"][3]
    seen.page.wait_for_function("cuveeViews.spread.data('rows').length === 62")
    shown = [row["share"] for row in seen.data("spread") if row["series"] == "model"]
    assert shown == pytest.approx([count / sum(counts) for count in counts])
    first = seen.page.locator("#figure-spread tbody tr").first.locator("td").first
    assert first.text_content() == f"{100 * counts[0] / sum(counts):.2f}%"


def test_another_model_is_chosen_by_keyboard(open_page: Callable[..., Seen]) -> None:
    seen = open_page()
    before = seen.labelled("map-ratio", "layer: 0;", "part: mlp.up_proj;").get_attribute("aria-label")
    seen.page.focus("#layer-model")
    seen.page.keyboard.press("ArrowDown")
    assert seen.page.locator("#layer-model").input_value() == HOSTILE
    seen.page.wait_for_function("document.getElementById('layer-said').textContent.includes('onerror')")
    after = seen.labelled("map-ratio", "layer: 0;", "part: mlp.up_proj;").get_attribute("aria-label")
    assert before != after
    assert HOSTILE in (seen.page.locator("#figure-map-ratio thead th").first.text_content() or "")
    assert seen.page.locator("img").count() == 0


def test_the_page_follows_the_system_and_the_button(open_page: Callable[..., Seen]) -> None:
    light, dark = open_page(), open_page(scheme="dark")
    dark.shot("dark")

    def colours(seen: Seen) -> tuple[str, str]:
        ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        label = seen.page.locator("#chart-mean svg .role-axis-label text").first.get_attribute("fill")
        return ground, label or ""

    assert colours(light)[0] != colours(dark)[0]
    assert colours(light)[1] != colours(dark)[1]
    light.page.click("#theme")
    light.page.wait_for_selector("html[data-drawn=dark]", state="attached")
    assert light.page.locator("#theme").text_content() == "Theme: dark"
    assert colours(light) == colours(dark)
    assert light.errors == dark.errors == []


def test_on_a_phone_nothing_is_wider_than_the_screen(open_page: Callable[..., Seen]) -> None:
    seen = open_page(width=360)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
    widths = seen.page.evaluate(
        "[...document.querySelectorAll('[data-chart] svg')].map((one) => one.getBoundingClientRect().right)"
    )
    assert max(widths) <= 360
    seen.shot("phone")


def test_on_paper_stand_pictures_on_white(open_page: Callable[..., Seen]) -> None:
    seen = open_page(scheme="dark")
    seen.page.emulate_media(media="print")
    assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert seen.page.locator(".live:visible").count() == 0
    stills = seen.page.locator(".still:visible svg")
    assert stills.count() == seen.page.locator("figure").count()
    assert seen.page.locator(".chooser:visible, nav:visible").count() == 0
    seen.shot("print")


def test_without_scripts_there_are_pictures_and_tables(open_page: Callable[..., Seen]) -> None:
    seen = open_page(java_script_enabled=False)
    assert seen.page.locator(".still:visible").count() == seen.page.locator("figure").count()
    assert seen.page.locator(".chooser:visible, #theme:visible").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(open_page: Callable[..., Seen], scheme: str) -> None:
    seen = open_page(scheme=scheme)
    assert seen.page.evaluate(CONTRAST) == []


def test_a_screen_reader_finds_its_way(open_page: Callable[..., Seen]) -> None:
    page = open_page().page
    for role in ("banner", "navigation", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1, role  # type: ignore[arg-type]
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert page.get_by_label("Model", exact=True).count() == 1
    assert page.get_by_label("Tensor", exact=True).count() == 1
    nameless = (
        "[...document.querySelectorAll('[role=img], [role=region]')].filter((one) => !one.getAttribute('aria-label'))"
    )
    assert page.evaluate(f"{nameless}.length") == 0
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("html").get_attribute("lang") == "en"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
