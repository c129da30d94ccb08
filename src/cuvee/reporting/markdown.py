"""Words of strangers in Markdown: names that hold pipes, backticks, tags or line ends stay names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

_MARKS: Final = re.compile(r"([\\`*\[\]<>#|~$&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_FORMAT: Final = "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2028\u2029\u2066\u2067\u2068\u2069\ufeff"


def one_line(text: object) -> str:
    """A text without line ends, control characters or those that turn the direction of writing.

    Example:
        >>> one_line("a" + chr(10) + "b")
        'a b'
    """
    kept = "".join(c if c.isprintable() and c not in _FORMAT else " " for c in str(text))
    return re.sub(" +", " ", kept).strip()


def plain(text: object) -> str:
    r"""A text that Markdown shows as it is.

    Example:
        >>> plain("<b>a|b</b>")
        '\\<b\\>a\\|b\\</b\\>'
    """
    return _MARKS.sub(r"\\\1", one_line(text))


def code(text: object, *, in_table: bool = False) -> str:
    r"""A name in the letters of code.

    Example:
        >>> code("a`b"), code("a|b", in_table=True)
        ('``a`b``', '`a\\|b`')
    """
    content = one_line(text) or " "
    fence = "`" * (_longest(content) + 1)
    pad = " " if content.startswith("`") or content.endswith("`") else ""
    shown = content.replace("|", "\\|") if in_table else content
    return f"{fence}{pad}{shown}{pad}{fence}"


def block(text: str, language: str) -> str:
    """Lines of code as they are."""
    fence = "`" * max(3, _longest(text) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _longest(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: int = 0) -> str:
    """A table of cells that are Markdown already; columns from number `right` on, if given, hold numbers."""
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "|".join("---:" if right and i >= right else "---" for i in range(len(head))) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
