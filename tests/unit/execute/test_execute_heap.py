"""Freed tiles stay with the process that asks for it, and nothing breaks where there is no glibc."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from cuvee.execute import heap
from tests.support.lanes import rarely

TAKEN = "from cuvee.execute.heap import {0}; raise SystemExit(not {0}())"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
@pytest.mark.parametrize("setting", ["keep_freed_memory", *rarely("give_back_freed_memory")])
@pytest.mark.slow
def test_the_library_takes_the_settings(setting: str) -> None:
    assert subprocess.run([sys.executable, "-c", TAKEN.format(setting)], check=False).returncode == 0


@pytest.mark.parametrize("platform", ["darwin", "linux"])
def test_without_glibc_nothing_happens(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not heap.keep_freed_memory()
    assert not heap.give_back_freed_memory()
