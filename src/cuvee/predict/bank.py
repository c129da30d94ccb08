"""A bank: what every member said of every row, with the honest word of how it came to know the rows.

Combiners are fitted on banks, leaderboards and explanations are read off them, and no model is asked twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, listed, nearest
from cuvee.predict import bank_joining
from cuvee.predict.bank_checks import bank_faults, check_bank
from cuvee.predict.trained import Label, Task
from cuvee.predict.truths import truth_of

if TYPE_CHECKING:
    from cuvee.judging.answers import Answers

__all__ = ["PROVENANCES", "Bank", "Provenance", "bank_faults", "check_bank"]

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

    Making one costs nothing and checks nothing, because rows are drawn from banks thousands of times; `bank_faults`
    says what is wrong with one, and whatever joins, stores or reads banks asks it.
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

    def covered(self) -> Bank:
        """The rows that some member predicted: of a time series the first are masked for all (`cross_fit`)."""
        return self if self.mask.any(axis=0).all() else self.rows(np.flatnonzero(self.mask.any(axis=0)))

    def without(self, names: Sequence[str]) -> Bank:
        """The bank without some of its members.

        Raises:
            InputError: `unknown-member`; `no-member`: nobody would be left.
        """
        self.only(names)
        if not (left := [name for name in self.members if name not in names]):
            message = f"a bank must keep a member; {listed(names, 5)} are all it has"
            raise InputError(Fault("no-member", message))
        return self.only(left)

    def with_members(self, other: Bank) -> Bank:
        """The members of both. The rows must be the same by their ids, in any order, and so must the classes.

        Raises:
            InputError: `rows-differ`, with the ids that are lacking, or where right answers differ;
                `duplicate-member`; `class-mismatch`; `wrong-member`: of another task; what `check_bank` raises.
        """
        return bank_joining.with_members(self, other)

    def with_rows(self, other: Bank) -> Bank:
        """The rows of both, those of the other last. Members and classes must be the same by name, in any order.

        Where the provenance of a member differs, the less independent one counts, and a note says so.

        Raises:
            InputError: `rows-differ`: ids that are there already; `unknown-member`; `class-mismatch`; `missing-label`:
                only one has a truth; `bad-bank`: features or embeddings of one only.
        """
        return bank_joining.with_rows(self, other)

    def with_truth(self, y: Any, *, ids: Sequence[Any] | None = None, row_hash: str | None = None) -> Bank:
        """The bank with the right answers.

        Args:
            y: the label, or the value, of each row; or a mapping from ids to them.
            ids: the id of each of them, in any order; without ids they are in the order of the bank.
            row_hash: the `row_hash` of the rows that they belong to, where that was kept instead of the ids.

        Raises:
            InputError: `rows-differ`: not one for each row, ids or a hash that are not those of the bank; `bad-data`.
        """
        if isinstance(y, Mapping):
            y, ids = list(y.values()), list(y)
        if row_hash is not None and row_hash != self.row_hash:
            message = f"right answers must be of the rows of the bank, {self.row_hash}; found those of {row_hash}"
            raise InputError(Fault("rows-differ", message, subject="row_hash", hint="give `ids` to align them"))
        if ids is None:
            return replace(self, truth=truth_of(y, self.classes, self.task, len(self)))
        names = bank_joining.checked_ids(self, ids)
        truth = truth_of(y, self.classes, self.task, len(names))
        return replace(self, truth=truth[bank_joining.places(self.ids, names)])

    @property
    def row_hash(self) -> str:
        """A fingerprint of the ids in their order: SHA-256 (hex) of each one's length and text."""
        found = hashlib.sha256()
        for name in self.ids:
            text = name.encode("utf-8", "surrogatepass")
            found.update(len(text).to_bytes(8, "little") + text)
        return found.hexdigest()

    @property
    def classes_seen(self) -> tuple[Label, ...]:
        """The classes that are the right answer of some row.

        Raises:
            InputError: `missing-label`.
        """
        present = set(self._known_truth().tolist())
        return tuple(label for number, label in enumerate(self.classes) if number in present)

    def answers(self, member: str) -> Answers:
        """What a member answered, on the rows that it predicted, in the form that metrics take.

        Raises:
            InputError: `unknown-member`; `missing-label`; `no-member`: it predicted no row; `wrong-member`: its
                entries are scores, of which metrics of probabilities make no sense.
        """
        found = self.only([member])
        if self.task == "classification" and found.probable == (False,):
            message = f"metrics are of probabilities; {member!r} gives scores"
            raise InputError(Fault("wrong-member", message, subject=member))
        there = np.flatnonzero(found.mask[0])
        if not len(there):
            raise InputError(Fault("no-member", f"{member!r} predicted none of the rows", subject=member))
        return found.rows(there).answers_of(found.P[0, there])

    def answers_of(self, said: Array) -> Answers:
        """Predictions of its rows, one member's or combined ones, in the form that metrics take.

        Args:
            said: `[N, K]`, probabilities that sum to one, or values.

        Raises:
            InputError: `missing-label`.
        """
        from cuvee.judging.answers import Answers

        truth = self._known_truth()
        if self.task == "regression":
            return Answers("regression", {"truth": truth, "predicted": said[:, 0]}, self.ids)
        names = class_names(self.classes)
        return Answers("classification", {"truth": truth, "probabilities": said}, self.ids, names)

    def _known_truth(self) -> Array:
        if self.truth is None:
            message = "the right answer of every row is needed; the bank has none"
            raise InputError(Fault("missing-label", message, hint="give `y` with the rows, or use `with_truth`"))
        return self.truth


def class_names(classes: Sequence[Label]) -> tuple[str, ...]:
    """Labels as texts; as Python writes them where two would be the same text.

    Example:
        >>> class_names([1, 2]), class_names([1, "1"])
        (('1', '2'), ('1', "'1'"))
    """
    plain = tuple(map(str, classes))
    return plain if len(set(plain)) == len(plain) else tuple(map(repr, classes))
