"""Members weighted by what each is worth by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from cuvee.combine import Array, exponential, log_odds, proportional
from cuvee.errors import Fault, InputError, refuse
from cuvee.judging.metrics import metric_named
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, Combiner, Fitted, Linear, check_honest
from cuvee.predict.combiners.hard import TIES, Tie, check_voters, voted
from cuvee.predict.combiners.scored import member_scores
from cuvee.predict.combiners.suited import check_classes, check_probable, choice_faults, number_faults

Rule = Literal["proportional", "softmax", "log-odds"]
RULES: Final[tuple[Rule, ...]] = ("proportional", "softmax", "log-odds")


@dataclass(frozen=True)
class Weighted(Combiner):
    """The mean of what members say, weighted by their scores on a bank; or a vote weighted by log odds.

        proportional   w = max(score, 0), or 1 / error
        softmax        w = exp(± score / tau)
        log-odds       w = ln(a (K − 1) / (1 − a)) of the accuracy a: of hard votes

    `combine.from_scores` has the formulas. Weights are put in proportion to one another: sum one. Weights of your own
    are a setting of `Soft` and `Hard`.

    Args:
        by: a metric of `judging`, its direction known; `None`: log loss for classes, RMSE for values, and accuracy for
            `log-odds`, which knows no other.
        rule: how scores become weights.
        tau: > 0, in units of the score, for `softmax`: what is tau worse weighs 1/e.
        tie: how a tied vote is settled, for `log-odds`.
        allow_in_sample: take members whose predictions are in-sample.

    Raises:
        UsageError: `bad-argument`.
    """

    name: ClassVar[str] = "weighted"
    learns: ClassVar[bool] = True
    by: str | None = None
    rule: Rule = "proportional"
    tau: float = 0.1
    tie: Tie = "confidence"
    allow_in_sample: bool = False

    def __post_init__(self) -> None:
        wrong = choice_faults("rule", self.rule, RULES) + choice_faults("tie", self.tie, TIES)
        wrong += number_faults("tau", self.tau, lambda tau: 0 < tau < float("inf"), "a finite number above 0")
        if self.rule == "log-odds" and self.by not in (None, "accuracy"):
            wrong.append(Fault("bad-argument", f"log odds are of the accuracy; `by` is {self.by!r}", subject="by"))
        refuse(wrong)
        if self.by is not None:
            metric_named(self.by)

    def fit(self, bank: Bank) -> Fitted:
        """Score every member and weigh it.

        Raises:
            InputError: `in-sample`; `missing-label`; `too-few-rows`; `undefined-metric`; `wrong-member`; `bad-weights`:
                no member has a score above nothing.
            UsageError: `bad-argument`: the metric is not of this task, or log odds of a regression.
        """
        if self.rule == "log-odds":
            return self._fit_votes(bank)
        check_probable(bank, self.name)
        check_honest(bank, allow_in_sample=self.allow_in_sample)
        by = self.by or ("rmse" if bank.task == "regression" else "log_loss")
        scores, metric = member_scores(bank, by)
        if self.rule == "softmax":
            weights = exponential(scores, metric.direction, self.tau)
        else:
            weights = proportional(scores, metric.direction)
        return Linear(bank.members, shares_of(weights, bank.members, scores, by), self._about(by, scores))

    def _fit_votes(self, bank: Bank) -> Fitted:
        check_classes(bank, "weighted by log odds", 'use `rule="proportional"` or `rule="softmax"`')
        check_voters(bank, self.name, self.tie)
        check_honest(bank, allow_in_sample=self.allow_in_sample)
        scores, _ = member_scores(bank, "accuracy")
        asked = bank.mask.sum(axis=1)
        weights = log_odds(scores * asked, asked, len(bank.classes))
        share = shares_of(weights, bank.members, scores, "accuracy")
        return voted(bank, share, self.tie, self._about("accuracy", scores))

    def _about(self, by: str, scores: Array) -> dict[str, Any]:
        return {"by": by, "rule": self.rule, "scores": scores.tolist()}


def shares_of(weights: Array, members: tuple[str, ...], scores: Array, by: str) -> Array:
    """Weights that sum to one.

    Raises:
        InputError: `bad-weights`: all are zero.
    """
    if not weights.any():
        told = ", ".join(f"{name} {score:.4g}" for name, score in zip(members, scores))
        message = f"no member is worth anything by `{by}`, so none can have a weight: {told}"
        raise InputError(Fault("bad-weights", message, subject=by, hint='use `rule="softmax"` or another metric'))
    largest = weights / weights.max()
    share: Array = largest / largest.sum()
    return share


COMBINERS.register("weighted", Weighted)
