"""A combiner fitted on a bank as an ensemble fits it: checked first, within a budget, calibrated after pooling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError, UsageError, listed
from cuvee.predict.applying import applied
from cuvee.predict.asking_all import consulted, leaving
from cuvee.predict.bank import Bank
from cuvee.predict.budgets import within
from cuvee.predict.combiners.declared import COMBINERS, Combiner, Fitted, Linear, Staged
from cuvee.predict.member import Member
from cuvee.predict.nested import FEWEST, crossed
from cuvee.predict.state import Manner


@dataclass(frozen=True, eq=False)
class Fit:
    """What fitting came to.

    Attributes:
        fitted: the combiner.
        temperature: of the calibration after pooling; `None` without.
        notes: what a user should know.
    """

    fitted: Fitted
    temperature: float | None = None
    notes: tuple[str, ...] = ()

    def __call__(self, bank: Bank) -> Array:
        """What it predicts of the rows of a bank, `[N, K]`."""
        return applied(self.fitted, bank, self.temperature)


def default_combiner() -> Combiner:
    """Greedy selection."""
    return COMBINERS.get("greedy")()


def combiner_of(given: Combiner | str) -> Combiner:
    """A combiner, or that of a name with its usual settings.

    Raises:
        RecipeError: there is no such name.
        UsageError: it is neither.
    """
    if isinstance(given, str):
        return COMBINERS.get(given)()
    if not isinstance(given, Combiner):
        message = f"a combiner is one of `cuvee.predict` or its name; found {type(given).__name__}"
        raise UsageError(Fault("bad-argument", message, subject="combiner"))
    return given


def fit_on(combiner: Combiner, bank: Bank, members: Sequence[Member], manner: Manner) -> Fit:
    """Fit a combiner for these members.

    Args:
        combiner: its settings.
        bank: predictions of all the members, others may be there too.
        members: who is combined.
        manner: budget, calibration, and whether in-sample predictions are taken.

    Raises:
        InputError: `unknown-member`, `missing-label`, `too-few-rows`, `over-budget`; what the combiner raises.
        UsageError: a calibration of values; a budget that cannot be kept to.
    """
    if manner.calibrate not in (None, "temperature") or (manner.calibrate and bank.task == "regression"):
        message = f"`calibrate` must be 'temperature' for a classification, or None; found {manner.calibrate!r}"
        raise UsageError(Fault("bad-argument", message, subject="calibrate"))
    whole = bank.only([member.name for member in members])
    part = whole.covered()
    if combiner.learns or manner.calibrate:
        refuse_unfit(part)
    told = _told(combiner, members, manner)
    fitted = within(told, part, members, manner.budget)
    besides = consulted(fitted, members, bank.classes)
    if besides and manner.budget is not None:
        raise InputError(_beyond(besides))
    found = Fit(fitted, None, (*fitted.notes, *_notes(whole, part, combiner, manner)))
    left = leaving(fitted, members, bank.classes)
    found = replace(found, notes=(*found.notes, *_asked_too(besides, left if isinstance(fitted, Staged) else ())))
    if manner.calibrate is None:
        return found
    return replace(found, temperature=_temperature(told, part, members, manner, found))


def fit_inside(combiner: Combiner, bank: Bank, members: Sequence[Member], manner: Manner) -> Fit:
    """`fit_on` for all rows but a fold, which judges it: of a class that had just enough rows, a fold less will do."""
    combiner = combiner.bare()
    fewest = getattr(combiner, "fewest", 0)
    if fewest and any(field.name == "fewest" for field in fields(combiner)):
        combiner = replace(combiner, fewest=fewest // 2)  # type: ignore[call-arg]
    return fit_on(combiner, bank, members, manner)


def _told(combiner: Combiner, members: Sequence[Member], manner: Manner) -> Combiner:
    """The combiner told what members cost, and to take in-sample predictions, where it is to and can be told."""
    combiner = combiner.priced({m.name: m.cost.us_per_row for m in members if m.cost is not None})
    knows = any(field.name == "allow_in_sample" for field in fields(combiner))
    return replace(combiner, allow_in_sample=True) if manner.allow_in_sample and knows else combiner  # type: ignore[call-arg]


def _temperature(combiner: Combiner, bank: Bank, members: Sequence[Member], manner: Manner, found: Fit) -> float:
    """T by the log-loss of predictions on rows that the combiner was not fitted on, where it looks at the truth.

    A stack is too sure of itself on the rows that it was fitted on, and T would make the others worse.
    """
    from cuvee.combine.temperature import fit_temperature

    assert bank.truth is not None, "refused before"
    if not combiner.learns or len(bank) < FEWEST:
        return fit_temperature(found(bank), bank.truth)
    bare = replace(manner, calibrate=None)
    return fit_temperature(crossed(lambda rows: fit_inside(combiner, rows, members, bare), bank), bank.truth)


def refuse_unfit(bank: Bank) -> None:
    """Refuse a bank that nothing can be found out from.

    Raises:
        InputError: `missing-label`; `too-few-rows`: none, or all of one class.
    """
    if bank.truth is None:
        message = "a combiner that is fitted needs the right answer of every row; the bank has none"
        raise InputError(Fault("missing-label", message, subject="y", hint="give `y` with the rows"))
    if not len(bank):
        raise InputError(
            Fault("too-few-rows", "a combiner is fitted on rows; the bank has none that a member predicted")
        )
    if bank.task == "classification" and len(found := np.unique(bank.truth)) < 2:
        message = (
            f"a combiner is fitted on rows of two classes or more; all {len(bank):,} are {bank.classes[found[0]]!r}"
        )
        raise InputError(Fault("too-few-rows", message, subject="y"))


def _notes(whole: Bank, part: Bank, combiner: Combiner, manner: Manner) -> Iterator[str]:
    if len(part) < len(whole):
        yield f"{len(whole) - len(part):,} of {len(whole):,} rows are left out: no member predicted them"
    seen = [name for name, how in zip(whole.members, whole.provenance) if how == "in-sample"]
    if seen and manner.allow_in_sample and combiner.learns:
        yield f"fitted on rows that {listed(seen, 5)} had been trained on: what it gains there may be nothing elsewhere"
    if whole.task == "classification" and combiner.learns and part.truth is not None:
        there = set(part.truth.tolist())
        if lacking := [str(label) for number, label in enumerate(whole.classes) if number not in there]:
            yield f"fitted without any row of {listed(lacking, 5)}"


def _asked_too(besides: Sequence[str], left: Sequence[str]) -> Iterator[str]:
    if besides:
        yield f"{listed(besides, 5)} count for nothing and are asked all the same: others leave classes to them"
    if left:
        yield f"all members are asked about every row, not in turn: {listed(left, 5)} leave classes to others"


def _beyond(besides: Sequence[str]) -> Fault:
    message = f"a budget cannot be kept to: {listed(besides, 5)} must be asked too, since others leave classes to them"
    hint = 'say `missing="zero"` or `"uniform"` of members that lack classes, or give no budget'
    return Fault("over-budget", message, subject=besides[0], hint=hint)


def without_evidence(combiner: Combiner, empty: Bank) -> Fitted | None:
    """A combiner that needs no rows, fitted on none; `None` for one that needs some.

    Args:
        combiner: its settings.
        empty: a bank of the members without rows.
    """
    if combiner.learns:
        return None
    try:
        return combiner.fit(empty)
    except InputError:  # it keeps a sample of rows, as the mean of ranks does
        return None


def weighed(fitted: Linear, name: str, weight: float) -> Linear:
    """A weighted mean with one more member of a given share; the others share the rest as before.

    Raises:
        UsageError: `bad-weights`.
    """
    if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 <= weight < 1:
        message = f"`weight` is the share of {name!r} in the whole, from 0 to below 1; found {weight!r}"
        raise UsageError(Fault("bad-weights", message, subject="weight"))
    share = np.append(fitted.share * (1 - weight), weight)
    given = {**dict(fitted.about.get("given", {})), name: float(weight)}
    return Linear((*fitted.members, name), share, {**fitted.about, "given": given})


def unweighed(fitted: Linear, name: str) -> Linear:
    """A weighted mean without one of its members; the others keep their proportions."""
    kept = [number for number, one in enumerate(fitted.members) if one != name]
    share = fitted.share[kept]
    share = share / share.sum() if share.sum() > 0 else np.full(len(kept), 1 / len(kept))
    given = {one: weight for one, weight in fitted.about.get("given", {}).items() if one != name}
    return Linear(tuple(fitted.members[number] for number in kept), share, {**fitted.about, "given": given})
