"""The classes of a member put where the ensemble has them: by name, never by place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cuvee.combine import Array, fill_unknown
from cuvee.errors import Fault
from cuvee.predict.labels import foreign_hint, shown
from cuvee.predict.trained import Label, Task, Trained


def member_faults(member: Trained, classes: Sequence[Label], task: Task) -> list[Fault]:
    """Why a member cannot be one of an ensemble, told without asking it anything.

    Args:
        member: the member.
        classes: of the ensemble; none for a regression.
        task: of the ensemble.

    Returns:
        `wrong-member`: it is of another task. `class-mismatch`: it has classes that the ensemble has not, or lacks some
        and no policy says what then. Nothing for one that fits.
    """
    if member.output == "embeddings":
        return []
    if member.task != task:
        said = {"regression": "answers with values", "classification": f"chooses among {len(member.classes)} classes"}
        message = f"the member {member.name!r} {said[member.task]}, and cannot be one of a {task}"
        return [Fault("wrong-member", message, subject=member.name)]
    if task == "regression" or member.known == tuple(classes):
        return []
    mismatch = _mismatch(member, classes)
    return [] if mismatch is None else [mismatch]


def _mismatch(member: Trained, classes: Sequence[Label]) -> Fault | None:
    known = dict.fromkeys(member.known)
    extra = [label for label in known if label not in classes]
    missing = [label for label in classes if label not in known]
    if not extra and (not missing or member.missing != "error"):
        return None
    parts = [f"it lacks {shown(missing)}"] if missing else []
    parts += [f"{shown(extra)} {'are' if len(extra) > 1 else 'is'} none of the ensemble's"] if extra else []
    own = shown(list(known))
    message = (
        f"the member {member.name!r} has the classes {own}; the ensemble has {shown(classes)}: {', and '.join(parts)}"
    )
    policy = 'say what is done about classes it lacks: `missing="zero"`, `"uniform"` or `"mask"`'
    hint = (
        foreign_hint(extra, missing) if extra else f"give a `label_map` if they are only called otherwise, or {policy}"
    )
    return Fault("class-mismatch", message, subject=member.name, hint=hint)


def placed(member: Trained, found: Array, classes: Sequence[Label]) -> tuple[Array, Array]:
    """The columns of a member put where the ensemble has its classes; several that are mapped to one are added up.

    Args:
        member: the member; `member_faults` finds nothing.
        found: its answers as they were checked, `[n, own columns]`.
        classes: of the ensemble.

    Returns:
        `[n, K]`, and bool `[K]`: the classes that it has a word on. What it does not know is 0 or 1/K by its policy,
        or NaN where `fill_unknown` is to say it.
    """
    own = member.known
    if own == tuple(classes):
        return found, np.ones(len(classes), dtype=bool)
    known = np.array([label in own for label in classes], dtype=bool)
    whole = np.zeros((len(found), len(classes)))
    places = {label: place for place, label in enumerate(classes)}
    for column, label in enumerate(own):
        whole[:, places[label]] += found[:, column]
    if known.all() or member.missing in ("zero", "error"):
        return whole, known
    if member.missing == "uniform":
        whole *= known.mean()
    whole[:, ~known] = 1 / len(classes) if member.missing == "uniform" else np.nan
    return whole, known


def left_to_others(members: Sequence[Trained], P: Array, mask: Array, known: Array) -> Array:
    """What members say, with the classes that `missing="mask"` leaves to the others said by them (`fill_unknown`).

    Args:
        members: whose it is.
        P: `[M, N, K]`, NaN in the classes that are left.
        mask: `[M, N]`.
        known: bool `[M, K]` or `[M, N, K]`: the classes that each has a word on; none for scores and embeddings.
    """
    wanting = np.array([member.missing == "mask" for member in members], dtype=bool) & mask.any(axis=1)
    wanting &= ~known.reshape(len(known), -1).all(axis=1)
    return fill_unknown(P, mask, known, wanting) if wanting.any() else P


def fillers(used: Sequence[Trained], others: Sequence[Trained], classes: Sequence[Label]) -> tuple[str, ...]:
    """Of members that do not count themselves, those whose word fills the classes that others leave to them.

    Args:
        used: the members that count.
        others: the rest.
        classes: of the ensemble.

    Returns:
        Names; of none where nobody leaves a class to the others.
    """
    left = {label for member in used if member.missing == "mask" for label in classes if label not in member.known}
    speak = [member for member in others if member.output in ("probabilities", "logits", "labels")]
    return tuple(member.name for member in speak if left.intersection(member.known))
