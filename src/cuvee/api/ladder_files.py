"""A ladder written down: as a picture, and as a page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.api.arguments import as_output, as_path, refuse
from cuvee.errors import Fault

if TYPE_CHECKING:
    from cuvee.judging.ladder import Ladder

_PICTURES = (".svg", ".png")


@dataclass(frozen=True)
class LadderFiles:
    """Files that a ladder will be written to, looked at before it is climbed.

    Attributes:
        page: one HTML file.
        chart: a picture, `.svg` or `.png`.
        overwrite: replace files that are there.
    """

    page: Path | None
    chart: Path | None
    overwrite: bool

    @property
    def given(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(one for one in (self.page, self.chart) if one is not None)

    def write(self, found: Ladder, name: str = "ladder") -> tuple[Path, ...]:
        """Write them.

        Args:
            found: the ladder.
            name: heading of the page.

        Raises:
            UsageError: the chart can show nothing.
            OutputExists, ResourceError: they cannot be written.
        """
        from cuvee.checkpoint.single_file import write_single
        from cuvee.judging.ladder import words
        from cuvee.reporting.ladder_page import ladder_page
        from cuvee.types.plain import as_json

        told: Any = as_json(found.as_data())
        if self.chart is not None:
            write_single(self.chart, [_drawn(told, self.chart)], overwrite=self.overwrite)
        if self.page is not None:
            write_single(self.page, [ladder_page(name, told, words(found)).encode()], overwrite=self.overwrite)
        return self.given


def ladder_files(
    page: str | os.PathLike[str] | None = None,
    chart: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
) -> LadderFiles:
    """Files for a ladder, refused now rather than after the work.

    Args:
        page: an HTML file.
        chart: a picture, `.svg` or `.png`.
        overwrite: replace files that are there.

    Raises:
        UsageError: a name is none, a picture of another kind, or what draws is not installed.
        OutputExists: a file is there already.
    """
    from cuvee.checkpoint.single_file import exists

    made = LadderFiles(
        None if page is None else as_output(page, "the page must be a file's name"),
        None if chart is None else as_path(chart, "chart", "the chart must be a file's name"),
        overwrite,
    )
    refuse(_chart_faults(made.chart))
    for target in made.given:
        if target.is_dir() or (os.path.lexists(target) and not overwrite):
            raise exists(target)
    if made.given:
        from cuvee.reporting.page import require

        require()
    return made


def _chart_faults(chart: Path | None) -> Sequence[Fault]:
    if chart is None or chart.suffix.lower() in _PICTURES:
        return []
    message = f"a chart is written as {' or '.join(_PICTURES)}; found {chart.name!r}"
    return [Fault("bad-argument", message, subject="chart")]


def _drawn(told: Any, target: Path) -> bytes:
    from cuvee.reporting.drawing import draw_png, draw_svg
    from cuvee.reporting.ladder_page import ladder_figure

    figure = ladder_figure(told)
    if figure is None:
        message = "there is nothing to draw: neither the time of a row nor the parameters of every rung are known"
        refuse([Fault("bad-argument", message, subject="chart")])
        raise AssertionError
    return draw_png(figure.spec) if target.suffix.lower() == ".png" else draw_svg(figure.spec).encode()
