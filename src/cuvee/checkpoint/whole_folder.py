"""A folder of any files that appears complete or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cuvee.checkpoint.os_errors import told
from cuvee.checkpoint.staging import (
    Places,
    check_output,
    clear,
    find_places,
    make_folders,
    release_lock,
    swap_in,
    sync_folder,
    sync_tree,
    take_lock,
)


def check_whole_folder(out: Path, *, overwrite: bool, check_old: Callable[[Path], None]) -> None:
    """Refuse a name that `whole_folder` would refuse, before there is anything to write.

    Raises:
        OutputExists, ResourceError: as `whole_folder`.
    """
    with told("look at", out):
        places = find_places(out)
    _check(places, overwrite, check_old)


@contextmanager
def whole_folder(out: Path, *, overwrite: bool, check_old: Callable[[Path], None]) -> Iterator[Path]:
    """A hidden folder to write into; it gets its name when the block ends well, and is gone when it does not.

    Args:
        out: the name it will have.
        overwrite: whether a folder of that name may be replaced.
        check_old: raises when it may not, because it is none of ours.

    Raises:
        OutputExists: something has the name, and may not be replaced; also when it came meanwhile.
        ResourceError: it cannot be written.
    """
    with told("look at", out):
        places = find_places(out)
    _check(places, overwrite, check_old)
    with told("make the folder", places.out.parent):
        made = make_folders(places.out.parent)
    try:
        with told("lock", places.lock):
            lock = take_lock(places)
        try:
            with told("write", places.out):
                clear(places)  # what a run that was killed left
                places.staging.mkdir()
                yield places.staging
                sync_tree(places.staging)
            _check(places, overwrite, check_old)
            _publish(places, made, overwrite)
        finally:
            with suppress(OSError):
                clear(places)
                release_lock(places, lock)
    finally:
        with suppress(OSError):
            for path in [] if places.out.exists() else made:
                path.rmdir()


def _check(places: Places, overwrite: bool, check_old: Callable[[Path], None]) -> None:
    with told("look at", places.out):
        check_output(places.out, overwrite, ())
        if places.out.is_dir() and any(places.out.iterdir()):
            check_old(places.out)


def _publish(places: Places, made: Sequence[Path], overwrite: bool) -> None:
    with told("publish", places.out):
        swap_in(places, overwrite=overwrite)
        for folder in (places.out, *made):
            sync_folder(folder.parent)
