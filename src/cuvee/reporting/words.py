"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cuvee.types.words import counted as counted
from cuvee.types.words import in_millions as in_millions


def figure(value: float | None) -> str:
    """A number with as many digits as are looked at.

    Example:
        >>> figure(0.91875), figure(12.3456), figure(0.000123), figure(None), figure(0.0), figure(-0.5), figure(3e12)
        ('0.919', '12.35', '1.2e-04', '–', '0', '−0.500', '3.0e+12')
    """
    if value is None or value != value:
        return "–"
    size = abs(value)
    if size == 0:
        return "0"
    sign = "−" if value < 0 else ""
    if not 0.001 <= size < 1e9:
        return f"{sign}{size:.1e}"
    return sign + (f"{size:.3f}" if size < 10 else f"{size:,.2f}" if size < 1000 else f"{size:,.0f}")


def signed(value: float | None, plus: str = "+") -> str:
    """The same with its sign.

    Example:
        >>> signed(0.18), signed(-0.18), signed(0.0), signed(None)
        ('+0.180', '−0.180', '0', '–')
    """
    if value is None or value != value:
        return "–"
    return f"{'−' if value < 0 else plus if value > 0 else ''}{figure(abs(value))}"


def interval(told: Mapping[str, Any]) -> str:
    """A gain with its interval, from `value`, `low` and `high`.

    Example:
        >>> interval({"value": 0.18, "low": 0.15, "high": 0.22}), interval({"value": 0.1, "low": None, "high": None})
        ('+0.180 [+0.150, +0.220]', '+0.100 (no interval)')
        >>> interval({"value": -0.034, "low": -0.068, "high": 0.0001})
        '−0.034 [−0.068, +0.000]'
    """
    low, high = told.get("low"), told.get("high")
    if low is None or high is None:
        return f"{signed(told['value'])} (no interval)"
    if 0.001 <= max(abs(end) for end in (told["value"], low, high)) < 10:  # all with the digits of the largest
        value, low, high = (f"{end:+.3f}".replace("-", "−") for end in (told["value"], low, high))
        return f"{value} [{low}, {high}]"
    return f"{signed(told['value'])} [{signed(low)}, {signed(high)}]"


def seconds(value: float | None) -> str:
    """A span of time.

    Example:
        >>> seconds(0.0008), seconds(2.5), seconds(150.0), seconds(None)
        ('0.80 ms', '2.5 s', '2.5 min', '–')
    """
    if value is None:
        return "–"
    if value < 1:
        return f"{1000 * value:.2f} ms"
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"
