"""What median, trimmed mean, maximum and minimum have in common: pooled entry by entry, then a distribution again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from cuvee.combine import Array, normalised, weighted_mean
from cuvee.predict.combiners.declared import Batch, Fitted


@dataclass(frozen=True, eq=False)
class Pooled(Fitted):
    """A combination entry by entry.

    Attributes:
        classes: whether rows are probabilities, which are made to sum to one again.
    """

    classes: bool

    @abstractmethod
    def pool(self, P: Array, mask: Array) -> Array:
        """The entries combined, `[N, K]`."""

    def apply(self, batch: Batch) -> Array:
        """The entries combined; of classes each row divided by its sum, or the mean where nothing is left of it."""
        made = self.pool(batch.P, batch.mask)
        return normalised(made, lambda: weighted_mean(batch.P, batch.mask)) if self.classes else made

    def told(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """All of it as JSON: there are no arrays."""
        return asdict(self) | {"members": list(self.members)}, {}

    @classmethod
    def restored(cls, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:  # noqa: ARG003 - there are none
        """What `told` told."""
        return cls(**{**said, "members": tuple(said["members"])})
