"""The page on a merge: one HTML file from all sections."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from cuvee.reporting import sections, sections_judged
from cuvee.reporting.document import document
from cuvee.reporting.document import require as require  # given on: whoever makes a page asks first
from cuvee.reporting.evidence import Evidence
from cuvee.reporting.looked import Looked
from cuvee.reporting.parts import Section
from cuvee.reporting.sections_layers import MAPS, layers
from cuvee.reporting.verdicts import what_it_is

_LIBRARIES: Final = ("cuvee", "altair", "vl-convert-python")


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
    return document(evidence.folder.absolute().name, what_it_is(evidence), made, cells, elsewhere=MAPS), made
