"""Which cases of a test are run each time, and which in the slow lane only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def rarely(*cases: Any) -> list[Any]:
    """Cases of the slow lane: others like them are run each time."""
    return [pytest.param(case, marks=pytest.mark.slow) for case in cases]


def every_other(cases: Iterable[Any]) -> list[Any]:
    """All cases, every second one in the slow lane only."""
    return [rarely(case)[0] if number % 2 else case for number, case in enumerate(cases)]
