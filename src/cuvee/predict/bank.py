"""A bank: what every member said of every row, with the honest word of how it came to know the rows.

Combiners are fitted on banks, leaderboards and explanations are read off them, and no model is asked twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, nearest
from cuvee.predict.trained import Label, Task

Provenance = Literal["out-of-fold", "hold-out", "in-sample"]
"""How the predictions of a member came about: by models that were trained without the row (`out-of-fold`, of
cross-fitting), on rows kept from all training (`hold-out`), or on rows that it was trained on (`in-sample`)."""

PROVENANCES: Final[tuple[Provenance, ...]] = ("out-of-fold", "hold-out", "in-sample")


@dataclass(frozen=True, eq=False)
class Bank:
    """Predictions of M members on N rows over K classes.

    Attributes:
        task: classification or regression.
        members: names, in the order of `P`.
        classes: the labels of the ensemble in the order of `P`; none for a regression.
        P: float64 `[M, N, K]`; a regression has K = 1. What is masked is NaN.
        mask: bool `[M, N]`: rows that the member predicted.
        ids: a name for each row, all different.
        truth: `[N]`: the number of the right class (int64), or the value (float64); `None` where it is not known.
        provenance: for each member, how it knows the rows.
        probable: for each member, whether its entries are probabilities; those of `scores` are not.
        embeddings: member → `[N, D]`, for stacks.
        features: `[N, D]`, the numbers of the rows themselves, for dynamic selection and stacks; `None` without.
        notes: what a reader of it should know.
    """

    task: Task
    members: tuple[str, ...]
    classes: tuple[Label, ...]
    P: Array
    mask: Array
    ids: tuple[str, ...]
    truth: Array | None
    provenance: tuple[Provenance, ...]
    probable: tuple[bool, ...] = ()
    embeddings: Mapping[str, Array] = field(default_factory=dict)
    features: Array | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, where: Sequence[int] | Array) -> Bank:
        """The bank on some of its rows, in that order."""
        at = np.asarray(where, dtype=np.int64)
        return replace(
            self,
            P=self.P[:, at],
            mask=self.mask[:, at],
            ids=tuple(self.ids[i] for i in at),
            truth=None if self.truth is None else self.truth[at],
            embeddings={name: found[at] for name, found in self.embeddings.items()},
            features=None if self.features is None else self.features[at],
        )

    def only(self, names: Sequence[str]) -> Bank:
        """The bank of some of its members, in that order.

        Raises:
            InputError: `unknown-member`.
        """
        if absent := [name for name in names if name not in self.members]:
            raise InputError(
                [
                    Fault("unknown-member", f"the bank has no member {name!r}", None, name, nearest(name, self.members))
                    for name in absent
                ]
            )
        at = [self.members.index(name) for name in names]
        return replace(
            self,
            members=tuple(names),
            P=self.P[at],
            mask=self.mask[at],
            provenance=tuple(self.provenance[i] for i in at),
            probable=tuple(self.probable[i] for i in at) if self.probable else (),
            embeddings={name: self.embeddings[name] for name in names if name in self.embeddings},
        )
