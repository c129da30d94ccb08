"""What one look at a folder finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cuvee import errors

Outcome = Literal["ok", "failed", "skipped"]

_MOST: Final = 5
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what was looked at, how it came out, and what was found."""

    name: str
    outcome: Outcome
    found: str


def checked(name: str, bad: Sequence[str], good: str, trouble: str) -> Check:
    """A check that fails if anything is bad.

    Args:
        name: what was looked at.
        bad: what is wrong; the first of it is told.
        good: what is told if nothing is.
        trouble: what is told before what is wrong.
    """
    return Check(name, "failed", f"{trouble} {listed(bad)}") if bad else Check(name, "ok", good)


def listed(names: Sequence[str]) -> str:
    """The first of many names, none of them endless, and how many more there are."""
    return errors.listed((f"{name:.{_LONGEST}}" for name in names), _MOST)
