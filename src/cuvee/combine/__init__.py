"""How predictions of several models become one: pure functions on arrays, one combination per file.

Every function speaks of M members, N rows and K classes; a regression is K = 1.

    P        float64 [M, N, K]   what every member says of every row: probabilities, or values
    mask     bool    [M, N]      who takes part: False for a member that lacks what it reads, failed, or was not asked
    weights  float64 [M] or [M, N]
    result   float64 [N, K]

What is masked is never looked at, so it may hold NaN. A row of which nobody says anything has no result:
`no-member`. Nothing here knows a model, a file or a table.
"""

from cuvee.combine.budgeted import selection_within
from cuvee.combine.greedy import Selection, greedy_selection
from cuvee.combine.mean import weighted_mean
from cuvee.combine.parts import Array, check_covered, shares

__all__ = [
    "Array",
    "Selection",
    "check_covered",
    "greedy_selection",
    "selection_within",
    "shares",
    "weighted_mean",
]
