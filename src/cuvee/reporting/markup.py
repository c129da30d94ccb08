"""HTML from Python: every text is escaped, because names of models and recipes are anybody's."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_EMPTY: Final = ("meta", "input", "br", "hr", "path", "rect", "circle", "line")
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NUMBER: Final = re.compile(r"[+−-]?[\d.,]+(e[+-]?\d+)?( ?(%|ms|s|min|[KMBT]))?|–")


_INTERVAL: Final = re.compile(r" (\[[^\[\],]{1,20}, [^\[\],]{1,20}\])$")


class Html(str):
    """Text that is HTML already; any other is escaped before it is put into a page."""

    __slots__ = ()


def text(value: object) -> Html:
    """Text for a page: escaped, with a sign in the place of control characters, halves, and what turns the order round.

    Example:
        >>> text("<b>&")
        '&lt;b&gt;&amp;'
    """
    return value if isinstance(value, Html) else Html(html.escape(legible(str(value))))


def legible(value: Any) -> Any:
    """Plain data, in whose texts a sign stands for what no page, picture or browser can be given.

    Example:
        >>> legible({"a" + chr(0): ["b" + chr(0x202E), 1]}) == {"a" + chr(0xFFFD): ["b" + chr(0xFFFD), 1]}
        True
    """
    if isinstance(value, str):
        return _CONTROLS.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {legible(key): legible(entry) for key, entry in value.items()}
    return [legible(entry) for entry in value] if isinstance(value, list | tuple) else value


def tag(name: str, /, *inside: object, **attributes: object) -> Html:
    """An element.

    Args:
        name: of the element.
        inside: texts and elements, `None` for nothing, lists of them.
        attributes: `class_` for class, `aria_label` for aria-label; `None` and False are left out, True stands alone.

    Example:
        >>> tag("p", "1 < 2", class_="a")
        '<p class="a">1 &lt; 2</p>'
    """
    told = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _EMPTY:
        return Html(f"<{name}{told}>") if name in ("meta", "input", "br", "hr") else Html(f"<{name}{told}/>")
    return Html(f"<{name}{told}>{joined(inside)}</{name}>")


def joined(parts: Iterable[object]) -> Html:
    """Texts and elements in a row; lists among them are opened, `None` is nothing."""
    made = []
    for part in parts:
        if part is None:
            continue
        many = isinstance(part, Iterable) and not isinstance(part, str)
        made.append(joined(part) if many else text(part))  # type: ignore[arg-type]
    return Html("".join(made))


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{text(value)}"'


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str, *, headed: bool = True) -> Html:
    """A table in a box that scrolls by itself, by keyboard too.

    Args:
        columns: their names.
        rows: cells; those that are numbers stand to the right.
        caption: what it is.
        headed: whether the first cell of a row names it.
    """
    head = tag("thead", tag("tr", [tag("th", column, scope="col") for column in columns]))
    body = tag("tbody", [_row(row, headed) for row in rows])
    whole = tag("table", tag("caption", caption), head, body)
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _row(row: Sequence[object], headed: bool) -> Html:
    first = tag("th", row[0], scope="row") if headed else _cell(row[0])
    return tag("tr", first, [_cell(one) for one in row[1:]])


def _cell(value: object) -> Html:
    """A cell; an interval in it stands in a line of its own where there is no room."""
    if isinstance(value, Html):
        return tag("td", value)
    words = str(value)
    start = _INTERVAL.search(words)
    inside = [words] if start is None else [words[: start.start()], " ", tag("span", start[1], class_="whole")]
    return tag("td", inside, class_="number" if _NUMBER.match(words) else None)


def pairs(entries: Iterable[tuple[str, object]]) -> Html:
    """Names and what they stand for; those that stand for nothing are left out."""
    return tag(
        "dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in entries if value not in (None, "")]
    )


def data(value: Any) -> Html:
    """JSON that may stand inside a script: nothing in it can end one, or begin a comment."""
    found = json.dumps(legible(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Html(found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
