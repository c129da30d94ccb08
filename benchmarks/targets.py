"""What is aimed at, beside which the figures stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A figure to reach, and a moonshot beyond it."""

    figure: float
    moonshot: float


NET_BY_FLOOR: Mapping[str, Target] = {
    "linear": Target(2.0, 1.3),
    "slerp": Target(3.0, 2.0),
    "task_arithmetic": Target(2.5, 1.6),
    "ties": Target(6.0, 3.0),
    "dare_ties": Target(5.0, 2.5),
}
"""(wall − start-up) ÷ floor, at most; for 0.5 B parameters in memory."""

TIMES_FASTER: Mapping[str, Target] = {
    "linear": Target(4.0, 6.0),
    "slerp": Target(5.0, 8.0),
    "task_arithmetic": Target(4.0, 6.0),
    "ties": Target(20.0, 35.0),
    "dare_ties": Target(10.0, 20.0),
}
"""mergekit's wall time ÷ Cuvee's, whole runs, at least; for 1.24 B parameters on disk."""


def told(size: str, method: str, net_by_floor: float | None, times_faster: float | None) -> str:
    """A cell: the target, the moonshot in brackets, and whether they are met; empty where nothing is aimed at."""
    if size == "0.5" and method in NET_BY_FLOOR and net_by_floor is not None:
        target = NET_BY_FLOOR[method]
        reached = _verdict(net_by_floor <= target.figure, net_by_floor <= target.moonshot)
        return f"net ≤ {target.figure:g} ({target.moonshot:g}): {reached}"
    if size == "1.24" and method in TIMES_FASTER and times_faster is not None:
        target = TIMES_FASTER[method]
        reached = _verdict(times_faster >= target.figure, times_faster >= target.moonshot)
        return f"× ≥ {target.figure:g} ({target.moonshot:g}): {reached}"
    return ""


def _verdict(met: bool, moonshot: bool) -> str:
    return "moonshot" if moonshot else "met" if met else "missed"
