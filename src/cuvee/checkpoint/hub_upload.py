"""Sending a folder to the hub: which steps, in which order; the requests themselves are in `hub`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cuvee.checkpoint import hub
from cuvee.checkpoint.standing import Standing
from cuvee.checkpoint.targets import Parcel, Sent, Target, check_parcels, upload_fault
from cuvee.errors import Fault, ResourceError, UsageError
from cuvee.types import ModelRef


@dataclass(frozen=True, slots=True)
class Wish:
    """How a repository is to be written: `revision` is a branch, which is made if it is not there."""

    private: bool = False
    revision: str | None = None
    message: str | None = None


def look_at_hub(target: Target, wish: Wish) -> Standing:
    """What stands in a repository, at the branch that would be written.

    Raises:
        UsageError: `private` is asked for and the repository is public.
        ResourceError: the hub refuses or does not answer.
    """
    main = hub.look_at(ModelRef(target.name))
    if main is None:
        return Standing(False)
    if wish.private and not main.private:
        message = f"{target} is there already and public; pushing does not change that"
        hint = "make it private on its page first, or name a new repository"
        raise UsageError(Fault("bad-argument", message, subject="private", hint=hint))
    branch = hub.look_at(ModelRef(target.name, wish.revision)) if wish.revision else main
    return branch or main


def send_to_hub(target: Target, parcels: Sequence[Parcel], stale: Sequence[str], wish: Wish, sent: Sent) -> None:
    """Send files, weights one by one, and make them visible with one commit.

    Raises:
        InputError: `io-error`: a file has changed since it was packed.
        ResourceError: the hub refuses or does not answer; nothing of it is visible.
    """
    done = 0
    with hub.committing(target.name, wish.private, wish.revision) as commit:
        for parcel in parcels:
            check_parcels([parcel])
            sent(done, parcel.name)
            commit.add(parcel.name, parcel.path)
            done += parcel.nbytes
            sent(done, parcel.name)
        check_parcels(parcels)
        commit.finish(stale, wish.message or f"Upload {target.name.rpartition('/')[2]}")
    there = look_at_hub(target, Wish(revision=wish.revision)).names
    lost = sorted({parcel.name for parcel in parcels} - set(there))
    if lost:
        reason = f"the repository does not hold {', '.join(lost[:5])}"
        hint = "look at its .gitignore, and push again"
        raise ResourceError(upload_fault("remote-unreachable", f"send everything to {target}", reason, target, hint))
