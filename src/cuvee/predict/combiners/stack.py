"""Stacking: a meta-learner decides from what all members say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from cuvee.errors import Fault, InputError, UsageError, integer_faults, nearest, refuse
from cuvee.predict import meta_learners
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, Combiner, Linear
from cuvee.predict.combiners.design import On, batch_of, design_of, spoken
from cuvee.predict.combiners.grounds import (
    FEWEST,
    alone,
    best_alone,
    figure_of,
    grounds_of,
    joined,
    metric_for,
    probable_of,
)
from cuvee.predict.combiners.stacked import Stacked, StackedThing
from cuvee.predict.combiners.suited import check_probable
from cuvee.predict.learned_rules import Rule

AnyStack = Stacked | StackedThing | Linear

KNOWN = ("probabilities", "logits", "embeddings")


@dataclass(frozen=True)
class Stack(Combiner):
    """One level of stacking, on predictions that members made of rows they were not trained on.

    `design.Design` says what the meta-learner reads, `meta_learners` what there is. The fit also asks what the stack is
    worth on rows that it was not fitted on, by cross-validation of the whole fit, and keeps it in `about` beside the
    best single member.

    Attributes:
        meta: `logistic` (multinomial; without a choice for classes), `ridge` (without one for values), `nonnegative`
            (one weight for each member: the result is a weighted mean), `gradient-boosting`, or an estimator with
            `fit` and `predict_proba`, or `predict` for values.
        on: `probabilities` (the values of a regression), `logits`, `embeddings`, or several of them.
        features: the rows' own numbers besides (`Bank.features`).
        folds: of cross-validation, ≥ 2.
        fewest: rows that each class must have, ≥ 2.
        seed: of folds, and of gradient boosting.
        allow_in_sample: take predictions on rows that members were trained on: the stack trusts who overfits most.
        judged: ask besides what the stack is worth; that takes `folds` more fits and changes no prediction.

    Source: Wolpert 1992, Stacked Generalization; Ting and Witten 1999, Issues in Stacked Generalization (probabilities
    rather than labels); Breiman 1996, Stacked Regressions.
    """

    name: ClassVar[str] = "stack"
    learns: ClassVar[bool] = True
    meta: Any = None
    on: On | tuple[On, ...] = "probabilities"
    features: bool = False
    folds: int = 5
    fewest: int = FEWEST
    seed: int = 0
    allow_in_sample: bool = False
    judged: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing.

        Raises:
            UsageError: all of them.
        """
        wrong = [*integer_faults("folds", self.folds, 2), *integer_faults("fewest", self.fewest, 2)]
        wrong += integer_faults("seed", self.seed, 0)
        foreign = [one for one in self.blocks if one not in KNOWN]
        wrong += [Fault("bad-argument", f"`on` has no {o!r}", None, "on", nearest(str(o), KNOWN)) for o in foreign]
        if not foreign and (len(set(self.blocks)) < max(1, len(self.blocks)) or {*KNOWN[:2]} <= {*self.blocks}):
            message = f"`on` must be one of {', '.join(KNOWN)}, or embeddings and one of the others; found {self.on!r}"
            wrong.append(Fault("bad-argument", message, subject="on"))
        if self.meta == "nonnegative" and (self.blocks != ("probabilities",) or self.features):
            message = "non-negative weights are of members: they are found on probabilities alone, without features"
            wrong.append(Fault("bad-argument", message, subject="meta"))
        refuse(wrong)

    @property
    def blocks(self) -> tuple[On, ...]:
        """What is looked at, as a tuple."""
        return (self.on,) if isinstance(self.on, str) else tuple(self.on)

    def bare(self) -> Stack:
        """Itself without asking what it is worth: who fits it in folds finds that out anyway."""
        return replace(self, judged=False)

    def settings(self) -> dict[str, Any]:
        """The settings as JSON can say them; an estimator by the name of its class, which does not make it again."""
        if self.meta is None or isinstance(self.meta, str):
            return asdict(self)
        kind = type(self.meta)
        return {**asdict(replace(self, meta=None)), "meta": f"{kind.__module__}.{kind.__qualname__}"}

    def fit(self, bank: Bank) -> AnyStack:
        """Train the meta-learner on a bank.

        Returns:
            `Stacked`, `StackedThing` of an estimator, or `Linear` of non-negative weights.

        Raises:
            InputError: `missing-label`, `in-sample`, `too-few-rows`; `wrong-member`: without embeddings, or of scores
                where weights are sought.
            UsageError: the meta-learner, or what it is to look at, does not fit the task; features are not there.
        """
        chosen = self._chosen(bank)
        seen = spoken(batch_of(bank), self.blocks, tuple(bank.embeddings) if "embeddings" in self.blocks else ())
        used, facts = grounds_of(bank, allow_in_sample=self.allow_in_sample, fewest=self.fewest, seen=seen)

        def fit(rows: Bank) -> AnyStack:
            return self._weigh(rows) if chosen == "nonnegative" else self._learn(chosen, rows)

        found = fit(used)
        about = {**facts, "meta": chosen if isinstance(chosen, str) else type(chosen).__qualname__}
        if not found.about.get("converged", True):
            about = joined(about, {"notes": ["the logistic regression did not come to its end: scale the features"]})
        worth = self._worth(used, fit) if self.judged else {}
        return replace(found, about=joined(about, found.about, worth))

    def _chosen(self, bank: Bank) -> Any:
        chosen = ("logistic" if bank.task == "classification" else "ridge") if self.meta is None else self.meta
        meta_learners.check_meta(chosen, _classes(bank))
        if bank.task == "regression" and "logits" in self.blocks:
            raise UsageError(Fault("bad-argument", "values of a regression have no logits", subject="on"))
        return chosen

    def _learn(self, chosen: Any, bank: Bank) -> Stacked | StackedThing:
        assert bank.truth is not None
        design = design_of(bank, self.blocks, self.features)
        X, y = design.matrix(batch_of(bank)), bank.truth
        learned = meta_learners.learn(chosen, X, y, _classes(bank), folds=self.folds, seed=self.seed)
        if isinstance(learned, Rule):
            return Stacked(bank.members, design, learned, learned.facts)
        return StackedThing(bank.members, design, learned.thing, learned.classes)

    def _weigh(self, bank: Bank) -> Linear:
        """Non-negative weights, from the rows in which every member takes part."""
        check_probable(bank, self.name)
        full = np.flatnonzero(bank.mask.all(axis=0))
        rows = bank.rows(full)
        if not len(rows) or rows.truth is None:
            message = "non-negative weights are found on rows that every member predicted; there are none"
            raise InputError(Fault("too-few-rows", message))
        target = rows.truth[:, None] if rows.task == "regression" else np.eye(len(rows.classes))[rows.truth]
        return Linear(bank.members, meta_learners.nonnegative(rows.P, target), {"rows_of_all": len(rows)})

    def _worth(self, bank: Bank, fit: Callable[[Bank], AnyStack]) -> dict[str, Any]:
        """What the whole fit is worth on rows left out of it, beside the best single member on the same rows."""
        assert bank.truth is not None
        said = np.zeros(bank.P.shape[1:])
        for learned, asked in meta_learners.folds_of(bank.truth, self.folds, self.seed, _classes(bank)):
            said[asked] = fit(bank.rows(learned)).apply(batch_of(bank.rows(asked)))
        told: dict[str, Any] = {}
        for metric in [metric_for(bank.task, name) for name in _metrics(bank)]:
            told[f"nested_{metric.name}"] = figure_of(bank, said, metric)
        return {**told, **_best(bank)}


def _classes(bank: Bank) -> int:
    return len(bank.classes) if bank.task == "classification" else 0


def _metrics(bank: Bank) -> tuple[str, ...]:
    """Log loss stands beside accuracy: a stack may sharpen, which the one does not see."""
    return ("log_loss", "accuracy") if bank.task == "classification" else ("rmse",)


def _best(bank: Bank) -> dict[str, Any]:
    """The best single member where there is one that says probabilities, or values."""
    said = bank.mask.any(axis=1) & (np.array(probable_of(bank)) | (bank.task == "regression"))
    rows = bank.rows(np.flatnonzero(bank.mask.any(axis=0)))
    if not said.any() or not len(rows):
        return {}
    metrics = [metric_for(bank.task, name) for name in _metrics(bank)]
    best, _ = best_alone(rows, metrics[0], np.flatnonzero(said).tolist())
    figures = {f"best_member_{one.name}": figure_of(rows, alone(rows, best), one) for one in metrics}
    return {"best_member": bank.members[best], **figures}


COMBINERS.register("stack", Stack)
