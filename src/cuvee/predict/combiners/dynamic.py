"""Dynamic selection: who may speak of a row is decided by who was right on rows like it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import numpy as np

from cuvee.combine import Array, weighted_mean
from cuvee.combine.des_p import des_p
from cuvee.combine.knora_e import knora_e
from cuvee.combine.knora_u import knora_u
from cuvee.combine.neighbours import nearest_rows
from cuvee.combine.ola import ola
from cuvee.combine.stacking import filled, side_by_side
from cuvee.errors import Fault, InputError, UsageError, integer_faults, nearest, refuse
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, FITTED, Batch, Combiner, Facts, Fitted, Need
from cuvee.predict.combiners.design import batch_of, needed_features
from cuvee.predict.combiners.grounds import grounds_of
from cuvee.predict.combiners.suited import check_probable

Rule = Literal["knora-e", "knora-u", "ola", "des-p"]

RULES: Final[Mapping[str, Callable[[Array, Array, int], Array]]] = {
    "knora-e": lambda hits, mask, _: knora_e(hits, mask),
    "knora-u": lambda hits, mask, _: knora_u(hits, mask),
    "ola": lambda hits, mask, _: ola(hits, mask),
    "des-p": des_p,
}


@dataclass(frozen=True)
class Dynamic(Combiner):
    """Weights for each row by which members were right on the k rows of the bank that are nearest to it.

    Near is what is near by `Bank.features`, each column over its deviation; without features, by what the members say
    side by side, a masked one as the mean of the others. Distances are Euclidean, zero where rows are equal; of equally
    near rows the earlier counts. A member was right on a row if its most probable class, the first of equal ones, is
    the right one; on a row that it did not predict it counts as wrong: nobody knows that it would have been right.

    Where all members that speak of a row name the same class there is nothing to select: their mean is the answer.
    Otherwise it is the mean of what they say with the weights of the rule, among those that take part.

    Attributes:
        rule: `knora-e`, `knora-u`, `ola` or `des-p`.
        k: how many near rows, ≥ 1.
        allow_in_sample: take predictions on rows that members were trained on: then all seem right everywhere.
    """

    name: ClassVar[str] = "dynamic"
    learns: ClassVar[bool] = True
    rule: Rule = "knora-e"
    k: int = 7
    allow_in_sample: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing.

        Raises:
            UsageError: all of them.
        """
        wrong = integer_faults("k", self.k, 1)
        if self.rule not in RULES:
            message = f"there is no rule {self.rule!r} of dynamic selection"
            wrong.append(Fault("bad-argument", message, None, "rule", nearest(str(self.rule), RULES)))
        elif self.name not in ("dynamic", self.rule):
            message = f"`{self.name}` is a rule of its own; found rule={self.rule!r}"
            wrong.append(Fault("bad-argument", message, None, "rule", "use `dynamic`"))
        refuse(wrong)

    def fit(self, bank: Bank) -> Selected:
        """Keep where the rows lie and who was right on them.

        Raises:
            InputError: `missing-label`, `in-sample`, `wrong-member`; `too-few-rows`: fewer than k; `bad-data`: features
                that are not finite.
            UsageError: a regression: there is nothing to be right about.
        """
        if bank.task == "regression":
            message = "dynamic selection asks who was right on rows; values of a regression are never quite right"
            raise UsageError(Fault("bad-argument", message, subject=self.name, hint="use `stack` with features"))
        used, facts = grounds_of(bank, allow_in_sample=self.allow_in_sample)
        check_probable(used, self.name)
        if len(used) < self.k:
            message = f"there must be at least k = {self.k} rows to be near to; the bank has {len(used)}"
            raise InputError(Fault("too-few-rows", message, subject="k"))
        by = "features" if used.features is not None else "profiles"
        places = _places(batch_of(used), by == "features")
        scale = places.std(axis=0) if by == "features" else np.ones(places.shape[1])
        scale = np.where(scale > 1e-12 * np.abs(places).max(axis=0, initial=0.0), scale, 1.0)
        hits = (used.P.argmax(axis=2) == used.truth) & used.mask
        about = {**facts, "rule": self.rule, "by": by}
        return Selected(used.members, self.rule, self.k, places / scale, scale, hits, about)


