"""Whether members are of the kind that a combiner can combine."""

from __future__ import annotations

from collections.abc import Callable

from cuvee.errors import Fault, InputError, UsageError
from cuvee.predict.bank import Bank


def check_members(bank: Bank) -> None:
    """Refuse a bank without members, and members that give embeddings, which only a stack reads.

    Raises:
        InputError: `no-member`; `wrong-member`.
    """
    if not bank.members:
        raise InputError(Fault("no-member", "a combiner needs at least one member; there is none", hint="`add` one"))
    mute = [name for name, there in zip(bank.members, bank.mask) if name in bank.embeddings and not there.any()]
    if len(bank) and mute:
        raise InputError([_wrong(name, "gives embeddings, which only a stack can use", "`stack`") for name in mute])


def check_probable(bank: Bank, combiner: str) -> None:
    """Refuse members whose entries are no probabilities, where probabilities are averaged or multiplied.

    Args:
        bank: of the members.
        combiner: the name of the combiner, for the message.

    Raises:
        InputError: `no-member`; `wrong-member`, with all such members.
    """
    check_members(bank)
    unlike = [name for name, likely in zip(bank.members, bank.probable) if not likely]
    if bank.task == "classification" and unlike:
        what = f"gives scores of a scale of its own; `{combiner}` combines probabilities"
        hint = "use `rank-mean` or `stack`, or calibrate the member so that it gives probabilities"
        raise InputError([_wrong(name, what, hint) for name in unlike])


def check_classes(bank: Bank, combiner: str, hint: str) -> None:
    """Refuse a regression where classes are voted on, multiplied or ranked.

    Raises:
        UsageError: `bad-argument`.
    """
    if bank.task == "regression":
        message = f"`{combiner}` combines classes; the ensemble is a regression"
        raise UsageError(Fault("bad-argument", message, subject="combiner", hint=hint))


def choice_faults(name: str, value: object, choices: tuple[str, ...]) -> list[Fault]:
    """What is wrong with a setting that must be one of some words."""
    if value in choices:
        return []
    return [Fault("bad-argument", f"`{name}` must be one of {', '.join(choices)}; found {value!r}", subject=name)]


def number_faults(name: str, value: object, good: Callable[[float], bool], wanted: str) -> list[Fault]:
    """What is wrong with a setting that must be a number of a range.

    Args:
        name: of the setting.
        value: what was given.
        good: whether a number is in the range.
        wanted: the range in words.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and good(value):
        return []
    return [Fault("bad-argument", f"`{name}` must be {wanted}; found {value!r}", subject=name)]


def _wrong(name: str, what: str, hint: str) -> Fault:
    return Fault("wrong-member", f"the member {name!r} {what}", subject=name, hint=hint)
