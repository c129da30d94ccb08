"""The nodes of a YAML document, and what an unquoted scalar means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cuvee.errors import Place
from cuvee.recipe.limits import as_number
from cuvee.types import Scalar

# YAML 1.2 as ruamel reads it, and the switches `yes`, `no`, `on`, `off` of YAML 1.1, which mergekit reads.
SWITCHES: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
INTEGER: Final = re.compile(r"[-+]?(0x[0-9a-fA-F]+|0o[0-7]+|[0-9][0-9_]*)")
REAL: Final = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?")
SPECIAL: Final = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the document: a scalar (`text` is what is written), a list (`items`) or a mapping (`pairs`)."""

    place: Place
    value: Scalar | None = None
    text: str | None = None
    is_plain: bool = False
    items: tuple[Node, ...] | None = None
    pairs: tuple[tuple[Node, Node], ...] | None = None

    @property
    def is_merge(self) -> bool:
        """Whether this key is `<<`, which merges other mappings in."""
        return self.is_plain and self.text == "<<"


def read_scalar(text: str) -> Scalar | None:
    """The value of an unquoted scalar.

    Example:
        >>> [read_scalar(s) for s in ("1e-5", "yes", "~", "7", "../models/a")]
        [1e-05, True, None, 7, '../models/a']
    """
    low = text.lower()
    if low in ("", "~", "null"):
        return None
    if low in SWITCHES:
        return SWITCHES[low]
    return float(SPECIAL[low]) if low in SPECIAL else _read_number(text)


def _read_number(text: str) -> Scalar:
    # Python's own readers refuse doubled underscores and integers of thousands of digits: those stay text.
    try:
        if INTEGER.fullmatch(text):
            digits = text.lower().lstrip("+-")
            return as_number(int(text, 16 if digits.startswith("0x") else 8 if digits.startswith("0o") else 10))
        return float(text) if REAL.fullmatch(text) else text
    except ValueError:
        return text
