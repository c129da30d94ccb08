"""Sending a finished model folder to the hub or to a store: looked at first, sent only when asked to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cuvee.api.arguments import as_path, callback_faults, refuse, switch_faults, unfit
from cuvee.errors import CheckFailed, Fault, InputError, OutputExists, UsageError, listed

if TYPE_CHECKING:
    from cuvee.checkpoint.standing import Standing
    from cuvee.checkpoint.targets import Parcel, Target

Sent = Callable[[int, int, str], None]
"""Told bytes sent, bytes in all, and the file that is being sent."""


@dataclass(frozen=True, slots=True)
class PushedFile:
    """A file of the folder: name with `/`, bytes, SHA-256 (hex)."""

    name: str
    nbytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PushResult:
    """What was sent, or would be.

    Attributes:
        path: the folder.
        target: hub id or URL.
        done: whether it was sent; without `yes` it is only looked at.
        creates: whether the repository, or the first file of the folder, is made.
        files: what is sent, in this order; the record is last.
        removes: files at the target that an earlier model left and that go.
        private, revision, message: of a repository; as given.
    """

    path: Path
    target: str
    done: bool
    creates: bool
    files: tuple[PushedFile, ...]
    removes: tuple[str, ...]
    private: bool = False
    revision: str | None = None
    message: str | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.nbytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Shipment:
    """A folder packed for its target, and what stands there."""

    result: PushResult
    target: Target
    parcels: tuple[Parcel, ...]


def push(
    path: str | os.PathLike[str],
    target: str,
    *,
    yes: bool = False,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    overwrite: bool = False,
    progress: Sent | None = None,
) -> PushResult:
    """Verify a folder that Cuvee made and send it to the hub or to a store; without `yes`, say what that would do.

    Args:
        path: the folder; its record must agree with it to the last byte.
        target: `ORG/NAME` on the hub, or a URL such as `s3://bucket/prefix`.
        yes: send it. Without, nothing is written anywhere.
        private: make the repository private, if it is made.
        revision: branch of the repository, made if it is not there; the main one by default.
        message: of the commit.
        overwrite: replace a model that stands there.
        progress: called with bytes sent, bytes in all and the file at hand.

    Raises:
        UsageError: an argument is wrong, or an option of the hub is given for a store.
        InputError: there is nothing at `path`, or it changes while it is sent.
        CheckFailed: the folder has no record, or does not verify.
        OutputExists: a model stands at the target and `overwrite` is not given.
        ResourceError: the target refuses or does not answer.
    """
    refuse([*switch_faults(yes=yes), *callback_faults(progress)])
    made = prepare(path, target, private=private, revision=revision, message=message, overwrite=overwrite)
    return send(made, progress) if yes else made.result


def prepare(
    path: str | os.PathLike[str],
    target: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Shipment:
    """Verify and pack a folder and look at its target; see `push`. `progress` is told of tensors verified."""
    from cuvee.checkpoint.fingerprint import sha256_file
    from cuvee.checkpoint.os_errors import told
    from cuvee.checkpoint.targets import check_parcels, find_target, pack

    folder = as_path(path, "path", "what is pushed must be a model folder")
    refuse([*switch_faults(private=private, overwrite=overwrite), *_text_faults(revision=revision, message=message)])
    place = find_target(_target_text(target))
    if place.kind == "store":
        refuse(_hub_only(private, revision, message))
    if not folder.is_dir():
        raise InputError(
            Fault("model-missing", f"{folder}: no such folder", subject=str(folder), hint="check the path")
        )
    with told("read", folder):
        parcels = pack(folder)
        _check_whole(folder, progress)
        files = tuple(PushedFile(parcel.name, parcel.nbytes, sha256_file(parcel.path)) for parcel in parcels)
    check_parcels(parcels)
    made = PushResult(folder, str(place), False, False, files, (), private, revision, message)
    return for_target(made, place, parcels, overwrite)


def for_target(made: PushResult, place: Target, parcels: tuple[Parcel, ...], overwrite: bool) -> Shipment:
    """A packed folder with what its target makes of it.

    Raises:
        OutputExists: a model stands at the target and `overwrite` is not given.
        ResourceError: the target refuses or does not answer.
    """
    stands = _look_at(place, made.private, made.revision)
    removes = _removes(place, stands, parcels, overwrite)
    return Shipment(replace(made, creates=not stands.exists, removes=removes), place, parcels)


def send(made: Shipment, progress: Sent | None = None) -> PushResult:
    """Send what was prepared.

    Raises:
        InputError: a file has changed since.
        ResourceError: the target refuses or does not answer.
    """
    from cuvee.checkpoint.hub_upload import Wish, send_to_hub
    from cuvee.checkpoint.targets import send_to_store

    result, total = made.result, made.result.nbytes

    def sent(done: int, name: str) -> None:
        if progress is not None:
            progress(done, total, name)

    if made.target.kind == "hub":
        wish = Wish(result.private, result.revision, result.message)
        send_to_hub(made.target, made.parcels, result.removes, wish, sent)
    else:
        send_to_store(made.target, made.parcels, result.removes, sent)
    return replace(result, done=True)


def check_free(target: str, overwrite: bool) -> None:
    """Refuse a target at which a model stands, before anything is made for it.

    Raises:
        UsageError, OutputExists, ResourceError: as `push`.
    """
    from cuvee.checkpoint.targets import find_target

    place = find_target(target)
    _removes(place, _look_at(place, False, None), (), overwrite)


def _look_at(place: Target, private: bool, revision: str | None) -> Standing:
    from cuvee.checkpoint.hub_upload import Wish, look_at_hub
    from cuvee.checkpoint.targets import look_at_store

    return look_at_hub(place, Wish(private, revision)) if place.kind == "hub" else look_at_store(place)


def _removes(place: Target, stands: Standing, parcels: tuple[Parcel, ...], overwrite: bool) -> tuple[str, ...]:
    """What of an earlier model has to go.

    Raises:
        OutputExists: something has, and nobody said so.
    """
    from cuvee.checkpoint.targets import model_files, stale_files

    there = model_files(stands.names)
    if there and not overwrite:
        message = f"there are files of a model at {place}: {listed(there)}"
        hint = "name another place, or allow replacing it with --overwrite"
        raise OutputExists(Fault("output-exists", message, subject=str(place), hint=hint))
    return stale_files(place, there, parcels)


def _check_whole(folder: Path, progress: Callable[[int, int], None] | None) -> None:
    """Refuse a folder that has no record or does not agree with it.

    Raises:
        CheckFailed: with every check that failed.
    """
    from cuvee.checkpoint.contents import RECORD_NAME
    from cuvee.execute.verify import verify_folder

    if not (folder / RECORD_NAME).is_file():
        message = f"{folder} has no {RECORD_NAME}: only what Cuvee made, and can check, is pushed"
        hint = "name the output of a merge; other folders can be sent with `hf upload` or the store's own tools"
        raise CheckFailed(Fault("check-failed", message, subject=str(folder), hint=hint))
    failed = [check for check in verify_folder(folder, progress).checks if check.outcome == "failed"]
    if failed:
        hint = f"`cuvee verify {folder}` shows all checks; merge again"
        raise CheckFailed(Fault("check-failed", f"{folder}: {c.name}: {c.found}", None, c.name, hint) for c in failed)


def _target_text(target: object) -> str:
    if not isinstance(target, str):
        raise UsageError(unfit("target", "`ORG/NAME` or a URL", target))
    return target


def _text_faults(**texts: object) -> list[Fault]:
    return [unfit(n, "a text that is not empty", t) for n, t in texts.items() if t is not None and not _is_text(t)]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _hub_only(private: bool, revision: str | None, message: str | None) -> list[Fault]:
    """Faults of options that a store has no use for."""
    given = {"private": private, "revision": revision is not None, "message": message is not None}
    hint = "leave it out; a store's own settings say who may read"
    return [
        Fault("bad-argument", f"`{name}` means something for the hub only, and the target is a store", None, name, hint)
        for name, used in given.items()
        if used
    ]
