"""Greedy decoding: the best symbol of each frame, repeats merged, blanks left out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from cuvee.speech.acoustic import frames_of


def greedy_decode(logp: Any, labels: Sequence[str], *, blank: int = 0, space: str = " ") -> str:
    """The transcript of the single best alignment; others that spell the same do not count.

    Args:
        logp: `[T, V]`, natural logarithms of probabilities.
        labels: V symbols.
        blank: the number of the blank.
        space: the symbol between words.

    Returns:
        Words with one space between them.

    Raises:
        UsageError, InputError: as `acoustic.frames_of`.

    Source:
        Graves et al. 2006, Connectionist temporal classification, section 3.2 (best path decoding).

    Example:
        >>> import math
        >>> row = {symbol: [math.log(0.8 if s == symbol else 0.1) for s in "-ab"] for symbol in "-ab"}
        >>> greedy_decode([row[s] for s in "aa-abb"], ["-", "a", "b"])
        'aab'
    """
    best = frames_of(logp, labels, blank).argmax(axis=1).tolist()
    symbols = [labels[symbol] for symbol, _ in groupby(best) if symbol != blank]
    return spelt(symbols, space)


def spelt(symbols: Sequence[str], space: str) -> str:
    """Symbols as words with one space between them."""
    words = "".join(" " if symbol == space else symbol for symbol in symbols).split(" ")
    return " ".join(word for word in words if word)
