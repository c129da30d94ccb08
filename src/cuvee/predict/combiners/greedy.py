"""Greedy ensemble selection, the usual combiner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from cuvee.combine import Array
from cuvee.combine.budgeted import selection_within
from cuvee.combine.greedy import Loss, Selection, greedy_selection
from cuvee.errors import Fault, InputError, integer_faults, refuse
from cuvee.judging.metrics import Metric
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, Combiner, Linear
from cuvee.predict.combiners.grounds import (
    best_alone,
    costs_of,
    grounds_of,
    joined,
    loss_of,
    mapping_faults,
    metric_for,
)
from cuvee.predict.combiners.suited import check_probable


@dataclass(frozen=True)
class Greedy(Combiner):
    """Greedy ensemble selection (`combine.greedy_selection`): a weighted mean with few members and few digits.

    Attributes:
        metric: what is made good; log loss, or the root of the mean square of a regression, without one.
        rounds: how many members are taken in, with repetitions, ≥ 1.
        first: the best so many are taken before the search begins, ≥ 0.
        bags: how often the search is made with some of the members only, whose weights are averaged; 0: once, with all.
        fraction: share of the members in a bag, (0, 1].
        seed: of the bags.
        budget: `{"us_per_row": x}`: members of the result may cost x together; an impossible one is an error.
        costs: member → microseconds per row; decides ties, and budgets need it.
        digits: significant digits of losses; what agrees in them is equal.
        allow_in_sample: take predictions on rows that members were trained on.

    Source: Caruana et al. 2004; 25 rounds: Salinas and Erickson 2023 (TabRepo, arXiv:2311.02971).
    """

    name: ClassVar[str] = "greedy"
    learns: ClassVar[bool] = True
    metric: str | None = None
    rounds: int = 25
    first: int = 0
    bags: int = 0
    fraction: float = 0.5
    seed: int = 0
    budget: Mapping[str, float] | None = None
    costs: Mapping[str, float] | None = None
    digits: int = 6
    allow_in_sample: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing.

        Raises:
            UsageError: all of them.
        """
        wrong = [*integer_faults("rounds", self.rounds, 1), *integer_faults("digits", self.digits, 1)]
        for name in ("first", "bags", "seed"):
            wrong += integer_faults(name, getattr(self, name), 0)
        if not (isinstance(self.fraction, int | float) and 0 < self.fraction <= 1):
            message = f"`fraction` must be above 0 and at most 1; found {self.fraction!r}"
            wrong.append(Fault("bad-argument", message, subject="fraction"))
        wrong += _budget_faults(self.budget)
        wrong += [] if self.costs is None else mapping_faults("costs", self.costs)
        if self.budget is not None and (self.bags or self.first):
            message = "`budget` cannot be kept where weights of `bags` are averaged, or with a beginning of `first`"
            wrong.append(Fault("bad-argument", message, subject="budget"))
        refuse(wrong)

    def priced(self, costs: Mapping[str, float]) -> Greedy:
        """Itself with costs of members; those that it was told of stay."""
        return replace(self, costs={**costs, **(self.costs or {})})

    def fit(self, bank: Bank) -> Linear:
        """Select on a bank.

        Raises:
            InputError: `missing-label`, `in-sample`, `too-few-rows`, `wrong-member`, `undefined-metric`; `over-budget`,
                with what the cheapest member costs.
            UsageError: a budget without the cost of every member.
        """
        used, facts = grounds_of(bank, allow_in_sample=self.allow_in_sample)
        check_probable(used, self.name)
        metric = metric_for(used.task, self.metric)
        prices = _known(used, self.costs) if self.budget is None else costs_of(used, self.costs, "a budget")
        if self.budget is not None and prices is not None:
            _refuse_impossible(used, prices, self.budget["us_per_row"])
        runs = self._runs(*narrowed(used, metric), prices)
        weights = np.mean([one.weights(len(used.members)) for one in runs], axis=0)
        told = _told(used, metric, runs, weights, prices)
        return Linear(used.members, weights, joined(facts, told))

    def _runs(self, P: Array, mask: Array, loss: Loss, prices: Sequence[float] | None) -> list[Selection]:
        """One selection, or one for every bag."""
        if self.budget is not None and prices is not None:
            limit = self.budget["us_per_row"]
            return [selection_within(P, mask, loss, prices, limit, rounds=self.rounds, digits=self.digits)]
        given: dict[str, Any] = {"rounds": self.rounds, "first": self.first, "costs": prices, "digits": self.digits}
        if not self.bags:
            return [greedy_selection(P, mask, loss, **given)]
        return [greedy_selection(P, mask, loss, among=bag, **given) for bag in self._bags(len(P))]

    def _bags(self, members: int) -> list[list[int]]:
        """Members of every bag, drawn without repetition."""
        draw = np.random.default_rng(self.seed)
        size = max(1, round(self.fraction * members))
        return [sorted(draw.choice(members, size, replace=False).tolist()) for _ in range(self.bags)]


