"""One HTML file from all sections: nothing in it asks for anything from outside, and it says so to the browser."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

from cuvee.reporting import sections, sections_judged
from cuvee.reporting.charts import altair_for_charts
from cuvee.reporting.drawing import THEMES, scripts, vl_convert_for_pictures
from cuvee.reporting.evidence import Evidence
from cuvee.reporting.figures import Figure
from cuvee.reporting.looked import Looked
from cuvee.reporting.markup import Html, data, joined, tag
from cuvee.reporting.parts import Section
from cuvee.reporting.sections_layers import MAPS, layers
from cuvee.reporting.verdicts import what_it_is

_LIBRARIES: Final = ("cuvee", "altair", "vl-convert-python")


def require() -> None:
    """Refuse early what could not be drawn in the end.

    Raises:
        UsageError: `missing-extra`: Altair or vl-convert is not installed.
    """
    altair_for_charts()
    vl_convert_for_pictures()


def page(evidence: Evidence, looked: Looked, recipe: str) -> tuple[str, tuple[Section, ...]]:
    """The whole page, and its sections; the same evidence gives the same bytes.

    Args:
        evidence: what other commands said.
        looked: what was found in the models.
        recipe: the recipe as YAML.

    Raises:
        UsageError: `missing-extra`.
    """
    by_layer, cells = layers(evidence, looked)
    judged = tuple(sections_judged.sections(evidence))
    made = (
        sections.verdict(evidence),
        judged[0],
        sections.made(evidence, recipe),
        sections.what_was_applied(evidence, looked),
        by_layer,
        *judged[1:],
        sections.record(evidence, {name: version(name) for name in _LIBRARIES}),
    )
    return _document(evidence, made, cells), made


def _document(evidence: Evidence, made: Sequence[Section], cells: Mapping[str, Any]) -> str:
    name = evidence.folder.absolute().name
    code = [scripts(), _file("page.js")]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(code)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="description", content=what_it_is(evidence)),
        tag("title", f"{name} – Cuvee report"),
        tag("style", Html(_file("style.css"))),
    )
    blocks = {
        "cuvee-charts": {one.name: _for_browser(one) for section in made for one in section.figures},
        "cuvee-themes": THEMES,
        "cuvee-layers": cells,
    }
    told = [tag("script", data(value), type="application/json", id=key) for key, value in blocks.items()]
    body = tag(
        "body",
        tag("a", "To the content", href="#content", class_="skip"),
        _top(name, made),
        tag("main", [section.html() for section in made], id="content"),
        tag(
            "footer",
            tag("p", f"Made by Cuvee {version('cuvee')}. This page is one file; it asks for nothing from outside."),
        ),
        told,
        [tag("script", Html(one)) for one in code],
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _top(name: str, made: Sequence[Section]) -> Html:
    links = [tag("li", tag("a", section.title, href=f"#{section.name}")) for section in made]
    button = tag("button", "Theme: system", type="button", id="theme", hidden=True)
    title = tag("div", tag("p", "Cuvee report", class_="brand"), tag("h1", name))
    return joined([tag("header", title, button), tag("nav", tag("ul", links), aria_label="Sections")])


def _for_browser(figure: Figure) -> dict[str, Any]:
    """The specification without the address of its schema, which nobody needs to fetch.

    The rows of heat maps stand in the page already, among what the selectors choose from.
    """
    spec = {key: value for key, value in figure.spec.items() if key != "$schema"}
    if figure.name in MAPS:
        spec["data"] = {"name": "rows", "values": []}
    return spec


def _policy(code: Sequence[str]) -> str:
    """Nothing from outside, and no script but those of the page.

    Styles are free: charts write theirs into elements. Expressions of charts are interpreted, so nothing needs `eval`.
    """
    sums = " ".join(f"'sha256-{_sum(one)}'" for one in code)
    rest = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {sums}; {rest}"


def _sum(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


def _file(name: str) -> str:
    return (files("cuvee.reporting") / name).read_text("utf-8")
