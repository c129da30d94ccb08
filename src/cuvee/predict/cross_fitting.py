"""Cross-fitting: every row predicted by models that were trained without it, so that a combiner is not deceived.

    P_mn = f_m^(−k(n))(x_n)
    f_m^(−k): member m trained anew on all folds but k;   k(n): the fold in which row n is asked about

Whatever a member does to its rows first (scaling, choosing features) is part of it and trained anew with it, so nothing
is learned from a row before it is asked about. Rows that no fold asks about, as the first ones of a time series, are
masked; rows that several ask about get the mean.

Reference: Wolpert 1992, Stacked generalization; van der Laan et al. 2007, Super learner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, UsageError, nearest
from cuvee.predict.alignment import left_to_others
from cuvee.predict.answers import ask
from cuvee.predict.bank import Bank, Provenance
from cuvee.predict.cross_checks import check_members, check_parts, task_of
from cuvee.predict.diversity import diversity
from cuvee.predict.kept_folds import member_of_folds
from cuvee.predict.member import Member
from cuvee.predict.rows import Rows, rows_of
from cuvee.predict.splitting import CV, Fold, folds_of
from cuvee.predict.trained import Label, Task
from cuvee.predict.truths import check_order, classes_of, truth_of

Keep = Literal["folds", "refit"]


class CrossFitted(NamedTuple):
    """What cross-fitting gives.

    Attributes:
        bank: predictions of every row by models that did not see it; rows in the order that they were given in.
        members: what an ensemble serves: with `keep="folds"` each member as the mean of its fold models, with
            `keep="refit"` trained anew on all rows; those that were given without either.
        seconds: member → seconds that its trainings took, and that asking it took, over all folds.
        folds: how many there were.
    """

    bank: Bank
    members: tuple[Member, ...]
    seconds: Mapping[str, tuple[float, float]]
    folds: int


def cross_fit(
    members: Sequence[Member],
    X: Any,
    y: Any,
    *,
    cv: CV = 5,
    groups: Sequence[Any] | None = None,
    classes: Sequence[Label] | None = None,
    ids: Sequence[Any] | None = None,
    seed: int = 0,
    keep: Keep | None = None,
    held_out: Sequence[str] = (),
    fewest: int = 30,
    features: Array | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CrossFitted:
    """Predict every row by members that were trained without it.

    Args:
        members: whom to train anew, fold by fold; each must have `refit`. They themselves are not changed.
        X: the rows, whatever `rows_of` takes.
        y: the right label, or value, of each row.
        cv: how rows are split: a number of folds (stratified by class, shuffled by `seed`), `group`, `time` (in the
            order of the rows), a splitter of scikit-learn, or pairs of row numbers.
        groups: the group of each row, none of which may be in both parts of a fold.
        classes: the labels of the ensemble in order; those of y, sorted, without them.
        ids: a name for each row, all different.
        seed: of the shuffling.
        keep: what an ensemble is to serve. `folds`: the mean of the fold models, which is what the bank knows, at k
            times the cost; `refit`: one model trained on all rows, which the bank knows only by its like.
        held_out: members that have never seen these rows: they are asked as they are, and their rows are `hold-out`.
        fewest: rows that every class (of a regression: all rows together) must have in the bank. Combiners that are
            fitted on fewer fit noise; 0 takes any.
        features: `[N, D]`, the numbers of the rows themselves, for combiners that look at them.
        progress: told how many trainings are done, and how many there are.

    Raises:
        UsageError: an argument is wrong.
        InputError: `wrong-member`: members that cannot be trained anew, with their names; `too-few-rows`;
            `member-failed`: one raised while it was trained; `rows-differ`, `bad-data`; what `answers.ask` raises.
    """
    if keep is not None and keep not in get_args(Keep):
        message = f"`keep` must be one of {', '.join(get_args(Keep))}, or None; found {keep!r}"
        raise UsageError(Fault("bad-argument", message, None, "keep", nearest(str(keep), get_args(Keep))))
    task = task_of(members)
    check_members(members, held_out)
    rows = rows_of(X, ids)
    labels = () if task == "regression" else tuple(classes_of(y) if classes is None else classes)
    check_order(y, rows)
    truth = truth_of(y, labels, task, len(rows))
    folds = folds_of(cv, truth, task, groups=groups, seed=seed)
    check_parts(folds, truth, labels, fewest)
    job = _Job(rows, truth, labels, task, folds, keep, progress, len(members), len(set(held_out)))
    found = [job.held_out(member) if member.name in held_out else job.fitted(member) for member in members]
    P, mask, known = (np.stack([getattr(one, name) for one in found]) for name in ("P", "mask", "known"))
    bank = Bank(
        task=task,
        members=tuple(member.name for member in members),
        classes=labels,
        P=left_to_others(members, P, mask, known),
        mask=mask,
        ids=rows.ids,
        truth=truth,
        provenance=tuple(one.provenance for one in found),
        probable=tuple(one.probable for one in found),
        embeddings={m.name: one.embeddings for m, one in zip(members, found) if one.embeddings is not None},
        features=features,
        notes=job.uncovered() + tuple(note for one in found for note in one.notes),
    )
    bank = replace(bank, notes=(*bank.notes, *diversity(bank).notes))
    seconds = {one.member.name: one.seconds for one in found}
    return CrossFitted(bank, tuple(one.member for one in found), seconds, len(folds))


@dataclass(frozen=True, eq=False)
class _Found:
    """What cross-fitting finds of one member; `known`, bool `[N, K]`: the classes that the model of a row knew."""

    member: Member
    P: Array
    mask: Array
    known: Array
    provenance: Provenance
    probable: bool
    seconds: tuple[float, float]
    embeddings: Array | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Job:
    """What is the same for all members."""

    rows: Rows
    truth: Array
    classes: tuple[Label, ...]
    task: Task
    folds: Sequence[Fold]
    keep: Keep | None
    progress: Callable[[int, int], None] | None
    members: int
    held: int
    done: list[None] = field(default_factory=list)

    def held_out(self, member: Member) -> _Found:
        """A member that never saw the rows, asked as it is."""
        start = time.perf_counter()
        said = ask(member, self.rows, self.classes, self.task)
        spent = time.perf_counter() - start
        self._tell(1)
        known = np.broadcast_to(said.word(said.P.shape[1]), said.P.shape)
        return _Found(member, said.P, said.mask, known, "hold-out", said.probable, (0.0, spent), said.embeddings)

    def fitted(self, member: Member) -> _Found:
        """A member trained anew and asked, fold by fold."""
        n, width = len(self.rows), len(self.classes) if self.task == "classification" else 1
        total, count, known = np.zeros((n, width)), np.zeros(n, np.int64), np.ones((n, width), bool)
        models, notes, probable, training, asking = [], [], True, 0.0, 0.0
        for number, fold in enumerate(self.folds):
            start = time.perf_counter()
            model, note = self._padded(self._trained(member, fold.train, f"fold {number}"), fold, number)
            middle = time.perf_counter()
            said = ask(model, self.rows.take(fold.test), self.classes, self.task)
            if said.embeddings is not None:
                raise InputError(_no_embeddings(member))
            there = fold.test[said.mask]
            total[there] += said.P[said.mask]
            count[there] += 1
            known[there] &= said.word(width)
            training, asking = training + middle - start, asking + time.perf_counter() - middle
            models.append(model)
            notes += note
            probable &= said.probable
            self._tell(1)
        mask = count > 0
        P = np.where(mask[:, None], total / np.maximum(count, 1)[:, None], np.nan)
        if np.isnan(P[mask]).any():  # a class that some model of the row did not know is left to the other members
            P /= np.nansum(P, axis=1, keepdims=True)
        kept = self._kept(member, models, probable)
        return _Found(kept, P, mask, known, "out-of-fold", probable, (training, asking), None, tuple(notes))

    def uncovered(self) -> tuple[str, ...]:
        """What to say of rows that no fold asks about."""
        asked = np.zeros(len(self.rows), bool)
        for fold in self.folds:
            asked[fold.test] = True
        left = np.flatnonzero(~asked)
        if not len(left):
            return ()
        return (
            f"{len(left):,} of {len(asked):,} rows are asked about in no fold and masked (such as {self._id(left)})",
        )

    def _id(self, rows: Array) -> str:
        return repr(self.rows.ids[rows[0]])

    def _trained(self, member: Member, at: Array, where: str) -> Member:
        """The member trained anew on some rows.

        Raises:
            InputError: `member-failed`; `no-member`: none of the rows has what it reads.
        """
        there = at[self.rows.present(member.reads)[at]]
        if not len(there):
            message = f"{member.name!r}, {where}: there must be rows to learn from; none has {member.reads!r}"
            raise InputError(Fault("no-member", message, subject=member.name))
        assert member.refit is not None, "checked before"
        try:
            made = member.refit(self.rows.take(there).read(member.reads), self._labels(there))
        except InputError:
            raise
        except Exception as error:
            message = f"{member.name!r} could not be trained on {len(there):,} rows ({where}): {error}"
            raise InputError(Fault("member-failed", message, subject=member.name)) from error
        return replace(Member.of(made), name=member.name, reads=member.reads)

    def _labels(self, at: Array) -> Array:
        """The right answers of some rows, by the names that the ensemble has for classes."""
        if self.task == "regression":
            return self.truth[at]
        mixed = len({type(label) for label in self.classes}) > 1
        return np.array(self.classes, dtype=object if mixed else None)[self.truth[at]]

    def _padded(self, model: Member, fold: Fold, number: int) -> tuple[Member, list[str]]:
        """The model of a fold; classes of which its training part has no row get 0, and a note."""
        learned = self.truth[fold.train[self.rows.present(model.reads)[fold.train]]]
        lacking = [n for n, label in enumerate(self.classes) if label not in model.known]
        if not lacking or model.missing not in ("error", "zero") or np.isin(lacking, learned).any():
            return model, []
        names = ", ".join(repr(self.classes[n]) for n in lacking)
        note = f"{model.name}, fold {number}: no row of {names} to learn from; there it says 0"
        return replace(model, missing="zero"), [note]

    def _kept(self, member: Member, models: Sequence[Member], probable: bool) -> Member:
        if self.keep == "folds":
            return member_of_folds(member, models, self.classes, self.task, probable=probable)
        if self.keep == "refit":
            made = self._trained(member, np.arange(len(self.rows)), "all rows")
            self._tell(1)
            return made
        return member

    def _tell(self, steps: int) -> None:
        self.done.extend([None] * steps)
        if self.progress:
            each = len(self.folds) + (self.keep == "refit")
            self.progress(len(self.done), self.held + (self.members - self.held) * each)


def _no_embeddings(member: Member) -> Fault:
    message = f"{member.name!r} gives embeddings, and models of different folds do not give them in one space"
    return Fault("wrong-member", message, subject=member.name, hint="train it on other rows and name it in `held_out`")
