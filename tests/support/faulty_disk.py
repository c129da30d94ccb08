"""A disk on which calls of the operating system fail, and a record of what is made durable in which order."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class FaultyDisk:
    """Calls under a folder, told in their order; one of them fails when it is asked to.

    Args:
        patch: puts the real calls back at the end of the test.
        root: calls elsewhere are none of its business.
    """

    WATCHED = ("open", "pwrite", "preadv", "fsync", "rename", "close", "mkdir", "posix_fallocate")

    def __init__(self, patch: pytest.MonkeyPatch, root: Path) -> None:
        self.calls: list[tuple[str, str]] = []
        self._root = str(root)
        self._fails: Callable[[str, str], bool] = lambda call, path: False
        self._number = 0
        for name in self.WATCHED:
            patch.setattr(os, name, self._watched(name, getattr(os, name)))

    def fail(self, number: int, when: Callable[[str, str], bool]) -> None:
        """From now on, calls for which `when(name, path)` holds end with this error number."""
        self._number, self._fails = number, when

    def _watched(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            path = self._path(arguments[0])
            if not path.startswith(self._root):
                return plain(*arguments, **options)
            if self._fails(name, path):
                raise OSError(self._number, os.strerror(self._number), path)
            self.calls.append((name, path))
            return plain(*arguments, **options)

        return call

    @staticmethod
    def _path(what: Any) -> str:
        if isinstance(what, int):
            try:
                return os.readlink(f"/proc/self/fd/{what}")  # noqa: PTH115
            except OSError:
                return ""
        return os.fsdecode(what)
