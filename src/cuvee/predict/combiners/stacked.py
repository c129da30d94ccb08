"""Fitted stacks: with a linear rule, which arrays can hold, or with an estimator, which is kept beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from cuvee.combine.parts import Array
from cuvee.errors import Fault, UsageError
from cuvee.predict.combiners.declared import FITTED, Batch, Facts, Fitted, Need
from cuvee.predict.combiners.design import Design
from cuvee.predict.learned_rules import Rule, Thing


@dataclass(frozen=True, eq=False)
class _Designed(Facts, Fitted):
    """A fitted stack.

    Attributes:
        design: what it reads.
    """

    design: Design

    @property
    def needs(self) -> tuple[Need, ...]:
        """Embeddings and features, where the design reads them."""
        return self.design.needs


@dataclass(frozen=True, eq=False)
class Stacked(_Designed):
    """A stack with a linear meta-learner, applied without the library that found it.

    Attributes:
        rule: coefficients.
        about: what the fit found besides, as JSON can say it.
    """

    kind: ClassVar[str] = "stack"
    rule: Rule
    about: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, batch: Batch) -> Array:
        """`link(X Wᵀ + b)` of the design's columns X."""
        return self.rule.answer(self.design.matrix(batch))

    def told(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Design, link and facts; coefficients, means and deviations as arrays."""
        said, arrays = self.design.told()
        said |= {"members": list(self.members), "link": self.rule.link, "about": dict(self.about)}
        return said, {**arrays, "coef": self.rule.coef, "intercept": self.rule.intercept}

    @classmethod
    def restored(cls, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Stacked:
        """What `told` told."""
        coef, intercept = (np.asarray(arrays[name], np.float64) for name in ("coef", "intercept"))
        rule = Rule(coef, intercept, said["link"])
        return cls(tuple(said["members"]), Design.restored(said, arrays), rule, dict(said.get("about", {})))


@dataclass(frozen=True, eq=False)
class StackedThing(_Designed):
    """A stack with an estimator.

    `told` tells all but the estimator, `thing`; who saves keeps that beside, and gives it back by `with_thing`.

    Attributes:
        estimator: the fitted estimator; `None` until it is given back.
        classes: how many classes there are; 0 for a regression.
        about: what the fit found besides, as JSON can say it.
    """

    kind: ClassVar[str] = "stack-thing"
    estimator: Any
    classes: int
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def thing(self) -> Any:
        """The fitted estimator."""
        return self.estimator

    def with_thing(self, thing: Any) -> StackedThing:
        """Itself with its estimator."""
        return replace(self, estimator=thing)

    def apply(self, batch: Batch) -> Array:
        """What the estimator says of the design's columns.

        Raises:
            UsageError: it has not been given back.
            InputError: `bad-output`: it gives something else than it should.
        """
        if self.estimator is None:
            message = "the stack was restored without its meta-learner"
            raise UsageError(Fault("bad-argument", message, subject="thing", hint="give it back by `with_thing`"))
        return Thing(self.estimator, self.classes).answer(self.design.matrix(batch))

    def told(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Design and facts, without the estimator; means and deviations as arrays."""
        said, arrays = self.design.told()
        return {**said, "members": list(self.members), "classes": self.classes, "about": dict(self.about)}, arrays

    @classmethod
    def restored(cls, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> StackedThing:
        """What `told` told, without its estimator."""
        design = Design.restored(said, arrays)
        return cls(tuple(said["members"]), design, None, int(said["classes"]), dict(said.get("about", {})))


FITTED.register("stack", Stacked)
FITTED.register("stack-thing", StackedThing)
