"""The table that the laws of merging are entered into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cuvee.methods.declare import Method
from cuvee.testing.cases import Inputs

Check = Callable[[Method, Inputs], None]
"""A law as a function; it raises `AssertionError` when the method breaks the law on these inputs."""


@dataclass(frozen=True)
class Law:
    """One law: its name, what it claims, and the assertion.

    Attributes:
        name: as methods declare it.
        claim: one line for people.
        check: the assertion.
        needs: parameters without which the law says nothing about a method; `base` stands for a base model.
    """

    name: str
    claim: str
    check: Check
    needs: tuple[str, ...] = ()


LAWS: Final[dict[str, Law]] = {}
"""Every law by name."""


def law(name: str, *needs: str) -> Callable[[Check], Check]:
    """Enter a check into `LAWS` under a name; its claim is the first line of its docstring."""

    def enter(check: Check) -> Check:
        LAWS[name] = Law(name, (check.__doc__ or "").split("\n", 1)[0].rstrip("."), check, needs)
        return check

    return enter
