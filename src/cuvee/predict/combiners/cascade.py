"""Cascades: cheap members first, dear ones only where these are not sure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

import numpy as np

from cuvee.combine import Array
from cuvee.combine.cascade import Confidence, cascade, confidence
from cuvee.combine.thresholds import Stakes, fitted_cascade
from cuvee.errors import Fault, InputError, UsageError, nearest, refuse
from cuvee.judging.metrics import Mean, Metric
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, FITTED, Batch, Combiner, Facts, Staged
from cuvee.predict.combiners.grounds import (
    costs_of,
    grounds_of,
    mapping_faults,
    metric_for,
)
from cuvee.predict.combiners.suited import check_probable

HOW: Final = ("top", "margin", "entropy")


@dataclass(frozen=True)
class Cascade(Combiner):
    """Members from the cheapest to the dearest; the first that is sure enough answers (`combine.cascade`).

    How sure is enough is fitted for each member (`combine.thresholds`): so that the mean cost stays within
    `target_cost` and the loss is least, or so that the loss stays within `target_loss` and the cost is least; without
    either, so that the loss is no more than that of the dearest member's word. Members that nothing is lost
    without are left out. Two members are a route from small to large.

    Attributes:
        confidence: `top`, the largest probability; `margin`, between the two largest; `entropy`, 1 less the normalised
            one.
        target_cost: microseconds per row, in the mean over the bank, > 0.
        target_loss: value of the metric that is to be reached, in its own unit.
        metric: of the loss; one that is a mean over rows.
        costs: member → microseconds per row; those that were measured without it (`priced`).
        allow_in_sample: take predictions on rows that members were trained on: they are surer of those.
    """

    name: ClassVar[str] = "cascade"
    learns: ClassVar[bool] = True
    confidence: Confidence = "top"
    target_cost: float | None = None
    target_loss: float | None = None
    metric: str = "log_loss"
    costs: Mapping[str, float] | None = None
    allow_in_sample: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing.

        Raises:
            UsageError: all of them.
        """
        wrong = [] if self.costs is None else mapping_faults("costs", self.costs)
        if self.confidence not in HOW:
            message = f"there is no confidence {self.confidence!r}"
            wrong.append(Fault("bad-argument", message, None, "confidence", nearest(str(self.confidence), HOW)))
        for name, least in (("target_cost", 0.0), ("target_loss", -np.inf)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and least < value < np.inf):
                message = f"`{name}` must be a finite number{' above 0' if least == 0 else ''}; found {value!r}"
                wrong.append(Fault("bad-argument", message, subject=name))
        if self.target_cost is not None and self.target_loss is not None:
            message = "either the cost or the loss is limited, and the other made small: give one target"
            wrong.append(Fault("bad-argument", message, subject="target_loss"))
        refuse(wrong)

    def priced(self, costs: Mapping[str, float]) -> Cascade:
        """Itself with costs of members; those that it was told of stay."""
        return replace(self, costs={**costs, **(self.costs or {})})

    def fit(self, bank: Bank) -> Cascaded:
        """Find the thresholds.

        Raises:
            InputError: `missing-label`, `in-sample`, `too-few-rows`, `wrong-member`; `over-budget`: no thresholds keep
                to the target, with the nearest that can be reached.
            UsageError: a regression, a metric that is no mean over rows, or members of unknown cost.
        """
        if bank.task == "regression":
            message = "a cascade asks how sure a member is; values of a regression do not say"
            raise UsageError(Fault("bad-argument", message, subject="cascade"))
        metric = _mean_metric(bank, self.metric)
        used, facts = grounds_of(bank, allow_in_sample=self.allow_in_sample)
        check_probable(used, self.name)
        costs = np.array(costs_of(used, self.costs, "a cascade"))
        order = tuple(int(m) for m in np.argsort(costs, kind="stable"))
        stakes = self._stakes(used, metric, costs[list(order)], order)
        turns, taus = fitted_cascade(stakes)
        asked, order = stakes.of(turns), tuple(order[i] for i in turns)
        _refuse_unreached(asked, asked.value(taus)[0], metric)
        about = {**facts, **_told(used, asked, taus, order, metric)}
        return Cascaded(used.members, order, taus, self.confidence, about)

    def _stakes(self, bank: Bank, metric: Metric, costs: Array, order: tuple[int, ...]) -> Stakes:
        """What is at stake, members in order."""
        P, mask = bank.P[list(order)], bank.mask[list(order)]
        losses = np.stack([_row_losses(bank, metric, p, there) for p, there in zip(P, mask)])
        sure = np.where(mask, confidence(np.where(mask[:, :, None], P, 0.0), self.confidence), -np.inf)
        sign = 1.0 if metric.direction == "lower" else -1.0
        if self.target_cost is not None:
            return Stakes(sure, mask, losses, costs, "cost", self.target_cost)
        if self.target_loss is not None:
            return Stakes(sure, mask, losses, costs, "loss", sign * self.target_loss)
        free = Stakes(sure, mask, losses, costs, "loss", 0.0)
        all_asked = free.outcome(free.ends(np.full(len(sure) - 1, np.inf)))[0].mean()
        return replace(free, limit=float(all_asked))


