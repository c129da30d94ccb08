"""From figures to reasons, by the table of rules, and from reasons to a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from cuvee.preflight.facts import Barrier, Level, ModelFigures, PairFigures, Reason, Verdict
from cuvee.preflight.rules import RULES, Rule

_GRAVEST_FIRST: Final[tuple[Level, ...]] = ("stops", "care", "note")


def reasons_of(
    models: Sequence[ModelFigures], pairs: Sequence[PairFigures], barriers: Sequence[Barrier]
) -> tuple[Reason, ...]:
    """Every rule that a figure is beyond."""
    found: list[Reason] = []
    said: set[tuple[str, tuple[str, ...]]] = set()
    for rule in RULES:
        for thing in {"model": models, "pair": pairs, "barrier": barriers}[rule.of]:
            about = _about(thing)
            if any((other, about) in said for other in rule.unless):
                continue  # what stands above says this too
            value = getattr(thing, rule.figure)
            if rule.at.holds(value):
                said.add((rule.name, about))
                found.append(_reason(rule, about, value))
    return tuple(found)


def _about(thing: Any) -> tuple[str, ...]:
    return (thing.model,) if isinstance(thing, ModelFigures) else (thing.a, thing.b)


def _reason(rule: Rule, about: tuple[str, ...], value: float) -> Reason:
    named = {"model": about[0]} if len(about) == 1 else {"a": about[0], "b": about[1]}
    text = rule.says.format(value=value, **named)
    return Reason(rule.name, rule.level, about, text, float(value), str(rule.at), rule.at.source)


def in_order(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """The gravest first."""
    return tuple(sorted(reasons, key=lambda reason: _GRAVEST_FIRST.index(reason.level)))


def verdict_of(reasons: Iterable[Reason]) -> Verdict:
    """What the gravest reason says."""
    levels = {reason.level for reason in reasons}
    if "stops" in levels:
        return "will not merge as they are"
    return "merge with care" if "care" in levels else "merge"
