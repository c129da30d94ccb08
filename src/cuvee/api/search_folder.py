"""The folder of a search: what may stand in it, and what may be replaced there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cuvee.checkpoint.os_errors import told
from cuvee.errors import Fault, OutputExists, UsageError
from cuvee.searching.journal import NAME
from cuvee.searching.outcome import RECIPE, RESULT

OWN = (NAME, RECIPE, RESULT)
"""Files that a search writes."""


def prepared_folder(out: Path | None, *, resume: bool, overwrite: bool, read: Sequence[Path]) -> Path | None:
    """The folder, made if it is not there; what an earlier search left there may be replaced.

    Raises:
        UsageError: there is nothing to go on with.
        OutputExists: a search is there, without `resume` or `overwrite`; a file that is read is in the way.
        ResourceError: the system refuses.
    """
    if out is None:
        return None
    there = [out / name for name in OWN if (out / name).exists()]
    if resume and not (out / NAME).is_file():
        message = f"there is no search in {out} to go on with"
        raise UsageError(Fault("bad-argument", message, subject="resume", hint="leave --resume out to begin one"))
    if out.exists() and not out.is_dir():
        message = f"the output of a search is a folder; {out} is a file"
        raise OutputExists(Fault("unsafe-overwrite", message, subject=str(out), hint="choose another name"))
    for path in there:
        if any(other.exists() and path.samefile(other) for other in read):
            message = f"{path} is read by this search, and will not be replaced"
            raise OutputExists(Fault("unsafe-overwrite", message, subject=str(path), hint="choose another folder"))
    if there and not (resume or overwrite):
        message = f"a search is in {out} already"
        hint = "go on with it (--resume), begin anew (--overwrite), or choose another folder"
        raise OutputExists(Fault("output-exists", message, subject=str(out), hint=hint))
    with told("write", out):
        out.mkdir(parents=True, exist_ok=True)
    return out


def clear_results(folder: Path | None, *, resume: bool) -> None:
    """Remove what an earlier search found, unless it goes on, and what was being written when a process was killed.

    That is for whoever holds the journal: nobody else writes there then.

    Raises:
        ResourceError: the system refuses.
    """
    if folder is None:
        return
    with told("write", folder):
        for name in (RECIPE, RESULT):
            if not resume:
                (folder / name).unlink(missing_ok=True)
            for left in folder.glob(f".{name}.cuvee-*"):
                left.unlink(missing_ok=True)