@dataclass(frozen=True, eq=False)
class Cascaded(Facts, Staged):
    """A cascade with its thresholds.

    Attributes:
        turns: numbers `[m]` of the members that are asked, the cheapest first.
        thresholds: `[m − 1]`, in that order; +∞ for a member that never decides.
        confidence: how sure a member is.
        about: what the fit found besides, as JSON can say it: shares of rows that reach each member and that it
            answers, and the mean cost, on the rows of the fit.
    """

    kind: ClassVar[str] = "cascade"
    turns: tuple[int, ...]
    thresholds: Array
    confidence: Confidence
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def order(self) -> tuple[int, ...]:
        """Numbers of the members, the cheapest first."""
        return self.turns

    @property
    def used(self) -> tuple[str, ...]:
        """Those that are asked at all."""
        return tuple(self.members[m] for m in sorted(self.turns))

    def apply(self, batch: Batch) -> Array:
        """The answer of the first member that is sure enough, of the last that says something otherwise."""
        turns = list(self.turns)
        return cascade(batch.P[turns], batch.mask[turns], self.thresholds, self.confidence)

    def undecided(self, batch: Batch, step: int) -> Array:
        """Rows in which no member up to `order[step]` is sure enough."""
        if step >= len(self.turns) - 1:
            return np.zeros(batch.P.shape[1], bool)
        turns = list(self.turns[: step + 1])
        sure = confidence(batch.P[turns], self.confidence) >= self.thresholds[: step + 1, None]
        return np.logical_not((sure & batch.mask[turns]).any(axis=0))

    def told(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Order, confidence and facts; thresholds as an array."""
        said = {"members": list(self.members), "turns": list(self.turns), "confidence": self.confidence}
        return {**said, "about": dict(self.about)}, {"thresholds": self.thresholds}

    @classmethod
    def restored(cls, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Cascaded:
        """What `told` told."""
        thresholds = np.asarray(arrays["thresholds"], np.float64)
        turns, about = tuple(int(m) for m in said["turns"]), dict(said.get("about", {}))
        return cls(tuple(said["members"]), turns, thresholds, said["confidence"], about)


def _mean_metric(bank: Bank, name: str) -> Metric:
    metric = metric_for(bank.task, name)
    if not isinstance(metric.form, Mean):
        message = f"thresholds are found by sums over rows; {metric.name} is no mean over rows"
        hint = "log_loss, brier and accuracy are"
        raise UsageError(Fault("bad-argument", message, subject="metric", hint=hint))
    return metric


def _row_losses(bank: Bank, metric: Metric, P: Array, there: Array) -> Array:
    """The loss of each row if one member answers, 0 where it says nothing, `[N]`."""
    assert isinstance(metric.form, Mean)
    sign = 1.0 if metric.direction == "lower" else -1.0
    even = np.where(there[:, None], P, 1 / P.shape[1])
    losses: Array = np.where(there, sign * metric.form.rows(bank.answers_of(even)), 0.0)
    return losses


def _refuse_unreached(stakes: Stakes, over: float, metric: Metric) -> None:
    if not over:
        return
    if stakes.limited == "cost":
        reached = stakes.limit + over
        message = (
            f"a row may cost {stakes.limit:g} µs in the mean; the cheapest members by themselves cost {reached:g} µs"
        )
        hint = f"the least that can be kept to is {reached:g} µs per row"
    else:
        sign = 1.0 if metric.direction == "lower" else -1.0
        reached = sign * (stakes.limit + over)
        message = f"{metric.name} should be {sign * stakes.limit:g}; the best that thresholds reach is {reached:g}"
        hint = "ask for less, or add a better member"
    raise InputError(Fault("over-budget", message, subject=f"target_{stakes.limited}", hint=hint))


def _told(bank: Bank, stakes: Stakes, taus: Array, order: tuple[int, ...], metric: Metric) -> dict[str, Any]:
    """Shares of rows, costs and the loss on the rows of the fit."""
    at = stakes.ends(taus)
    loss, cost = stakes.outcome(at)
    names = [bank.members[m] for m in order]
    asked = stakes.mask & (np.arange(len(order))[:, None] <= at)
    sign = 1.0 if metric.direction == "lower" else -1.0
    return {
        "metric": metric.name,
        "fit_score": sign * float(loss.mean()),
        "us_per_row": float(cost.mean()),
        "us_per_row_of_all": float(stakes.costs.sum()),
        "reached": {name: float(share) for name, share in zip(names, asked.mean(axis=1))},
        "answered": {name: float((at == i).mean()) for i, name in enumerate(names)},
    }


COMBINERS.register("cascade", Cascade)
FITTED.register("cascade", Cascaded)
