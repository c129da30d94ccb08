"""The frame of a page: one HTML file that asks for nothing from outside, and says so to the browser."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from cuvee.reporting.drawing import THEMES, scripts
from cuvee.reporting.figures import Figure
from cuvee.reporting.markup import Html, data, joined, tag
from cuvee.reporting.parts import Section
from cuvee.reporting.sections_layers import MAPS


def document(name: str, description: str, made: Sequence[Section], cells: Mapping[str, Any] | None = None) -> str:
    """The whole file.

    Args:
        name: what the page is about.
        description: the same in a sentence.
        made: its sections.
        cells: what the selectors of heat maps choose from.
    """
    code = [scripts(), _file("page.js")]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(code)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="description", content=description),
        tag("title", f"{name} – Cuvee report"),
        tag("style", Html(_file("style.css"))),
    )
    blocks = {
        "cuvee-charts": {one.name: _for_browser(one) for section in made for one in section.figures},
        "cuvee-themes": THEMES,
        "cuvee-layers": cells or {},
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
