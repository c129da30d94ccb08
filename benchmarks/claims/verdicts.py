"""What becomes of a claim: held, not held, not tested — as an ordering with a margin, over seeds, with its error."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["held", "not held", "not tested"]
Outcome = Mapping[str, Any]
"""What a track measured for one seed: plain data, as it stands in the JSON file."""


class Untested(Exception):
    """Raised where a seed cannot tell of a claim: a gate failed, or nothing was measured."""


@dataclass(frozen=True)
class Estimate:
    """A figure of one seed with the standard error of the rows that it was measured on."""

    value: float
    error: float = 0.0


@dataclass(frozen=True)
class Claim:
    """A published claim as a figure that must reach a margin.

    Attributes:
        name: short, as in the page's tables.
        says: the claim in words.
        source: who claims it.
        margin: least value of the figure, and, where it is positive, the figure must be above 0 by two of its errors.
        figure: the figure of one seed.
        why: why this margin; printed.
    """

    name: str
    says: str
    source: str
    margin: float
    figure: Callable[[Outcome], Estimate]
    why: str = ""


@dataclass(frozen=True)
class Finding:
    """A claim judged: over how many seeds, and which ones could not tell."""

    claim: Claim
    verdict: Verdict
    mean: float | None
    error: float | None
    seeds: tuple[str, ...]
    values: tuple[float, ...]
    untested: Mapping[str, str]


def mean_and_error(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """The mean over seeds; its error is that of the seeds or that of the rows, whichever is larger."""
    values = [one.value for one in estimates]
    of_rows = math.sqrt(sum(one.error**2 for one in estimates)) / len(estimates)
    of_seeds = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return statistics.fmean(values), max(of_rows, of_seeds)


def verdict_of(mean: float, error: float, margin: float) -> Verdict:
    """Held when the mean reaches the margin and, for a claim of more than nothing, is above 0 by two errors."""
    enough = mean >= margin and (margin <= 0 or mean >= 2 * error)
    return "held" if enough else "not held"


def judged(claim: Claim, outcomes: Mapping[str, Outcome]) -> Finding:
    """A claim's verdict over the outcomes of the seeds, those that cannot tell named with the reason."""
    found: dict[str, Estimate] = {}
    untested: dict[str, str] = {}
    for seed, outcome in outcomes.items():
        try:
            found[seed] = claim.figure(outcome)
        except Untested as reason:
            untested[seed] = str(reason)
    if not found:
        return Finding(claim, "not tested", None, None, (), (), untested)
    mean, error = mean_and_error(list(found.values()))
    values = tuple(one.value for one in found.values())
    return Finding(claim, verdict_of(mean, error, claim.margin), mean, error, tuple(found), values, untested)


def gate(name: str, value: float, least: float) -> dict[str, Any]:
    """What must be so before merging is judged."""
    return {"gate": name, "value": value, "least": least, "passed": value >= least}


def failed(gates: Sequence[Mapping[str, Any]]) -> str:
    """The gates that failed, in words; empty if none did."""
    return "; ".join(f"{g['gate']} {g['value']:.3f} < {g['least']:g}" for g in gates if not g["passed"])


def must_pass(outcome: Outcome) -> None:
    """Raise `Untested` where a gate failed."""
    if failed(outcome["gates"]):
        raise Untested("a gate failed")
