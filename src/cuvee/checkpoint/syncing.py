"""Making files durable while the rest of them is being worked out, so that little is left to wait for at the end."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

STEP: Final = 64 << 20
"""Bytes of the output after which it is worth a call: smaller ones are made durable at the end only."""


@dataclass(frozen=True, slots=True)
class SyncFailed:
    """A file that could not be made durable, and what the system said."""

    name: str
    error: OSError


class SyncAhead:
    """A thread that makes files durable behind those who write into them; enough bytes start it.

    An error that it meets would be met by nobody else, because systems tell it once: whoever writes, and whoever
    publishes after `finish`, must look at `failed`.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._written: dict[str, int] = {}
        self._descriptors: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._ended = False
        self.failed: SyncFailed | None = None

    def wrote(self, name: str, descriptor: int, nbytes: int) -> None:
        """Note that so many bytes more were written to a file; safe from any thread."""
        with self._changed:
            self._descriptors[name] = descriptor
            self._written[name] = self._written.get(name, 0) + nbytes
            if self._is_due():
                self._wake()

    def forget(self) -> None:
        """The files are about to be closed, and perhaps opened anew."""
        with self._changed:
            self._written.clear()

    def finish(self) -> None:
        """Wait for the call under way; `failed` is then final."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Begin no further call; the files may be closed from here on."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _is_due(self) -> bool:
        return not self._ended and sum(self._written.values()) >= STEP

    def _wake(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="cuvee-sync", daemon=True)
            with suppress(RuntimeError):  # no more threads: then everything waits for the end
                thread.start()
                self._thread = thread
        self._changed.notify()

    def _run(self) -> None:
        while (due := self._next()) is not None:
            name, descriptor = due
            try:
                try:
                    _sync_data(descriptor)
                finally:
                    os.close(descriptor)
            except OSError as error:
                self.failed = SyncFailed(name, error)
                return

    def _next(self) -> tuple[str, int] | None:
        """The file with most to do, open once more: its owner may close it meanwhile. `None` when it is over."""
        with self._changed:
            while not self._ended:
                if self._is_due():
                    name = max(self._written, key=self._written.__getitem__)
                    self._written[name] = 0
                    try:
                        return name, os.dup(self._descriptors[name])
                    except OSError:  # too many are open; that is no reason to fail
                        return None
                self._changed.wait()
            return None


def read_from_disk(descriptor: int) -> None:
    """Have the next reading of a file bring what its disk holds, where the system can: errors of an earlier run too.

    Pages that could not be written stay in the page cache and look as if they had been.

    Raises:
        OSError: the file cannot be made durable.
    """
    _sync_data(descriptor)
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _sync_data(descriptor: int) -> None:
    getattr(os, "fdatasync", os.fsync)(descriptor)  # not everywhere: macOS has none
