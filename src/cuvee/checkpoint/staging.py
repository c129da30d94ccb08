"""Where an output is built, who may build it, and how it takes its place at once.

While an output `out` is being written, and only then, there stand beside it `.out.cuvee-partial` (what is being built),
`.out.cuvee-journal` (what is finished of it), `.out.cuvee-lock` (held by the one run that may) and, for an instant
where folders cannot be exchanged, `.out.cuvee-old`. A run that was killed leaves them behind; the next one to the same
output goes on from them if it was asked to, or clears them away.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cuvee.checkpoint.contents import READABLE, RECORD_NAME
from cuvee.errors import Fault, OutputExists, ResourceError

_CURRENT_FOLDER: Final = -100  # AT_FDCWD
_EXCHANGE: Final = 2  # RENAME_EXCHANGE
_NO_EXCHANGE: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV})
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


@dataclass(frozen=True, slots=True)
class Places:
    """The output and its hidden neighbours."""

    out: Path

    @property
    def staging(self) -> Path:
        """Where the output is built."""
        return self._beside("partial")

    @property
    def old(self) -> Path:
        """Where a replaced output waits until the new one is in place."""
        return self._beside("old")

    @property
    def lock(self) -> Path:
        """The file whose lock is the right to touch the others."""
        return self._beside("lock")

    def journal(self, worker: str = "") -> Path:
        """What is finished, as the run itself, or one of several processes that write for it, notes it."""
        return self._beside(f"journal-{worker}" if worker else "journal")

    def journals(self) -> list[Path]:
        """Every journal that is there, the run's own first."""
        own = self.journal()
        try:
            names = sorted(entry.name for entry in own.parent.iterdir())
        except FileNotFoundError:
            return []
        return [own.with_name(name) for name in names if name == own.name or name.startswith(f"{own.name}-")]

    def _beside(self, what: str) -> Path:
        return self.out.with_name(f".{self.out.name}.cuvee-{what}")


def find_places(out: Path) -> Places:
    """The real place of an output; a link to a folder is followed, so that the link stays and the folder changes.

    Raises:
        OutputExists: `unsafe-overwrite`: a link that leads nowhere, or no name that a folder can have.
    """
    if out.is_symlink() and not out.exists():
        raise _unsafe(out, "is a link that leads nowhere", "remove the link, or name another folder")
    real = Path(os.path.realpath(out))
    if not real.name:
        raise _unsafe(out, "is the root of the file system", "name a folder to be made")
    return Places(real)


