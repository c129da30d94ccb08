"""Pieces that sections are put together from: a section, a chart with its table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cuvee.reporting.drawing import draw_svg
from cuvee.reporting.figures import Figure
from cuvee.reporting.markup import Html, joined, table, tag

_LABELS: Final = re.compile(r' (?:aria-[a-z]+|role)="[^"]*"')


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        name: its anchor.
        title: its heading.
        body: what stands in it.
        figures: the charts in it.
        is_told: whether there is anything in it, and not only how to get it.
    """

    name: str
    title: str
    body: Html
    figures: tuple[Figure, ...] = ()
    is_told: bool = True

    def html(self) -> Html:
        """The section."""
        head = f"{self.name}-title"
        return tag("section", tag("h2", self.title, id=head), self.body, id=self.name, aria_labelledby=head)


def chart(figure: Figure, *, level: int = 3, width: int = 560, open_table: bool = False, small: bool = False) -> Html:
    """A chart: drawn by the browser, as a picture where it is printed or without scripts, and as a table.

    Args:
        figure: the chart.
        level: of its heading.
        width: of the picture.
        open_table: whether the table is seen at once.
        small: whether it is one of several beside each other.
    """
    words = f"{figure.title}. {figure.description}"
    caption = f"{figure.title}, as a table"
    rows = table(figure.columns, figure.rows, caption)
    return tag(
        "figure",
        tag("figcaption", tag(f"h{level}", figure.title), tag("p", figure.description)),
        tag("div", class_="live", id=f"chart-{figure.name}", data_chart=figure.name, role="img", aria_label=words),
        tag(
            "div",
            _picture(figure, width),
            class_="still",
            role="img",
            aria_label=words,
        ),
        tag("details", tag("summary", caption), rows, open=open_table),
        class_="chart small" if small else "chart",
        id=f"figure-{figure.name}",
    )


def _picture(figure: Figure, width: int) -> Html:
    """A chart drawn here; its marks need no labels of their own, because the picture has one."""
    return Html(_LABELS.sub("", draw_svg(figure.spec, width=width, name=figure.name)))


def grid(charts: Sequence[Html]) -> Html:
    """Charts beside each other as far as there is room."""
    return tag("div", list(charts), class_="grid")


def folded(summary: str, inside: object) -> Html:
    """What is seen when it is asked for."""
    return tag("details", tag("summary", summary), inside)


def spoken(words: str) -> Html:
    """Text in which commands stand between backticks."""
    return joined(tag("code", part) if number % 2 else part for number, part in enumerate(words.split("`")))


def absent(words: str) -> Html:
    """What is not there, and what to do for it."""
    return tag("p", spoken(words), class_="absent")


def notes(told: Sequence[str]) -> Html | None:
    """Notes as a list."""
    if not told:
        return None
    return tag("ul", [tag("li", note) for note in dict.fromkeys(told)], class_="notes")
