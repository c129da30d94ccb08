"""Metrics: what answers are worth, one file per family.

declared        what a metric is
classification  accuracy, balanced accuracy, F1, AUC
probabilities   log loss, Brier score, calibration error
regression      mean absolute error, root of the mean square, R²
matching        exact match and choices, share of answers that parse
likelihood      bits per byte, perplexity, nats per token
retrieval       recall@k, mean reciprocal rank
outcomes        what a task's own function says
known           all of them by name
counted         metrics of all rows, for rows that count several times
scoring         a metric of one model's answers, with its error bar
from_sklearn    what scikit-learn works out
"""

from cuvee.judging.metrics.declared import Mean, Metric, Ratio, Undefined, Whole
from cuvee.judging.metrics.known import METRICS, metric_named, metrics_for
from cuvee.judging.metrics.scoring import score_of

__all__ = [
    "METRICS",
    "Mean",
    "Metric",
    "Ratio",
    "Undefined",
    "Whole",
    "metric_named",
    "metrics_for",
    "score_of",
]