def check_output(out: Path, overwrite: bool, protected: Sequence[Path]) -> None:
    """Refuse an output that must not be made or replaced.

    Raises:
        OutputExists: `output-exists` for a folder with something in it; `unsafe-overwrite` for a file, a mount point,
            the working folder, and, with `overwrite`, for a folder that is no model output or that touches an input.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise _unsafe(out, "is a file, an output is a folder", "name another folder")
    if os.path.ismount(out):
        raise _unsafe(out, "is a mount point, which cannot be replaced", "name a folder inside it")
    if _is_or_holds(out, [_working_folder()]):
        raise _unsafe(out, "is or holds the working folder", "name a folder to be made")
    held = sorted(entry.name for entry in out.iterdir())
    if held and not overwrite:
        raise _exists(out)
    if held:
        _check_replaceable(out, held, protected)


def _check_replaceable(out: Path, held: Sequence[str], protected: Sequence[Path]) -> None:
    marks = (RECORD_NAME, "config.json")
    if not any(name in marks or name.lower().endswith(READABLE) for name in held):
        raise _unsafe(out, "does not look like a model, so it is not replaced", "remove it yourself if you mean it")
    if _is_or_holds(out, [Path("~").expanduser()]):
        raise _unsafe(out, "is or holds your home folder", "name a folder to be made")
    touched = [path for path in protected if out.is_relative_to(os.path.realpath(path)) or _is_or_holds(out, [path])]
    if touched:
        what = f"is, holds or lies in what the merge reads: {', '.join(dict.fromkeys(map(str, touched)))}"
        raise _unsafe(out, what, "name another folder")


def _is_or_holds(out: Path, paths: Sequence[Path | None]) -> bool:
    return any(Path(os.path.realpath(path)).is_relative_to(out) for path in paths if path is not None)


def _working_folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # removed while we stood in it
        return None


def _unsafe(out: Path, what: str, hint: str) -> OutputExists:
    return OutputExists(Fault("unsafe-overwrite", f"the output {out} {what}", subject=str(out), hint=hint))


def _exists(out: Path) -> OutputExists:
    hint = "name another folder, or allow replacing it with --overwrite"
    message = f"the output {out} is there already and not empty"
    return OutputExists(Fault("output-exists", message, subject=str(out), hint=hint))


def take_lock(places: Places) -> int:
    """Take the right to write an output; gives the descriptor that holds it.

    Raises:
        ResourceError: `output-busy`: another live run has it.
    """
    while True:
        descriptor = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise _busy(places.out) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:  # some network file systems have no locks: then nothing can guard
                os.close(descriptor)
                raise
        if _names_same(descriptor, places.lock):
            return descriptor
        os.close(descriptor)  # the run that held it removed it between our opening and locking it


def _busy(out: Path) -> ResourceError:
    hint = "wait for it, or name another folder"
    return ResourceError(Fault("output-busy", f"another run is writing {out}", subject=str(out), hint=hint))


def release_lock(places: Places, descriptor: int) -> None:
    """Give the right back; the file goes while still locked, so that nobody can hold a removed one unknowingly."""
    if _names_same(descriptor, places.lock):
        places.lock.unlink(missing_ok=True)
    os.close(descriptor)


def _names_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def clear(places: Places) -> None:
    """Undo what a run that did not publish left, at whatever point it ended; needs the lock."""
    put_back(places)
    for journal in places.journals():  # before what they speak of: a journal alone would be believed by nobody
        remove(journal)
    remove(places.staging)


def put_back(places: Places) -> None:
    """Make the old output the output again if a run ended between the two renames; needs the lock."""
    if places.old.is_dir() and not places.out.exists():
        places.old.rename(places.out)
    remove(places.old)


def sweep(out: Path) -> None:
    """Clear away what a run that was killed after publishing left; nothing, if another one is writing now.

    Raises:
        OutputExists, ResourceError: as when an output is begun.
    """
    places = find_places(out)
    if places.staging.exists() or places.journals() or places.lock.exists():
        descriptor = take_lock(places)
        try:
            clear(places)
        finally:
            release_lock(places, descriptor)


def remove(path: Path) -> None:
    """Remove a folder, or whatever stands under its name; a link is removed, not followed."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def swap_in(places: Places, *, overwrite: bool) -> None:
    """Put the finished folder in the output's place, with one rename where the system can exchange folders.

    Raises:
        OutputExists: `output-exists`: something came to stand there, and it may not be replaced.
    """
    if not overwrite or not places.out.exists():
        _take_place(places)
    elif not _exchange(places.staging, places.out):
        _replace_in_two(places)


def _take_place(places: Places) -> None:
    """Rename onto nothing or onto an empty folder, which the system replaces; it never replaces anything else."""
    try:
        places.staging.rename(places.out)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise _exists(places.out) from None


def _replace_in_two(places: Places) -> None:
    """Set the old folder aside, rename the new one, and put the old one back if that fails."""
    places.out.rename(places.old)
    try:
        places.staging.rename(places.out)
    except BaseException:
        places.old.rename(places.out)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders at once; `False` where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    arguments = _CURRENT_FOLDER, os.fsencode(one), _CURRENT_FOLDER, os.fsencode(other), _EXCHANGE
    if rename(*arguments) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns the ones that were not there, the innermost first."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return made


def sync_tree(folder: Path) -> None:
    """Make every file and folder under a folder durable."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            _sync(path, os.O_RDONLY)
    sync_folder(folder)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where the file system can: some refuse to do it for folders."""
    try:
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP):
            raise


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
