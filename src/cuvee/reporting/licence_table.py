"""Licences that the hub has an id for, by what they ask of whoever passes on something made of the work.

A table of facts for a first look, written from the licences' own texts and their stewards' lists of compatible ones; it
is no legal advice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "public domain",
    "permissive",
    "attribution",
    "weak copyleft",
    "copyleft",
    "network copyleft",
    "non-commercial",
    "non-commercial, share alike",
    "no derivatives",
    "terms of its own",
]


@dataclass(frozen=True, slots=True)
class Licence:
    """One licence.

    Attributes:
        id: the hub's id.
        kind: what sort of licence it is.
        asks: what it asks for; more asked is stricter.
        under: ids of other licences under which its text or its steward lets what is made of the work be passed on.
        clashes: ids of licences whose works cannot be made into one with it.
    """

    id: str
    kind: Kind
    asks: frozenset[str]
    under: frozenset[str] = frozenset()
    clashes: frozenset[str] = frozenset()

    @property
    def binds(self) -> bool:
        """Whether what is made of the work must stand under the same licence, or may not be made."""
        return bool(self.asks & {"same licence", "terms", "no derivatives"})


_NOTICE: Final = frozenset({"notice"})
_CHANGES: Final = _NOTICE | {"changes told"}
_CREDIT: Final = _CHANGES | {"credit"}
_SAME: Final = _CHANGES | {"source", "same licence"}
ASKS: Final[dict[Kind, frozenset[str]]] = {
    "public domain": frozenset(),
    "permissive": _NOTICE,
    "attribution": _CREDIT,
    "weak copyleft": _SAME,
    "copyleft": _SAME,
    "network copyleft": _SAME | {"source for users over a network"},
    "non-commercial": _CREDIT | {"no commercial use"},
    "non-commercial, share alike": _CREDIT | {"no commercial use", "same licence"},
    "no derivatives": _CREDIT | {"no derivatives"},
    "terms of its own": _CREDIT | {"terms"},
}
"""What a licence of each kind asks for."""

_OF_KIND: Final[dict[Kind, str]] = {
    "public domain": "cc0-1.0 pddl unlicense wtfpl",
    "permissive": "mit apache-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear isc zlib bsl-1.0 ncsa postgresql"
    " afl-3.0 ecl-2.0 cdla-permissive-1.0 cdla-permissive-2.0 etalab-2.0",
    "attribution": "cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 odc-by",
    "weak copyleft": "lgpl lgpl-2.1 lgpl-3.0 lgpl-lr mpl-2.0 epl-1.0 epl-2.0 ms-pl cdla-sharing-1.0 ofl-1.1"
    " artistic-2.0 lppl-1.3c",
    "copyleft": "gpl gpl-2.0 gpl-3.0 gfdl cc-by-sa-3.0 cc-by-sa-4.0 odbl",
    "network copyleft": "agpl-3.0 osl-3.0 eupl-1.1 eupl-1.2",
    "non-commercial": "cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0",
    "non-commercial, share alike": "cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0",
    "no derivatives": "cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0",
    "terms of its own": "llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 gemma openrail openrail++"
    " bigscience-openrail-m"
    " creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m deepfloyd-if-license c-uda cc"
    " h-research intel-research apple-ascl apple-amlr fair-noncommercial-research-license grok2-community",
}
_ASKS_MORE: Final = {"apache-2.0": _CHANGES, "afl-3.0": _CHANGES, "ecl-2.0": _CHANGES}
_UNDER: Final = {
    "lgpl-2.1": "gpl-2.0 gpl-3.0 agpl-3.0",
    "lgpl-3.0": "gpl-3.0 agpl-3.0",
    "mpl-2.0": "lgpl-2.1 lgpl-3.0 gpl-2.0 gpl-3.0 agpl-3.0",
    "gpl-3.0": "agpl-3.0",
    "cc-by-4.0": "gpl-3.0 agpl-3.0",
    "cc-by-sa-3.0": "cc-by-sa-4.0 gpl-3.0 agpl-3.0",
    "cc-by-sa-4.0": "gpl-3.0 agpl-3.0",
    "cc-by-nc-sa-2.0": "cc-by-nc-sa-3.0 cc-by-nc-sa-4.0",
    "cc-by-nc-sa-3.0": "cc-by-nc-sa-4.0",
    "eupl-1.1": "gpl-2.0 gpl-3.0 agpl-3.0 osl-3.0 eupl-1.2",
    "eupl-1.2": "gpl-2.0 gpl-3.0 agpl-3.0 osl-3.0",
}
_CLASHES: Final = {"apache-2.0": "gpl gpl-2.0 lgpl lgpl-2.1"}


def _all() -> Iterator[Licence]:
    for kind, ids in _OF_KIND.items():
        for one in ids.split():
            under, clashes = (frozenset(of.get(one, "").split()) for of in (_UNDER, _CLASHES))
            yield Licence(one, kind, _ASKS_MORE.get(one, ASKS[kind]), under, clashes)


LICENCES: Final = {licence.id: licence for licence in _all()}
"""By the hub's id. Those that are not here are taken for terms of their own."""


def licence_of(name: str) -> Licence:
    """A licence by its id; one that is not in the table has terms of its own, which only itself can meet.

    Example:
        >>> licence_of("apache-2.0").kind, licence_of("acme-model-licence").kind
        ('permissive', 'terms of its own')
    """
    return LICENCES.get(name) or Licence(name, "terms of its own", ASKS["terms of its own"])


def covers(a: Licence, b: Licence) -> bool:
    """Whether who keeps `a` for a whole made of works under both keeps what `b` asks, as far as the table knows.

    Example:
        >>> covers(licence_of("cc-by-nc-4.0"), licence_of("mit")), covers(licence_of("gpl-3.0"), licence_of("llama3"))
        (True, False)
    """
    if a.id == b.id:
        return True
    if a.id in b.clashes or b.id in a.clashes:
        return False
    return a.id in b.under or (not b.binds and b.asks <= a.asks)
