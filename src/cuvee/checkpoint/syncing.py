"""Making files durable while the rest of them is being worked out, so that little is left to wait for at the end."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Final

STEP: Final = 64 << 20
"""Bytes written to a file after which it is worth a call: smaller outputs are made durable at the end only."""


class SyncAhead:
    """A thread that makes files durable behind those who write into them; it is started by the first large one.

    An error that it meets would be met by nobody else, because systems tell it once: `finish` raises it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._written: dict[str, int] = {}
        self._descriptors: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._ended = False
        self._error: tuple[str, OSError] | None = None

    def wrote(self, name: str, descriptor: int, nbytes: int) -> None:
        """Note that so many bytes more were written to a file; safe from any thread."""
        with self._changed:
            self._descriptors[name] = descriptor
            self._written[name] = self._written.get(name, 0) + nbytes
            if self._written[name] >= STEP and not self._ended:
                self._wake()

    def finish(self) -> tuple[str, OSError] | None:
        """Wait for the call under way. Gives the first error that was met, and the name of its file."""
        self.stop()
        if self._thread is not None:
            self._thread.join()
        return self._error

    def stop(self) -> None:
        """Begin no further call; the files may be closed from here on."""
        with self._changed:
            self._ended = True
            self._changed.notify()

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
                _sync_data(descriptor)
            except OSError as error:
                self._error = (name, error)
                return
            finally:
                os.close(descriptor)

    def _next(self) -> tuple[str, int] | None:
        """The next file, open once more: its owner may close it meanwhile. `None` when it is over."""
        with self._changed:
            while not self._ended:
                name = next((name for name, nbytes in self._written.items() if nbytes >= STEP), None)
                if name is not None:
                    self._written[name] = 0
                    try:
                        return name, os.dup(self._descriptors[name])
                    except OSError:  # too many are open; that is no reason to fail
                        return None
                self._changed.wait()
            return None


def _sync_data(descriptor: int) -> None:
    getattr(os, "fdatasync", os.fsync)(descriptor)  # not everywhere: macOS has none
