"""What the calls of LoRA algebra take, checked before any adapter is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from cuvee.api.arguments import unfit
from cuvee.errors import Fault, UsageError, integer_faults


def number_faults_of(name: str, value: object) -> list[Fault]:
    """What is wrong with a number that need not be given."""
    return [] if value is None or _is_number(value) else [unfit(name, "a number", value)]


def size_faults(rank: object, energy: object) -> list[Fault]:
    """What is wrong with the two ways to say how much is kept of a change."""
    return [*([] if rank is None else integer_faults("rank", rank)), *number_faults_of("energy", energy)]


def word_faults(**words: object) -> list[Fault]:
    """What is wrong with names of methods."""
    return [unfit(name, "a text", word) for name, word in words.items() if not isinstance(word, str)]


def weight_faults(weights: object) -> list[Fault]:
    """What is wrong with one number per adapter, which need not be given."""
    if weights is None or (isinstance(weights, Sequence) and all(map(_is_number, weights))):
        return []
    return [unfit("weights", "a list of numbers, one per adapter", weights)]


def pattern_faults(**given: object) -> list[Fault]:
    """What is wrong with regular expressions: one, or several."""
    return [
        unfit(name, "a regular expression, or a list of them", one)
        for name, one in given.items()
        if not (isinstance(one, Sequence) and all(isinstance(part, str) for part in one))
    ]


def patterns_of(given: str | Sequence[str]) -> tuple[str, ...]:
    """Regular expressions; a text is one, and not as many as it has letters."""
    return (given,) if isinstance(given, str) else tuple(given)


def adapters_of(given: object) -> list[Any]:
    """The adapters named: one, or several.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(given, str | os.PathLike):
        return [given]
    if isinstance(given, Sequence) and not isinstance(given, bytes):
        return list(given)
    raise UsageError(unfit("adapters", "a list of folders or hub ids", given))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