@dataclass(frozen=True)
class KnoraE(Dynamic):
    """KNORA-Eliminate (`combine.knora_e`)."""

    name: ClassVar[str] = "knora-e"


@dataclass(frozen=True)
class KnoraU(Dynamic):
    """KNORA-Union (`combine.knora_u`)."""

    name: ClassVar[str] = "knora-u"
    rule: Rule = "knora-u"


@dataclass(frozen=True)
class Ola(Dynamic):
    """Overall local accuracy (`combine.ola`)."""

    name: ClassVar[str] = "ola"
    rule: Rule = "ola"


@dataclass(frozen=True)
class DesP(Dynamic):
    """Better than guessing nearby (`combine.des_p`)."""

    name: ClassVar[str] = "des-p"
    rule: Rule = "des-p"


@dataclass(frozen=True, eq=False)
class Selected(Facts, Fitted):
    """Rows, and who was right on them.

    Attributes:
        rule: who speaks.
        k: how many near rows.
        places: `[R, D]`, where the rows lie, over `scale`.
        scale: `[D]`.
        hits: bool `[M, R]`.
        about: what the fit found besides, as JSON can say it; `by`: what near is: `features` or `profiles`.
    """

    kind: ClassVar[str] = "dynamic"
    rule: Rule
    k: int
    places: Array
    scale: Array
    hits: Array
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs(self) -> tuple[Need, ...]:
        """Features, unless rows are compared by what members say of them."""
        return ("features",) if self.about.get("by") == "features" else ()

    def apply(self, batch: Batch) -> Array:
        """The weighted mean, its weights those of `shares_of`."""
        return weighted_mean(batch.P, batch.mask, self.shares_of(batch))

    def shares_of(self, batch: Batch) -> Array:
        """Weights of members, row by row, `[M, N]`.

        Raises:
            UsageError: features are needed and not there.
            InputError: `bad-data`: others than at the fit, or not finite.
        """
        weights = batch.mask.astype(np.float64)
        open_rows = np.flatnonzero(_disagree(batch))
        places = _places(batch, bool(self.needs))
        if places.shape[1] != len(self.scale):
            message = f"rows were told apart by {len(self.scale)} numbers at the fit; these have {places.shape[1]}"
            raise InputError(Fault("bad-data", message, subject="features"))
        near = nearest_rows(places[open_rows] / self.scale, self.places, self.k)
        weights[:, open_rows] = RULES[self.rule](self.hits[:, near], batch.mask[:, open_rows], batch.P.shape[2])
        return weights

    def told(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Rule and facts; places, scale and hits as arrays."""
        said = {"members": list(self.members), "rule": self.rule, "k": self.k, "about": dict(self.about)}
        return said, {"places": self.places, "scale": self.scale, "hits": self.hits.astype(np.uint8)}

    @classmethod
    def restored(cls, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Selected:
        """What `told` told."""
        places, scale = (np.asarray(arrays[name], np.float64) for name in ("places", "scale"))
        hits = np.asarray(arrays["hits"]).astype(bool)
        about = dict(said.get("about", {}))
        return cls(tuple(said["members"]), said["rule"], int(said["k"]), places, scale, hits, about)


def _places(batch: Batch, by_features: bool) -> Array:
    """Where rows lie, `[N, D]`.

    Raises:
        InputError: `bad-data`: a feature is not finite.
    """
    if not by_features:
        return np.nan_to_num(side_by_side(filled(batch.P, batch.mask)))
    places = needed_features(batch)
    if (bad := np.flatnonzero(~np.isfinite(places).all(axis=1))).size:
        message = f"rows are compared by their features, which must be finite; those of row {bad[0]} are not"
        raise InputError(Fault("bad-data", message, subject="features"))
    return places


def _disagree(batch: Batch) -> Array:
    """Rows of which the members do not all name the same class, bool `[N]`."""
    named = batch.P.argmax(axis=2)  # of what is masked, anything: it is left out below
    low = np.where(batch.mask, named, batch.P.shape[2]).min(axis=0)
    high = np.where(batch.mask, named, -1).max(axis=0)
    apart: Array = low < high
    return apart


for _combiner in (Dynamic, KnoraE, KnoraU, Ola, DesP):
    COMBINERS.register(_combiner.name, _combiner)
FITTED.register("dynamic", Selected)
