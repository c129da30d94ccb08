"""What a merge was made of, as a drawing: inputs to the left, what was made of them to the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cuvee.reporting.cast import inputs_of, short_names
from cuvee.reporting.markup import Html, tag
from cuvee.reporting.mixtures import method_in

_WIDE: Final = 176
_HIGH: Final = 40
_ACROSS: Final = 92
_DOWN: Final = 14
_LETTERS: Final = 22
"""Letters that fit into a box."""


@dataclass(frozen=True)
class _Box:
    name: str
    kind: str
    inside: tuple[_Box, ...] = ()

    @property
    def leaves(self) -> int:
        return sum(box.leaves for box in self.inside) or 1

    @property
    def depth(self) -> int:
        return 1 + max((box.depth for box in self.inside), default=0)


def lineage(record: Mapping[str, Any], name: str) -> Html:
    """The drawing, as wide as it needs to be, with its words for those who do not see it.

    Args:
        record: of the merge.
        name: of the merge.
    """
    short = short_names([one["model"] for one in inputs_of(record)])
    whole = _Box(
        name,
        f"by {method_in(record, 'merging')}",
        tuple(_box(one, short) for one in record["inputs"]),
    )
    width = whole.depth * _WIDE + (whole.depth - 1) * _ACROSS
    height = whole.leaves * (_HIGH + _DOWN) - _DOWN
    drawn: list[Html] = []
    _draw(whole, width - _WIDE, 0.0, drawn, is_end=True)
    marks = {
        "viewBox": f"-2 -2 {width + 4} {height + 4}",
        "width": width + 4,
        "height": height + 4,
        "style": f"min-width: {150 * whole.depth}px",
    }
    return tag(
        "svg",
        tag("title", told(record, name)),
        drawn,
        role="img",
        class_="lineage",
        aria_label=told(record, name),
        **marks,
    )


def told(record: Mapping[str, Any], name: str) -> str:
    """The drawing in words."""
    return f"{name} was made by {method_in(record, 'merging')} of {_listed(record['inputs'])}."


def _listed(inputs: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(
        one["model"]
        + (" (the base)" if one["base"] else "")
        + (f", itself made of ({_listed(one['inputs'])})" if one.get("inputs") else "")
        for one in inputs
    )


def _box(one: Mapping[str, Any], short: Mapping[str, str]) -> _Box:
    inside = tuple(_box(inner, short) for inner in one.get("inputs", ()))
    return _Box(short[one["model"]], "base" if one["base"] else "made on the way" if inside else "input", inside)


def _draw(box: _Box, x: float, y: float, drawn: list[Html], *, is_end: bool = False) -> float:
    """Draw a box and what it was made of; gives the height of its middle."""
    height = box.leaves * (_HIGH + _DOWN) - _DOWN
    middle = y + height / 2
    at = y
    for inner in box.inside:
        left = x - _WIDE - _ACROSS
        end = _draw(inner, left, at, drawn)
        bend = _ACROSS / 2
        start = left + _WIDE
        path = f"M{start:g},{end:g} C{start + bend:g},{end:g} {x - bend:g},{middle:g} {x:g},{middle:g}"
        drawn.append(tag("path", d=path, class_=f"line {'from-base' if inner.kind == 'base' else ''}".strip()))
        at += inner.leaves * (_HIGH + _DOWN)
    kind = "end" if is_end else "base" if box.kind == "base" else "node"
    top = middle - _HIGH / 2
    drawn.append(tag("rect", x=f"{x:g}", y=f"{top:g}", width=_WIDE, height=_HIGH, rx=9, class_=kind))
    drawn.append(_words(box.name, x, middle - 3, f"name {kind}"))
    drawn.append(_words(box.kind, x, middle + 12, f"kind {kind}"))
    return middle


def _words(words: str, x: float, y: float, kind: str) -> Html:
    fits = words if len(words) <= _LETTERS else f"…{words[1 - _LETTERS :]}"
    return tag("text", fits, x=f"{x + _WIDE / 2:g}", y=f"{y:g}", class_=kind, text_anchor="middle")
