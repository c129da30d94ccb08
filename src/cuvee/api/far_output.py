"""Merges whose output is a URL: made on this machine, then sent."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cuvee.api.arguments import as_path
from cuvee.api.pushing import PushedFile, PushResult, Sent, check_free, for_target, send
from cuvee.errors import CuveeError, Fault, ResourceError

if TYPE_CHECKING:
    from cuvee.api.merging import MergeResult


def merge_far(
    out: str,
    staging: str | os.PathLike[str] | None,
    overwrite: bool,
    build: Callable[[Path], MergeResult],
    sending: Sent | None,
) -> MergeResult:
    """Build an output in a folder of this machine, send it, and remove the folder.

    Args:
        out: the target.
        staging: the folder to build in, which is kept; a temporary one by default.
        overwrite: replace a model that stands at the target.
        build: makes the output in a folder that is not there yet.
        sending: told of bytes sent.

    Raises:
        UsageError, OutputExists: the target is none, or a model stands there; nothing was built.
        CuveeError: what building raises; or what sending raises, with where the result is and how to go on.
    """
    check_free(out, overwrite)
    kept = None if staging is None else as_path(staging, "staging", "the staging folder must be a folder's name")
    own = Path(tempfile.mkdtemp(prefix="cuvee-out-")) if kept is None else None
    folder = kept or Path(str(own)) / "model"
    try:
        made = build(folder)
    except BaseException:
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)
        raise
    try:
        _send(folder, out, overwrite, sending)
    except CuveeError as error:
        raise type(error)(_kept(fault, folder, out) for fault in error.faults) from error
    except Exception as error:
        raise ResourceError(_kept(_unforeseen(error, out), folder, out)) from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted while sending; {_how_to_go_on(folder, out)}") from None
    if own is not None:
        shutil.rmtree(own, ignore_errors=True)
    return replace(made, path=out)


def staging_faults(out: str | None, staging: object, resume: bool) -> list[Fault]:
    """What is wrong with going on where nothing is kept: a temporary folder goes when the merge fails."""
    if out is None or staging is not None or not resume:
        return []
    message = f"`resume` should go with `staging` where the output is a URL, found {out} and no `staging`"
    hint = "name a folder that is kept (`--staging`), or leave `resume` out"
    return [Fault("bad-argument", message, subject="resume", hint=hint)]


def _send(folder: Path, out: str, overwrite: bool, sending: Sent | None) -> None:
    """Send a folder that has just been made, and hashed while it was."""
    from cuvee.checkpoint.targets import find_target, pack

    parcels = pack(folder)
    files = tuple(PushedFile(parcel.name, parcel.nbytes, "") for parcel in parcels)
    send(for_target(PushResult(folder, out, False, False, files, ()), find_target(out), parcels, overwrite), sending)


def _unforeseen(error: Exception, out: str) -> Fault:
    """A fault of an error that is not Cuvee's own: a disk, a library, the caller's own callback."""
    what = next(iter(str(error).strip().splitlines()), "")
    code = "memory" if isinstance(error, MemoryError) else "io-error"
    return Fault(code, f"could not send to {out}: {type(error).__name__}{what and f': {what}'}", subject=out)


def _kept(fault: Fault, folder: Path, out: str) -> Fault:
    """The fault with where the result is, and how to go on."""
    how = _how_to_go_on(folder, out)
    return replace(fault, hint=f"{fault.hint}; {how}" if fault.hint else how)


def _how_to_go_on(folder: Path, out: str) -> str:
    words = shlex.join(["cuvee", "push", str(folder), out, "--yes", "--overwrite"])
    return f"the merged model is whole and kept in {folder}; go on with `{words}`"
