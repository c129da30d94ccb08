"""Methods called on numbers, for values that were worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from cuvee import methods


def merge(
    name: str, models: Sequence[Any], base: Any = None, dtype: torch.dtype = torch.float64, **settings: Any
) -> list[Any]:
    """The result as a list, computed in doubles unless asked otherwise."""
    tensors = [torch.tensor(m, dtype=dtype) for m in models]
    given = None if base is None else torch.tensor(base, dtype=dtype)
    merged: list[Any] = methods.get(name)(tensors, base=given, **settings).tolist()
    return merged


def exactly(values: Any) -> Any:
    """Equal but for the last bits of a double."""
    return pytest.approx(values, abs=1e-14, rel=1e-14)
