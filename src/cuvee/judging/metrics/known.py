"""The metrics by name, and which of them are for what kind of answers."""

from __future__ import annotations

import re
from typing import Final

from cuvee.errors import Fault, RecipeError, UsageError, listed
from cuvee.judging.answers import Kind
from cuvee.judging.metrics import classification, likelihood, matching, outcomes, probabilities, regression, retrieval
from cuvee.judging.metrics.declared import Metric
from cuvee.registry import Registry

_FAMILIES: Final = (classification, probabilities, regression, matching, likelihood, retrieval, outcomes)
_BUILT_IN: Final[tuple[Metric, ...]] = tuple(metric for family in _FAMILIES for metric in family.METRICS)
_AT_K: Final = re.compile(r"recall@([1-9][0-9]{0,6})")

METRICS: Final[Registry[Metric]] = Registry("metric", "cuvee.metrics")
"""All metrics; those of other packages register here, in a module that the entry-point group `cuvee.metrics` names."""

for _metric in _BUILT_IN:
    METRICS.register(_metric.name, _metric)
_ALSO: Final = {other: metric.name for metric in _BUILT_IN for other in metric.also}


def metrics_for(kind: Kind) -> tuple[str, ...]:
    """Names of the metrics of a kind of answers, the usual one first, those of other packages last.

    Example:
        >>> metrics_for("match")
        ('correct', 'parsed')
    """
    own = [metric.name for metric in _BUILT_IN if kind in metric.kinds]
    return tuple(own + [name for name in METRICS if name not in own and kind in METRICS.get(name).kinds])


def metric_named(name: str, kind: Kind | None = None) -> Metric:
    """The metric of that name; `recall@k` for any k.

    Args:
        name: its name, or another that it goes by.
        kind: the kind of answers that it is wanted for; any if not given.

    Raises:
        UsageError: there is none, or it is not of this kind of answers.
    """
    found = _AT_K.fullmatch(name) if isinstance(name, str) else None
    try:
        metric = retrieval.recall_at(int(found[1])) if found else METRICS.get(_ALSO.get(name, name))
    except RecipeError as error:  # what the registry calls it is for recipes
        raise UsageError(error.faults) from None
    if kind is not None and kind not in metric.kinds:
        message = f"the metric `{name}` is of {listed(metric.kinds)}; the answers are of the kind {kind}"
        hint = f"for {kind} there are {listed(metrics_for(kind), 20)}"
        raise UsageError(Fault("bad-argument", message, subject=name, hint=hint))
    return metric
