"""The handwritten digits that come with scikit-learn, as a table."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

PARTS: Final = ("train", "train", "train", "validation", "test")
"""Parts that rows are dealt to, in equal shares."""


def digits(seed: int, limit: int | None = None) -> list[dict[str, Any]]:
    """Rows of 64 grey values with their digit, an id and a part.

    Args:
        seed: of the dealing.
        limit: most rows.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    order = list(range(len(found.target)))
    random.Random(f"digits {seed}").shuffle(order)
    return [
        _row(number, found.data[number], int(found.target[number]), PARTS[place % len(PARTS)])
        for place, number in enumerate(order[:limit])
    ]


def _row(number: int, values: Sequence[float], digit: int, part: str) -> dict[str, Any]:
    pixels = {f"p{place:02}": int(value) for place, value in enumerate(values)}
    return {"id": f"digit-{number}", "part": part, "digit": digit, **pixels}
