"""Product of experts: what members say multiplied, with a floor, an exponent and the prior taken out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, cast

import numpy as np

from cuvee.combine import Array, apply_temperature, fit_temperature, product
from cuvee.combine.product import FLOOR
from cuvee.errors import refuse
from cuvee.predict.bank import Bank
from cuvee.predict.combiners.declared import COMBINERS, FITTED, Batch, Combiner, Fitted, check_honest
from cuvee.predict.combiners.hard import prior_of
from cuvee.predict.combiners.scored import member_scores
from cuvee.predict.combiners.suited import check_classes, check_probable, number_faults

ILL_CALIBRATED: Final = 0.1
"""Expected calibration error above which a member is named: its sureness counts in full in a product."""


@dataclass(frozen=True, eq=False)
class Multiplied(Fitted):
    """A product of experts.

    Attributes:
        exponent: α; `None` for 1 / (members that take part).
        floor: ε.
        prior: `[K]` that is divided out; `None` for none.
        temperatures: `[M]`, what each member is calibrated by first; `None` for nothing.
        notes: members that are badly calibrated.
    """

    kind: ClassVar[str] = "multiplied"
    exponent: float | None
    floor: float
    prior: Array | None = None
    temperatures: Array | None = None
    notes: tuple[str, ...] = ()

    def apply(self, batch: Batch) -> Array:
        """`combine.product` of the members, calibrated if they were."""
        P = batch.P
        if self.temperatures is not None:
            P = apply_temperature(P, self.temperatures[:, None, None])
        return product(P, batch.mask, self.exponent, self.prior, self.floor)

    def told(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Members, exponent, floor and notes; prior and temperatures as arrays."""
        arrays = {"prior": self.prior, "temperatures": self.temperatures}
        said = {"members": list(self.members), "exponent": self.exponent, "floor": self.floor}
        return said | {"notes": list(self.notes)}, {name: one for name, one in arrays.items() if one is not None}

    @classmethod
    def restored(cls, said: Mapping[str, Any], arrays: Mapping[str, Array]) -> Multiplied:
        """What `told` told."""
        prior, hot = (np.asarray(arrays[k], np.float64) if k in arrays else None for k in ("prior", "temperatures"))
        return cls(tuple(said["members"]), said["exponent"], said["floor"], prior, hot, tuple(said["notes"]))


@dataclass(frozen=True)
class Product(Combiner):
    """Product of experts (`combine.product`): classes only.

    One member that is sure and wrong outweighs all others, so members should be calibrated: `calibrate=True` fits a
    temperature for each. Where the bank has the truth, members with a calibration error above 0.1 are named in the
    notes of what is fitted.

    Args:
        exponent: α > 0; `None` for 1 / (members that take part), the geometric mean; 1 for the full product.
        prior: whether the prior of the bank's truth is divided out, as often as members count in excess of one.
        calibrate: whether every member gets a temperature first.
        floor: what a probability counts as at least, (0, 0.1].
        allow_in_sample: calibrate members whose predictions are in-sample.

    Raises:
        UsageError: `bad-argument`.
    """

    name: ClassVar[str] = "product"
    exponent: float | None = None
    prior: bool = False
    calibrate: bool = False
    floor: float = FLOOR
    allow_in_sample: bool = False

    def __post_init__(self) -> None:
        wrong = number_faults("floor", self.floor, lambda floor: 0 < floor <= 0.1, "above 0, at most 0.1")
        if self.exponent is not None:
            finite = "a finite number above 0, or None"
            wrong += number_faults("exponent", self.exponent, lambda power: 0 < power < float("inf"), finite)
        refuse(wrong)

    @property
    def learns(self) -> bool:  # type: ignore[override]
        """Whether the truth is looked at: for the prior and for temperatures."""
        return self.prior or self.calibrate

    def fit(self, bank: Bank) -> Fitted:
        """Look for prior and temperatures, if asked; name members that are badly calibrated, if the truth is known.

        Raises:
            InputError: `wrong-member`; `no-member`; `missing-label`, `in-sample`, `too-few-rows` for what is asked.
            UsageError: `bad-argument`: a regression.
        """
        check_classes(bank, self.name, "use `soft`, `weighted` or `median`")
        check_probable(bank, self.name)
        if self.calibrate:
            check_honest(bank, allow_in_sample=self.allow_in_sample)
        prior = prior_of(bank) if self.prior else None
        hot = member_temperatures(bank) if self.calibrate else None
        notes = () if bank.truth is None or not len(bank) else calibration_notes(bank, hot)
        return Multiplied(bank.members, self.exponent, self.floor, prior, hot, notes)


def member_temperatures(bank: Bank) -> Array:
    """A temperature for each member, fitted on the rows that it predicted, `[M]`.

    Raises:
        InputError: `too-few-rows`: a member predicted nothing.
    """
    truth = cast(Array, bank.truth)
    member_scores(bank, "accuracy")  # names the members that predicted nothing, all at once
    return np.array([fit_temperature(said[there], truth[there]) for said, there in zip(bank.P, bank.mask)])


def calibration_notes(bank: Bank, temperatures: Array | None) -> tuple[str, ...]:
    """A note for each member whose expected calibration error, after its temperature, is above 0.1."""
    some = bank.only([name for name, there in zip(bank.members, bank.mask) if there.any()])
    if temperatures is not None:
        some = replace(some, P=apply_temperature(some.P, temperatures[:, None, None]))
    errors, _ = member_scores(some, "ece")
    return tuple(
        f"the member {name!r} has a calibration error of {error:.3f}: a product takes its sureness at face value"
        for name, error in zip(some.members, errors)
        if error > ILL_CALIBRATED
    )


COMBINERS.register("product", Product)
FITTED.register("multiplied", Multiplied)
