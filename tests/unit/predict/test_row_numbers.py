"""The rows' own numbers from columns: filled in, in order, and refused where they are none."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from cuvee.errors import InputError
from cuvee.predict.row_numbers import ColumnNumbers
from cuvee.predict.rows import rows_of


def test_empty_cells_are_the_median_of_the_rows_that_were_learned_from() -> None:
    rows = rows_of({"x": [1.0, np.nan, 9.0, 2.0], "z": [np.nan] * 4, "y": [1, 2, 3, 4]})
    made = ColumnNumbers.of(("y", "x", "z"), rows)
    assert made.fills == (2.5, 2.0, 0.0)
    asked = {"x": [None, 7], "y": [0, 1], "z": [3, None], "more": ["a", "b"]}
    np.testing.assert_array_equal(made(asked), [[0, 2, 3], [1, 7, 0]])
    np.testing.assert_array_equal(made(pandas.DataFrame(asked)), made(asked))


def test_columns_that_are_not_there_or_are_no_numbers() -> None:
    made = ColumnNumbers(("height",), (0.0,))
    with pytest.raises(InputError, match="did you mean `heigth`"):
        made({"heigth": [1.0]})
    with pytest.raises(InputError, match="should hold numbers"):
        made({"height": ["tall"]})
    with pytest.raises(InputError, match="there is none"):
        made(np.ones((2, 3)))
