"""What must be so before anything is trained: members that can be, and rows enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, UsageError, listed, nearest
from cuvee.predict.member import Member
from cuvee.predict.splitting import Fold
from cuvee.predict.trained import Label, Task


def task_of(members: Sequence[Member]) -> Task:
    """The task of all members.

    Raises:
        UsageError: there is no member.
        InputError: `wrong-member`: they are of both tasks.
    """
    if not members:
        raise UsageError(Fault("bad-argument", "there must be members to train; found none", subject="members"))
    by_task: dict[Task, list[str]] = {}
    for member in members:
        by_task.setdefault(member.task, []).append(member.name)
    if len(by_task) > 1:
        message = f"members must be of one task; {'; '.join(f'{t}: {listed(n, 5)}' for t, n in by_task.items())}"
        raise InputError(Fault("wrong-member", message))
    return next(iter(by_task))


def check_members(members: Sequence[Member], held_out: Sequence[str]) -> None:
    """Refuse members that cannot be trained anew, names that stand twice, and `held_out` that is nobody's name.

    Raises:
        InputError: `wrong-member`, `duplicate-member`, `unknown-member`; all faults.
    """
    names = [member.name for member in members]
    faults = [
        Fault("duplicate-member", f"names of members must differ; {name!r} stands twice", subject=name)
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    faults += [
        Fault("unknown-member", f"`held_out` names {name!r}, which is no member", None, name, nearest(name, names))
        for name in held_out
        if name not in names
    ]
    faults += [_cannot(member) for member in members if member.name not in held_out and not _trainable(member)]
    if faults:
        raise InputError(faults)


def _trainable(member: Member) -> bool:
    return member.refit is not None and member.inverse is None


def _cannot(member: Member) -> Fault:
    why = "it cannot be trained anew" if member.refit is None else "it learns on a scale that y is not on (`inverse`)"
    hint = "if it has never seen these rows, name it in `held_out`"
    message = f"cross-fitting trains members anew; {member.name!r} ({member.kind}): {why}"
    return Fault("wrong-member", message, subject=member.name, hint=hint)


def check_parts(folds: Sequence[Fold], truth: Array, classes: Sequence[Label], fewest: int) -> None:
    """Refuse folds that no model or combiner can learn from.

    Raises:
        InputError: `too-few-rows`: a class has fewer rows in the bank than `fewest`, or a fold is trained on one class.
    """
    asked = np.unique(np.concatenate([fold.test for fold in folds]))
    faults = []
    few = _few(truth[asked], classes, fewest)
    if few:
        left = (
            f" ({len(truth) - len(asked):,} of {len(truth):,} rows are in no fold)" if len(asked) < len(truth) else ""
        )
        message = (
            f"a combiner needs at least {fewest} rows {'of each class' if classes else 'in all'}{left}; found {few}"
        )
        hint = f"bring more rows, join rare classes, or say `fewest=` (now {fewest}) if you know better"
        faults.append(Fault("too-few-rows", message, hint=hint))
    for number, fold in enumerate(folds):
        if classes and len(there := np.unique(truth[fold.train])) < 2:
            message = f"fold {number} must have rows of two classes to learn from; all are of {classes[there[0]]!r}"
            faults.append(Fault("too-few-rows", message, hint="ask for fewer folds, or shuffle the rows"))
    if faults:
        raise InputError(faults)


def _few(truth: Array, classes: Sequence[Label], fewest: int) -> str:
    """The classes of fewer rows, in words; nothing where all have enough."""
    if not classes:
        return f"{len(truth):,}" if len(truth) < fewest else ""
    counts = np.bincount(truth, minlength=len(classes))
    return listed((f"{n:,} of {c!r}" for n, c in zip(counts.tolist(), classes) if n < fewest), 5)
