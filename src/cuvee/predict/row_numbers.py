"""The rows' own numbers from named columns: what combiners look at that ask where a row lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, nearest
from cuvee.predict.rows import Rows


@dataclass(frozen=True)
class ColumnNumbers:
    """Columns of numbers side by side, empty cells filled in; data rather than code, so it is saved without trust.

    Attributes:
        columns: their names, in order.
        fills: what stands for an empty cell of each.

    Example:
        >>> ColumnNumbers(("x", "y"), (0.0, 5.0))({"x": [1, 2], "y": [3.0, None]}).tolist()
        [[1.0, 3.0], [2.0, 5.0]]
    """

    columns: tuple[str, ...]
    fills: tuple[float, ...]

    @classmethod
    def of(cls, columns: Sequence[str], rows: Rows) -> ColumnNumbers:
        """Columns whose empty cells are filled in by the median of the others; by 0 where all are empty."""
        found = (_numbers(rows.data, name) for name in columns)
        there = (column[np.isfinite(column)] for column in found)
        return cls(tuple(columns), tuple(float(np.median(one)) if len(one) else 0.0 for one in there))

    def __call__(self, data: Any) -> Array:
        """`[N, D]` of a mapping of columns or a data frame.

        Raises:
            InputError: `bad-data`: a column is not there or holds something else than numbers.
        """
        found = [_numbers(data, name) for name in self.columns]
        return np.column_stack([np.where(np.isnan(one), fill, one) for one, fill in zip(found, self.fills)])


def _numbers(data: Any, name: str) -> Array:
    known = list(data) if isinstance(data, Mapping) or hasattr(data, "columns") else []
    if name not in known:
        message = f"rows are compared by their column {name!r}; there is none"
        raise InputError(Fault("bad-data", message, None, name, nearest(name, map(str, known))))
    try:
        return np.asarray(data[name], np.float64)
    except (TypeError, ValueError) as error:
        message = f"rows are compared by their column {name!r}, which should hold numbers: {error}"
        raise InputError(Fault("bad-data", message, subject=name)) from error
