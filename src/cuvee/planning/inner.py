"""The plans inside a plan: of models that are results, evaluated while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cuvee.planning.model import Plan


@dataclass(frozen=True, slots=True)
class Stage:
    """A result among the models of a plan.

    Attributes:
        name: what it is called there.
        depth: recipes that it stands in.
        plan: what it is.
        nbytes: bytes that it would have if it were written; it is not.
    """

    name: str
    depth: int
    plan: Plan
    nbytes: int


def stages_in(plan: Plan, depth: int = 1) -> Iterator[Stage]:
    """Every result inside a plan, those that another one is made of before it, each as often as it is read."""
    for facts in plan.models:
        if facts.plan is not None:
            yield from stages_in(facts.plan, depth + 1)
            yield Stage(facts.label, depth, facts.plan, facts.nbytes)
