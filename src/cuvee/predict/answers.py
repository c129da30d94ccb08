"""Members asked: raw answers checked at every call, and put into the classes of the ensemble by name.

ask         one member about the rows that it can read
ask_all     all members; one that fails stops the call, or is left out and noted
probe       what a member does with sample rows before it is taken in
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from threading import Thread
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError
from cuvee.predict.alignment import left_to_others, member_faults, placed
from cuvee.predict.checking import checked, embedded
from cuvee.predict.noting import note, noted
from cuvee.predict.rows import Rows
from cuvee.predict.trained import Label, Task, Trained

T = TypeVar("T")

OnError = Literal["raise", "mask"]
"""What is done about a member that fails: `raise`, or `mask`: the others answer without it, and it is noted."""


@dataclass(frozen=True, eq=False)
class Answered:
    """What one member says of N rows, in the classes of the ensemble.

    Attributes:
        P: float64 `[N, K]`; NaN where it said nothing, and for classes that it does not know and `missing="mask"`
            leaves to the others (`ask_all` fills them).
        mask: bool `[N]`: rows that it predicted.
        probable: whether the entries are probabilities.
        embeddings: `[N, D]` of a member that gives embeddings; then `P` is NaN throughout and `mask` False. Of another
            member where they were asked for.
        known: bool `[K]`: classes that it has a word on.
    """

    P: Array
    mask: Array
    probable: bool = True
    embeddings: Array | None = None
    known: Array | None = None

    def word(self, width: int) -> Array:
        """The classes on which its word counts where others leave them to it, bool `[K]`: of scores none does."""
        return np.zeros(width, bool) if self.known is None or not self.probable else self.known


class Together(NamedTuple):
    """What all members say of N rows.

    Attributes:
        P: `[M, N, K]`; what is masked is NaN.
        mask: `[M, N]`.
        probable: for each member, whether its entries are probabilities.
        embeddings: member → `[N, D]`.
        notes: what a user should know: members that were left out, texts that were cut.
    """

    P: Array
    mask: Array
    probable: tuple[bool, ...]
    embeddings: Mapping[str, Array]
    notes: tuple[str, ...]


def ask(
    member: Trained,
    rows: Rows,
    classes: Sequence[Label],
    task: Task,
    *,
    embed: bool = False,
    time_limit: float | None = None,
) -> Answered:
    """Ask a member about the rows that it can read.

    Args:
        member: whom to ask.
        rows: all rows; those that lack what it reads are not asked about.
        classes: the classes of the ensemble, in order; none for a regression.
        task: of the ensemble.
        embed: whether embeddings are wanted besides.
        time_limit: seconds that the member may take; a member that takes longer goes on in a thread of its own, whose
            result nobody waits for: Python cannot end it.

    Raises:
        InputError: `bad-output`: the answers are of another shape, not finite, no probabilities, or logits that were
            taken for such; `class-mismatch`; `wrong-member`; `member-failed`: it raised, or took too long; `bad-data`:
            the rows have no such columns.
    """
    if faults := member_faults(member, classes, task):
        raise InputError(faults)
    # of no rows there are no columns either
    mask = rows.present(member.reads, whole=member.whole) if len(rows) else np.zeros(0, dtype=bool)
    is_whole = bool(mask.all())
    asked = rows if is_whole else rows.take(np.flatnonzero(mask))
    width = len(classes) if task == "classification" else 1
    nothing = np.full((len(rows), width), np.nan)
    if member.output == "embeddings":
        return Answered(nothing, np.zeros(len(rows), bool), False, _spread(_embedded(member, asked, time_limit), mask))
    vectors = _spread(_embedded(member, asked, time_limit), mask) if embed else None
    found, known = _predicted(member, asked, classes, time_limit)
    if not is_whole:
        nothing[mask] = found
    return Answered(found if is_whole else nothing, mask, member.output != "scores", vectors, known)


def _predicted(member: Trained, asked: Rows, classes: Sequence[Label], limit: float | None) -> tuple[Array, Array]:
    """Its answers in the classes of the ensemble, or as values, and the classes that it has a word on."""
    if not len(asked):
        width = len(member.classes) if member.task == "classification" else 1
        found = np.zeros((0, width))
    else:
        found = checked(member, raw(member, asked, limit), asked.ids)
    if member.task == "classification":
        return placed(member, found, classes)
    if member.inverse is not None and len(asked):
        inverse = member.inverse
        back = _guarded(member, lambda: inverse(found), f"undoing its scale on {len(asked):,} rows")
        found = checked(member, back, asked.ids)
    return found, np.ones(1, bool)


def _embedded(member: Trained, asked: Rows, limit: float | None) -> Array:
    function = member.ask if member.output == "embeddings" else member.embed
    if function is None:
        message = f"the member {member.name!r} gives no embeddings"
        hint = "where its kind can, give `embed=True` when it is made"
        raise InputError(Fault("wrong-member", message, subject=member.name, hint=hint))
    if not len(asked):
        return np.zeros((0, 0))
    return embedded(member, raw(member, asked, limit, function), asked.ids)


def _spread(found: Array, mask: Array) -> Array:
    """Rows put where they were; NaN where nothing was asked."""
    if mask.all():
        return found
    whole = np.full((len(mask), found.shape[1]), np.nan)
    whole[mask] = found
    return whole


def ask_all(
    members: Sequence[Trained],
    rows: Rows,
    classes: Sequence[Label],
    task: Task,
    *,
    on_error: OnError = "raise",
    time_limit: float | None = None,
    embed: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Together:
    """Ask every member about every row.

    Args:
        members: whom to ask.
        rows: what to ask.
        classes: of the ensemble; none for a regression.
        task: of the ensemble.
        on_error: what is done about a member that raises, takes too long or answers badly. One that does not fit the
            ensemble, or reads columns that the rows do not have, is never passed over.
        time_limit: seconds that each may take.
        embed: names of members whose embeddings are wanted besides.
        progress: told how many of the members were asked, and how many there are.

    Raises:
        InputError: as `ask`; those that do not fit are all told at once, before any is asked. Where all members fail,
            why each did.
    """
    if faults := [fault for member in members for fault in member_faults(member, classes, task)]:
        raise InputError(faults)
    width = len(classes) if task == "classification" else 1
    found: list[Answered] = []
    failed: dict[str, tuple[Fault, ...]] = {}
    with noted() as notes:
        for number, member in enumerate(members):
            try:
                answered = ask(member, rows, classes, task, embed=member.name in embed, time_limit=time_limit)
            except InputError as error:
                if on_error == "raise" or error.code not in ("member-failed", "bad-output"):
                    raise
                failed[member.name] = error.faults
                note(f"{member.name!r} was left out of {len(rows):,} rows: {error.faults[0].message}")
                answered = _silent(len(rows), width)
            found.append(answered)
            if progress:
                progress(number + 1, len(members))
    if failed and len(failed) == len(members):
        raise InputError(fault for faults in failed.values() for fault in faults)
    P = np.stack([one.P for one in found]) if found else np.zeros((0, len(rows), width))
    mask = np.stack([one.mask for one in found]) if found else np.zeros((0, len(rows)), bool)
    if any(one.missing == "mask" for one in members):
        P = left_to_others(members, P, mask, np.stack([one.word(width) for one in found]))
    vectors = {m.name: one.embeddings for m, one in zip(members, found) if one.embeddings is not None}
    return Together(P, mask, tuple(one.probable for one in found), vectors, tuple(notes))


def _silent(n: int, width: int) -> Answered:
    return Answered(np.full((n, width), np.nan), np.zeros(n, bool), known=np.zeros(width, bool))


def raw(member: Trained, rows: Rows, limit: float | None = None, function: Callable[[Any], Any] | None = None) -> Any:
    """Its raw answers, as they come.

    Raises:
        InputError: `member-failed`.
    """
    given, asked = rows.read(member.reads), function or member.ask
    if limit is None:
        return _guarded(member, lambda: asked(given), f"{len(rows):,} rows")
    return _in_time(member, lambda: _guarded(member, lambda: asked(given), f"{len(rows):,} rows"), limit)


def _guarded(member: Trained, work: Callable[[], T], what: str) -> T:
    try:
        return work()
    except InputError as error:
        raise InputError([_by_name(member, fault) for fault in error.faults]) from error
    except Exception as error:
        said = " ".join(str(error).split())[:500]
        message = f"the member {member.name!r} failed on {what}: {type(error).__name__}: {said}"
        raise InputError(Fault("member-failed", message, subject=member.name)) from error


def _by_name(member: Trained, fault: Fault) -> Fault:
    """A fault that an adapter found, with the member's name."""
    if repr(member.name) in fault.message:
        return fault
    return replace(fault, message=f"the member {member.name!r}: {fault.message}")


def _in_time(member: Trained, work: Callable[[], T], limit: float) -> T:
    """What the work gives, unless it takes too long."""
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=copy_context().run, args=(run,), daemon=True, name=f"member {member.name}")
    thread.start()
    thread.join(limit)
    if failed:
        raise failed[0]
    if not found:
        message = f"the member {member.name!r} did not answer within {limit:g} s"
        hint = "what it does goes on in a thread of its own; give it more time, or fewer rows at once"
        raise InputError(Fault("member-failed", message, subject=member.name, hint=hint))
    return found[0]


def labels_of(P: Array, classes: Sequence[Label]) -> Any:
    """The most probable class of each row by name, the first of equal ones, `[N]`."""
    names = np.array(classes, dtype=object if len({type(c) for c in classes}) > 1 else None)
    return names[P.argmax(axis=1)]
