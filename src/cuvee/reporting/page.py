"""One HTML file from all sections: nothing in it asks for anything from outside, and it says so to the browser."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from cuvee.reporting import sections, sections_judged
from cuvee.reporting.charts import altair_for_charts
from cuvee.reporting.document import document
from cuvee.reporting.drawing import vl_convert_for_pictures
from cuvee.reporting.evidence import Evidence
from cuvee.reporting.looked import Looked
from cuvee.reporting.parts import Section
from cuvee.reporting.sections_layers import layers
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
    name = evidence.folder.absolute().name
    return document(name, what_it_is(evidence), made, cells), made
