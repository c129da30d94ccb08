"""Numbers as people read them."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "tensor"), counted(1200, "tensor"), counted(0, "copy", "copies")
        ('1 tensor', '1,200 tensors', '0 copies')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def in_millions(number: int) -> str:
    """A number of parameters, rounded where nobody would count.

    Example:
        >>> in_millions(43_296), in_millions(1_240_000), in_millions(8_030_261_248)
        ('43,296', '1.24 M', '8.03 B')
    """
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if number >= size:
            return f"{number / size:.2f} {letter}"
    return f"{number:,}"
