"""How large a recipe may be: far above any real one, far below what could stall or exhaust a machine."""

from __future__ import annotations

import math
from typing import Final, NoReturn

from cuvee.errors import Fault, Place, RecipeError

MAX_BYTES: Final = 1_000_000
"""Bytes of a recipe file."""

MAX_DEPTH: Final = 50
"""Levels of nesting, aliases written out."""

MAX_NODES: Final = 100_000
"""Parser events of a file (roughly: keys and values); keys and values of a recipe given as Python data."""

MAX_REPEATED: Final = 10_000
"""Keys and values that stand in the document only because an alias repeats them."""

MAX_NESTED: Final = 6
"""Recipes inside one another, the outermost not counted; one that is written out then stays within `MAX_DEPTH`."""

MAX_STAGES: Final = 100
"""Recipes inside a recipe, each counted as often as it would be written out; documents of a file; recipe files."""


def as_number(value: int) -> int | float:
    """An integer that 64 bits hold, else the nearest float: no recipe needs more, and Python may not even print it."""
    if -(2**63) <= value < 2**63:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value >> value.bit_length() - 1)


def refuse_large(nbytes: int, file: str) -> None:
    """Refuse a file larger than any real recipe."""
    if nbytes > MAX_BYTES:
        too_large(f"a recipe should have at most {MAX_BYTES:,} bytes", Place(file, 1, 1))


def too_large(message: str, place: Place | None) -> NoReturn:
    """Refuse what passes a limit, as `recipe-too-large`."""
    raise RecipeError(Fault("recipe-too-large", f"{message}, found more", place, hint="is this the right file?"))
