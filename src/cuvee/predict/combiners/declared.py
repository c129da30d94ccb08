"""What a combiner is: settings that can be fitted on a bank, and what comes of that.

    Combiner   frozen settings, as JSON can say them; `fit(bank)` looks at the truth
    Fitted     what was found, as plain numbers and arrays; `apply` combines new predictions and changes nothing

Both are data: an ensemble writes them as JSON and safetensors and makes them again from there. A combiner that looks at
the truth refuses members whose predictions are `in-sample`, unless it was told to take them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, listed
from cuvee.predict.bank import Bank
from cuvee.registry import Registry

Need = Literal["features", "embeddings"]
"""What a fitted combiner looks at besides what members say; `Batch` has them where they are asked for."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What the members said of the rows that are to be combined, in the order that the combiner was fitted with.

    Attributes:
        P: `[M, N, K]`; what is masked is NaN.
        mask: `[M, N]`.
        features: `[N, D]`: the rows' own numbers, where the combiner asks for them.
        embeddings: member → `[N, D]`, where the combiner asks for them.
    """

    P: Array
    mask: Array
    features: Array | None = None
    embeddings: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Fitted(ABC):
    """A combiner that knows all it needs.

    Attributes:
        members: names, in the order that `apply` expects them in.
    """

    kind: ClassVar[str]
    members: tuple[str, ...]

    @abstractmethod
    def apply(self, batch: Batch) -> Array:
        """The combined predictions, `[N, K]`; rows of probabilities sum to one.

        Raises:
            InputError: `no-member`: a row has nobody.
        """

    @property
    def weights(self) -> Array | None:
        """`[M]`, sum one, where the result is the weighted mean of what members say; else `None`."""
        return None

    @property
    def used(self) -> tuple[str, ...]:
        """Members that need to be asked: all but those of weight zero."""
        found = self.weights
        return self.members if found is None else tuple(n for n, w in zip(self.members, found) if w > 0)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user of it should know, such as a member that is badly calibrated."""
        return ()

    @property
    def needs(self) -> tuple[Need, ...]:
        """What `apply` looks at in a batch besides `P` and `mask`."""
        return ()

    @property
    def thing(self) -> Any:
        """A trained object that JSON and arrays cannot hold, kept beside what `told` tells; mostly `None`."""
        return None

    def with_thing(self, thing: Any) -> Fitted:  # noqa: ARG002 - for those that have one
        """What was restored, with the trained object that was kept beside it."""
        return self

    @abstractmethod
    def told(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Itself as JSON and as arrays; `restored` makes it again."""

    @classmethod
    @abstractmethod
    def restored(cls, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Fitted:
        """What `told` told."""


class Facts:
    """What a fit found besides, for combiners that keep it; what should be known stands in it as `notes`."""

    about: Mapping[str, Any]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user of it should know."""
        return tuple(self.about.get("notes", ()))


@dataclass(frozen=True, eq=False)
class Staged(Fitted):
    """A fitted combiner that asks members in turn, and some of them only about some rows.

    `apply` gives the same for a batch in which only those were asked that `undecided` sent on, the others masked, as
    for one in which all were (`asking_all.gathered` makes the first).
    """

    @property
    @abstractmethod
    def order(self) -> tuple[int, ...]:
        """Numbers of the members in the order that they are asked in."""

    @abstractmethod
    def undecided(self, batch: Batch, step: int) -> Array:
        """Rows that need the next member.

        Args:
            batch: what the members `order[0]` … `order[step]` said; all others are masked.
            step: how many of the order have been asked, less one.

        Returns:
            bool `[N]`.
        """


@dataclass(frozen=True)
class Combiner(ABC):
    """Settings of a combiner; frozen, plain values."""

    name: ClassVar[str]
    learns: ClassVar[bool]
    """Whether `fit` looks at the truth."""

    @abstractmethod
    def fit(self, bank: Bank) -> Fitted:
        """Find what there is to find on a bank.

        Raises:
            InputError: `in-sample`, `missing-label` and what else the combiner needs and the bank lacks.
        """

    def priced(self, costs: Mapping[str, float]) -> Combiner:  # noqa: ARG002 - for those that look at costs
        """Itself, told what members cost that it was not told of: member → µs per row; most look at no cost."""
        return self

    def bare(self) -> Combiner:
        """Itself without what its fit tells besides: what it finds, and so what it predicts, is the same."""
        return self

    def settings(self) -> dict[str, Any]:
        """The settings as JSON can say them."""
        return asdict(self)


COMBINERS: Registry[type[Combiner]] = Registry("combiner", "cuvee.combiners")
"""Combiners by the name that configurations use."""

FITTED: Registry[type[Fitted]] = Registry("fitted combiner", "cuvee.combiners")
"""What fitting gives, by `kind`."""


def check_honest(bank: Bank, *, allow_in_sample: bool = False) -> None:
    """Refuse what a combiner would be deceived by: no truth, or predictions on rows that members were trained on.

    Raises:
        InputError: `missing-label`; `in-sample`, with the members.
    """
    if bank.truth is None:
        message = "a combiner that is fitted needs the right answer of every row; the bank has none"
        raise InputError(Fault("missing-label", message, hint="give `y` with the rows"))
    check_unseen(bank, allow_in_sample=allow_in_sample)


def check_unseen(bank: Bank, *, allow_in_sample: bool = False) -> None:
    """Refuse predictions on rows that members were trained on.

    Raises:
        InputError: `in-sample`, with the members.
    """
    seen = [name for name, how in zip(bank.members, bank.provenance) if how == "in-sample"]
    if seen and not allow_in_sample:
        message = f"a combiner must be fitted on rows that members were not trained on; {listed(seen, 5)} saw them"
        hint = "use rows held out, or `cross_fit`; `allow_in_sample=True` takes them, and the ensemble will say so"
        raise InputError(Fault("in-sample", message, subject=seen[0], hint=hint))


@dataclass(frozen=True, eq=False)
class Linear(Facts, Fitted):
    """The weighted mean of what members say; what votes, weights and greedy selection come to.

    Attributes:
        share: `[M]`, ≥ 0, sum one.
        about: what the fit found besides, as JSON can say it.
    """

    kind: ClassVar[str] = "linear"
    share: Array
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> Array | None:
        """The shares."""
        return self.share

    def apply(self, batch: Batch) -> Array:
        """`Σ_m s_mn P_mn`, the shares renormalised over those who take part."""
        from cuvee.combine import weighted_mean

        return weighted_mean(batch.P, batch.mask, self.share)

    def told(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Members and facts; the shares as an array."""
        return {"members": list(self.members), "about": dict(self.about)}, {"share": self.share}

    @classmethod
    def restored(cls, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Linear:
        """What `told` told."""
        return cls(tuple(said["members"]), np.asarray(arrays["share"], np.float64), dict(said.get("about", {})))


FITTED.register("linear", Linear)
