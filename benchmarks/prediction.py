"""What `cuvee plan` would say of the merges that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import Row


def predict_all(methods: Sequence[str], room: Path, *, quick: bool = False) -> dict[str, tuple[float, int]]:
    return {}


def compared(predicted: dict[str, tuple[float, int]], found: Sequence[Row]) -> list[dict[str, Any]]:
    return []
