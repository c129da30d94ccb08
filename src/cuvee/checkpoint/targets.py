"""Where finished model folders are sent: a repository on the hub, or a folder behind a URL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

from cuvee.checkpoint import transport
from cuvee.checkpoint.contents import PREFERRED, RECORD_NAME, is_weight_file, passed_over
from cuvee.checkpoint.folder import is_hub_id
from cuvee.checkpoint.identity import Identity, changed, identity_of
from cuvee.checkpoint.retrying import persist
from cuvee.checkpoint.standing import Standing
from cuvee.checkpoint.wire import WireError
from cuvee.errors import Fault, InputError, ResourceError, UsageError
from cuvee.types import scheme_of, url_fault

Sent = Callable[[int, str], None]
"""Told how many bytes of all are there, and the file that is being sent."""

_ADVICE: Final = {
    "missing": ("model-missing", "make the bucket first, or check its name"),
    "denied": (
        "remote-denied",
        "check the right to write, and the credentials as the store's own tools would find them",
    ),
}


@dataclass(frozen=True, slots=True)
class Target:
    """A place for a folder: `name` is a hub id or a URL without a slash at its end."""

    kind: Literal["hub", "store"]
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Parcel:
    """One file to send: its name with `/`, where it lies, and what tells it from itself after a change."""

    name: str
    path: Path
    identity: Identity

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self.identity[2]


def find_target(text: str) -> Target:
    """The place that a text names: `ORG/NAME` or `hf://ORG/NAME` on the hub, or the URL of a folder.

    Raises:
        UsageError: `bad-argument`: it is neither, or a place that nothing can be written to.
    """
    scheme = scheme_of(text)
    name = text.partition("://")[2].strip("/") if scheme == "hf" else text
    if scheme in (None, "hf"):
        if is_hub_id(name) and name.count("/") == 1:
            return Target("hub", name)
        raise _no_target(f"be `ORG/NAME` on the hub or a URL such as s3://bucket/prefix; found {text[:200]!r}")
    if wrong := url_fault(text):
        raise _no_target(wrong)
    if scheme in ("http", "https"):
        raise _no_target("be a store that can be written to; a web server cannot")
    return Target("store", text.rstrip("/"))


def pack(folder: Path) -> tuple[Parcel, ...]:
    """The files of a finished folder in the order in which they are sent.

    Weights follow what describes them, then come the index and, last of all, the record: whoever looks in between sees
    no weights, or weights without an index, and nothing that could be taken for a whole model.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return tuple(Parcel(name, names[name], identity_of(names[name].stat())) for name in sorted(names, key=_turn))


def _turn(name: str) -> tuple[int, str]:
    """When a file is sent."""
    if name == RECORD_NAME:
        return 3, name
    if name.endswith(".index.json"):
        return 2, name
    return (1 if "/" not in name and is_weight_file(name) else 0), name


def model_files(names: Iterable[str]) -> tuple[str, ...]:
    """Those of a target's files that make a model: weights, indexes, adapters, and the record."""
    there = set(names)
    return tuple(sorted({*passed_over(there, ()), *({RECORD_NAME} & there)}))


def stale_files(target: Target, there: Iterable[str], parcels: Sequence[Parcel]) -> tuple[str, ...]:
    """Files of an earlier model that must go before a new one is sent, or with it.

    From a store, what makes a folder look whole goes too: it would be true of neither while files are replaced one by
    one. On the hub all is replaced at once.
    """
    ours = {parcel.name for parcel in parcels}
    marks = {RECORD_NAME, *PREFERRED} if target.kind == "store" else set()
    return tuple(name for name in there if name not in ours or name in marks)


def look_at_store(target: Target) -> Standing:
    """What stands in the folder behind a URL.

    Raises:
        ResourceError: the store is not there, refuses, or does not answer.
    """
    try:
        found = persist(lambda: transport.list_folder(target.name))
    except WireError as error:
        if error.kind != "missing":
            raise ResourceError(_fault(error, f"look into {target}", target)) from error
        _check_store(target)
        found = None
    names = tuple(sorted(name for name, stamp in (found or {}).items() if stamp is not None))
    return Standing(bool(found), names)


def send_to_store(target: Target, parcels: Sequence[Parcel], stale: Sequence[str], sent: Sent) -> None:
    """Send files in their order, after removing those of an earlier model.

    Raises:
        InputError: `io-error`: a file has changed since it was packed.
        ResourceError: the store refuses or does not answer; what has been sent stays there, the record is not among it.
    """
    for name in stale:
        _carefully(partial(transport.remove, f"{target}/{name}"), f"remove {target}/{name}", target)
    done = 0
    for parcel in parcels:
        check_parcels(parcels if parcel is parcels[-1] else [parcel])
        _send(target, parcel, done, sent)
        done += parcel.nbytes
        sent(done, parcel.name)


def check_parcels(parcels: Sequence[Parcel]) -> None:
    """Refuse files that something has written to since they were packed.

    Raises:
        InputError: `io-error`, for every one.
    """
    faults = [changed(parcel.path, "since it was checked") for parcel in parcels if not _is_same(parcel)]
    if faults:
        raise InputError(faults)


def upload_fault(code: str, what: str, reason: str, target: Target, hint: str) -> Fault:
    """What went wrong on the way to a target."""
    return Fault(code, f"could not {what}: {reason}", subject=str(target), hint=hint)


def _is_same(parcel: Parcel) -> bool:
    try:
        return identity_of(parcel.path.stat()) == parcel.identity
    except OSError:
        return False


def _send(target: Target, parcel: Parcel, before: int, sent: Sent) -> None:
    """Send one file, as often as it takes; `before` bytes are there already."""

    def once() -> None:
        parts: list[int] = []

        def more(part: int) -> None:
            parts.append(part)
            sent(before + min(sum(parts), parcel.nbytes), parcel.name)

        transport.put(parcel.path, f"{target}/{parcel.name}", more)

    _carefully(once, f"send {parcel.name} to {target}", target)


def _carefully(step: Callable[[], None], what: str, target: Target) -> None:
    try:
        persist(step)
    except WireError as error:
        raise ResourceError(_fault(error, what, target)) from error


def _check_store(target: Target) -> None:
    """Refuse a bucket that is not there; a folder in it need not be."""
    scheme, _, rest = target.name.partition("://")
    bucket = f"{scheme}://{rest.partition('/')[0]}"
    try:
        persist(lambda: transport.check_bucket(bucket))
    except WireError as error:
        if error.kind != "denied":  # whoever may write to a folder need not be allowed to look at the bucket
            raise ResourceError(_fault(error, f"find {bucket}", target)) from error


def _fault(error: WireError, what: str, target: Target) -> Fault:
    code, hint = _ADVICE.get(error.kind, ("remote-unreachable", "look at the network and the store, and try again"))
    return upload_fault(code, what, error.reason, target, hint)


def _no_target(wanted: str) -> UsageError:
    hint = "for example `ORG/NAME` or s3://bucket/prefix"
    return UsageError(Fault("bad-argument", f"a target should {wanted}", subject="target", hint=hint))
