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
from cuvee.combine.from_scores import exponential, log_odds, proportional
from cuvee.combine.greedy import Selection, greedy_selection
from cuvee.combine.hard import ballots, hard_vote
from cuvee.combine.maximum import maximum
from cuvee.combine.mean import weighted_mean
from cuvee.combine.median import median
from cuvee.combine.minimum import minimum
from cuvee.combine.parts import Array, added, check_covered, normalised, shares
from cuvee.combine.prior import class_prior
from cuvee.combine.product import product, softmax
from cuvee.combine.rank import rank_mean, ranks, reference_of
from cuvee.combine.temperature import apply_temperature, fit_temperature
from cuvee.combine.ties import refuse_ties, settled, tied
from cuvee.combine.trimmed import trimmed_mean
from cuvee.combine.weights import Weights, checked_weights, value_faults

__all__ = [
    "Array",
    "Selection",
    "Weights",
    "added",
    "apply_temperature",
    "ballots",
    "check_covered",
    "checked_weights",
    "class_prior",
    "exponential",
    "fit_temperature",
    "greedy_selection",
    "hard_vote",
    "log_odds",
    "maximum",
    "median",
    "minimum",
    "normalised",
    "product",
    "proportional",
    "rank_mean",
    "ranks",
    "reference_of",
    "refuse_ties",
    "selection_within",
    "settled",
    "shares",
    "softmax",
    "tied",
    "trimmed_mean",
    "value_faults",
    "weighted_mean",
]
