"""Tables that stay readable at 80 columns: a rule under the headings, numbers to the right, nothing cut off."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cuvee.cli.console import one_line, plain


@dataclass(frozen=True)
class Column:
    """A heading, and whether what stands below it are numbers."""

    heading: str
    numbers: bool = False


def table(columns: Sequence[Column], rows: Iterable[Sequence[str | Text]], gaps: Container[int] = ()) -> Table:
    """A table of texts; long ones are continued on the next line.

    Args:
        columns: the headings.
        rows: one text per column.
        gaps: numbers of rows, from 0, before which a line is left empty.
    """
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for column in columns:
        made.add_column(column.heading, justify="right" if column.numbers else "left", overflow="fold")
    for number, row in enumerate(rows):
        if number in gaps:
            made.add_section()
        made.add_row(*(cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in row))
    return made


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and values in two columns, without headings; rows without a value are left out."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if value:
            made.add_row(plain(name), plain(value))
    return made


def paragraph(text: str) -> RenderableType:
    """Text that is broken between words where the line is full."""
    return Group(plain(text))


@dataclass(frozen=True)
class FirstThatFits:
    """The first of several forms that is not wider than the console, or the last."""

    forms: Sequence[RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Choose when the width is known."""
        wide = options.update(max_width=10_000)
        for form in self.forms[:-1]:
            if Measurement.get(console, wide, form).maximum <= options.max_width:
                yield form
                return
        yield self.forms[-1]
