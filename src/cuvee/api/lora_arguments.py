"""What the calls of LoRA algebra take, checked before any adapter is opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from cuvee.api.arguments import as_model, refuse, unfit
from cuvee.errors import Fault, UsageError, integer_faults
from cuvee.types import ModelRef

_OPTIONS: Final = (
    "adapters", "base", "density", "energy", "inner", "lambda", "method", "out", "overwrite", "progress", "rank",
    "seed", "weights",
)  # fmt: skip
"""What a merge of adapters takes besides the settings of its method, or by an option of the command's."""


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


def as_adapter(given: object) -> ModelRef:
    """An adapter named on its own.

    Raises:
        UsageError: it is no text, or a base with an adapter.
    """
    ref = as_model(given)
    if ref.adapter is None:
        return ref
    message = f"this takes adapters alone; found {ref}, a base with one applied"
    raise UsageError(Fault("bad-argument", message, subject="adapters", hint=f"name `{ref.adapter}`"))


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


def settings_of(given: Sequence[str]) -> dict[str, Any]:
    """Settings of a method as the command line gives them: numbers, lists of them, `true` or `false`, else words.

    Raises:
        UsageError: one has no name or no value.

    Example:
        >>> settings_of(["gamma=0.5,0.2", "normalize=False", "elect=count"])
        {'gamma': [0.5, 0.2], 'normalize': False, 'elect': 'count'}
    """
    found: dict[str, Any] = {}
    faults = []
    for entry in given:
        name, _, value = entry.partition("=")
        wrong = "" if name and value else f"must be NAME=VALUE; found {entry[:60]!r}"
        wrong = f"gives `{name}` twice" if name in found else wrong
        if name.rstrip("_") in _OPTIONS:
            wrong = f"cannot give `{name}`, which has an option of its own: --{name.rstrip('_')}"
        if wrong:
            hint = "for example --set normalize=false"
            faults.append(Fault("bad-argument", f"`--set` {wrong}", subject="set", hint=hint))
        found[name] = _value(value)
    refuse(faults)
    return found


def _value(text: str) -> Any:
    parts = [_scalar(part.strip()) for part in text.split(",")]
    return parts if len(parts) > 1 else parts[0]


def _scalar(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
