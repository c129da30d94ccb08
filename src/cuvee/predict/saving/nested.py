"""Members that are ensembles themselves, kept as folders in the folder."""

from __future__ import annotations

from pathlib import Path

from cuvee.errors import Fault, InputError
from cuvee.predict.member import Member
from cuvee.predict.saving.form import read_form
from cuvee.predict.saving.keepers import KEEPERS, Keeper, Kept, Stored
from cuvee.predict.saving.reading import assembled, trust_faults
from cuvee.predict.saving.writing import write_into


def save(member: Member, folder: Path, allow_pickle: bool) -> Kept:
    """Write the inner ensemble."""
    inner = member.thing
    return Kept({}, (), write_into(inner, inner.state, folder, inner.seen, allow_pickle=allow_pickle))


def check(stored: Stored) -> list[Fault]:
    """What forbids loading the inner one; its files are among those of the outer one."""
    try:
        return trust_faults(read_form(stored.folder), stored.folder, stored.trust, stored.make)
    except InputError as error:
        return list(error.faults)


def load(stored: Stored) -> Member:
    """Make the inner ensemble, and of it the member."""
    inner = assembled(read_form(stored.folder), stored.folder, stored.trust, stored.make)
    return Member.ensemble(inner, **stored.facts.common)


KEEPERS.register("ensemble", Keeper(save, check, load))