def narrowed(bank: Bank, metric: Metric) -> tuple[Array, Array, Loss]:
    """What a selection needs: predictions, mask, loss. Log loss looks at the right class only: K = 1 is enough."""
    if metric.name != "log_loss" or bank.truth is None:
        return bank.P, bank.mask, loss_of(bank, metric)
    right = bank.P[:, np.arange(len(bank)), bank.truth][:, :, None]
    return right, bank.mask, surprise


def surprise(right: Array) -> float:
    """Log loss from the probabilities of the right classes, `[N, 1]`: the same as the judge's `log_loss`."""
    least = float(np.finfo(np.float64).eps)
    return float((-np.log(np.clip(right[:, 0], least, 1 - least))).mean())


def _told(
    bank: Bank, metric: Metric, runs: Sequence[Selection], weights: Array, prices: Sequence[float] | None
) -> dict[str, Any]:
    """What the fit found besides weights."""
    best, alone = best_alone(bank, metric)
    sign = 1.0 if metric.direction == "lower" else -1.0
    told: dict[str, Any] = {
        "metric": metric.name,
        "fit_score": sign * float(np.mean([one.loss for one in runs])),
        "best_member": bank.members[best],
        "best_member_score": alone,
        "picks": [bank.members[m] for m in runs[0].picks[: runs[0].kept]] if len(runs) == 1 else [],
    }
    if prices is not None:
        told["us_per_row"] = float(sum(c for c, w in zip(prices, weights) if w > 0))
    if uncovered := int((~bank.mask[weights > 0].any(axis=0)).sum()):
        told["rows_without_member"] = uncovered
        told["notes"] = [f"{uncovered:,} rows of the fit have none of the members that were chosen"]
    return told


def _known(bank: Bank, costs: Mapping[str, float] | None) -> list[float] | None:
    """Costs if all are known."""
    return costs_of(bank, costs, "") if costs and set(bank.members) <= set(costs) else None


def _refuse_impossible(bank: Bank, prices: Sequence[float], limit: float) -> None:
    least = min(range(len(prices)), key=lambda m: prices[m])
    if prices[least] > limit:
        message = f"members may cost {limit:g} µs per row together; the cheapest, {bank.members[least]!r}, "
        message += f"costs {prices[least]:g} µs by itself"
        hint = f"the least budget that can be kept is {prices[least]:g} µs per row"
        raise InputError(Fault("over-budget", message, subject=bank.members[least], hint=hint))


def _budget_faults(budget: Any) -> list[Fault]:
    if budget is None:
        return []
    if not isinstance(budget, Mapping) or set(budget) != {"us_per_row"} or mapping_faults("budget", budget):
        message = f"`budget` must be {{'us_per_row': x}} with x > 0; found {budget!r}"
        return [Fault("bad-argument", message, subject="budget")]
    return []


COMBINERS.register("greedy", Greedy)
