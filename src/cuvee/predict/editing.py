"""Members that join and leave: pure functions from one state to the next. Only the combiner is fitted again.

bank of all members       the combiner is fitted on it as it was the first time
needs no rows             a vote, say, is made for the members that there are
weighted mean             a newcomer with a `weight` gets that share; of one that leaves the others keep theirs in
proportion
otherwise                 refused: nothing is known of the newcomer that the combiner could go by
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cuvee.errors import Fault, InputError, UsageError, listed, nearest
from cuvee.predict.alignment import member_faults
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import Combiner, Linear
from cuvee.predict.combiners.vote import Soft
from cuvee.predict.fitting import fit_on, unweighed, weighed, without_evidence
from cuvee.predict.member import Member
from cuvee.predict.state import Manner, State
from cuvee.predict.trained import Label, Task


def joined(
    state: State,
    what: str,
    members: tuple[Member, ...],
    newcomer: Member,
    empty: Bank,
    *,
    bank: Bank | None = None,
    weight: float | None = None,
) -> State:
    """A state with a newcomer among its members.

    Args:
        state: the present one.
        what: what is done, in words.
        members: all members that there will be.
        newcomer: who joins, or takes another's place.
        empty: a bank of all of them without rows.
        bank: predictions of all of them; `None`: no evidence.
        weight: the newcomer's share, for a weighted mean.

    Raises:
        UsageError: `no-evidence`; `bad-weights`; both evidence and weight.
        InputError: what fitting raises.
    """
    if weight is not None:
        if bank is not None:
            message = "a newcomer has a `weight`, or evidence that the combiner is fitted on; found both"
            raise UsageError(Fault("bad-argument", message, subject="weight"))
        return _weighted(state, what, members, newcomer, weight)
    if bank is not None:
        return refitted(state, what, members, bank)
    return _bare(state, what, members, empty) or _refuse(state, newcomer.name)


def left(state: State, what: str, members: tuple[Member, ...], gone: str, empty: Bank) -> State:
    """A state without a member: the combiner is fitted again on what the bank says of the others.

    Raises:
        UsageError: `no-evidence`: the bank does not know all that stay.
        InputError: what fitting raises.
    """
    names = [member.name for member in members]
    if state.bank is not None and set(names) <= set(state.bank.members):
        return refitted(state, what, members, state.bank.only(names))
    if isinstance(state.fitted, Linear) and (state.combiner.learns or state.bank is not None or _by_hand(state)):
        kept = unweighed(state.fitted, gone) if gone in state.fitted.members else state.fitted
        return replace(state, what=what, members=members, fitted=kept, notes=(*state.notes, _kept_shares(gone)))
    return _bare(state, what, members, empty) or _refuse(state, gone)


def refitted(state: State, what: str, members: tuple[Member, ...], bank: Bank) -> State:
    """A state whose combiner is fitted on a bank, as it was the last time.

    Raises:
        InputError: what fitting raises.
    """
    return fitted_anew(state, what, members, state.combiner, bank, state.manner)


def fitted_anew(
    state: State, what: str, members: tuple[Member, ...], combiner: Combiner, bank: Bank, manner: Manner
) -> State:
    """A state with a combiner fitted on a bank."""
    found = fit_on(combiner, bank, members, manner)
    return State(state.number, what, members, combiner, found.fitted, bank, found.temperature, found.notes, manner)


def _bare(state: State, what: str, members: tuple[Member, ...], empty: Bank) -> State | None:
    """A state whose combiner needs no rows, or a vote for the time being; `None` where rows are needed."""
    if _by_hand(state) or state.temperature is not None or state.manner.budget is not None:
        return None
    found = without_evidence(state.combiner, empty)
    if found is None:
        never_fitted = state.fitted is None or (isinstance(state.combiner, Soft) and state.bank is None)
        return _meanwhile(state, what, members, empty) if never_fitted else None
    notes = ("the bank is dropped: it does not know all members",) if state.bank is not None else ()
    return State(state.number, what, members, state.combiner, found, None, None, notes)


def _meanwhile(state: State, what: str, members: tuple[Member, ...], empty: Bank) -> State:
    """Soft vote of the members that a vote can be taken of, until a combiner is fitted."""
    voting = [name for name, probable in zip(empty.members, empty.probable) if probable]
    silent = [name for name in empty.members if name not in voting]
    found = Soft().fit(empty.only(voting)) if voting else None
    note = f"until a combiner is fitted, {listed(silent, 5)} do not count: they give no probabilities"
    return State(state.number, what, members, Soft(), found, None, None, (note,) if silent else ())


def _by_hand(state: State) -> bool:
    """Whether shares were given and not found, so that to make them anew would forget them."""
    return isinstance(state.fitted, Linear) and bool(state.fitted.about.get("given"))


def _weighted(state: State, what: str, members: tuple[Member, ...], newcomer: Member, weight: float) -> State:
    if not isinstance(state.fitted, Linear):
        kind = "the ensemble has no members yet" if state.fitted is None else f"{state.combiner.name} is none"
        message = f"a newcomer can have a `weight` where a weighted mean is taken; {kind}"
        raise UsageError(
            Fault("bad-argument", message, subject="weight", hint="give evidence: `bank=` or `data=(X, y)`")
        )
    fitted = state.fitted
    if newcomer.name in fitted.members:  # it takes the place of one of the same name
        fitted = unweighed(fitted, newcomer.name)
    stale = ("the temperature was fitted without it",) if state.temperature is not None else ()
    note = f"{newcomer.name} has the weight it was given, {weight}"
    names = {member.name for member in members}
    for name in fitted.members:
        if name not in names:
            fitted = unweighed(fitted, name)
    bank = None if state.bank is None else _bank_of_others(state.bank, members, newcomer)
    return replace(
        state,
        what=what,
        members=members,
        fitted=weighed(fitted, newcomer.name, weight),
        bank=bank,
        notes=(*state.notes, note, *stale),
    )


def _bank_of_others(bank: Bank, members: Sequence[Member], newcomer: Member) -> Bank:
    """What the bank says of members that stay."""
    stay = {member.name for member in members} - {newcomer.name}
    return bank.only([name for name in bank.members if name in stay])


def _kept_shares(gone: str) -> str:
    return f"without {gone} the others keep their shares in proportion: the bank does not know all of them"


def _refuse(state: State, name: str) -> State:
    message = (
        f"the combiner {state.combiner.name!r} was fitted on {0 if state.bank is None else len(state.bank):,} rows, "
        f"and there is nothing it could be fitted on with {name!r} joining or leaving"
    )
    hint = "give evidence: `bank=`, or `data=(X, y)` of the rows it was fitted on or of new ones"
    if isinstance(state.fitted, Linear):
        hint += "; a weighted mean also takes a `weight=`"
    raise UsageError(Fault("no-evidence", message, subject=name, hint=hint))


def check_known(name: str, names: Sequence[str]) -> None:
    """Refuse a name that no member has.

    Raises:
        UsageError: `unknown-member`, with the names there are.
    """
    if name not in names:
        listing = f"the members are {', '.join(names)}" if names else "there are no members"
        message = f"there is no member {name!r}; {listing}"
        raise UsageError(Fault("unknown-member", message, None, str(name), nearest(str(name), names)))


def check_joins(member: Member, names: Sequence[str], classes: Sequence[Label], task: Task) -> None:
    """Refuse a newcomer that cannot be a member, before it is asked anything.

    Raises:
        UsageError: `bad-argument`: it is no member; `duplicate-member`.
        InputError: `wrong-member`: it is of another task; `class-mismatch`: classes the ensemble does not have, or
            lacks some where nothing is said about that.
    """
    if not isinstance(member, Member):
        message = f"a member is made by `Member.sklearn` and its like; found {type(member).__name__}"
        raise UsageError(Fault("bad-argument", message, subject="member"))
    if member.name in names:
        message = f"there is a member {member.name!r} already; the members are {', '.join(names)}"
        raise UsageError(Fault("duplicate-member", message, subject=member.name, hint="give it another `name`"))
    if faults := member_faults(member, classes, task):
        raise InputError(faults)
