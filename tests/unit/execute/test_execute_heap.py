"""Freed tiles stay with the process that asks for it, and nothing breaks where there is no glibc."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from cuvee.execute import heap

FAULTS = """
import resource, sys
import torch
if sys.argv[1] == "kept":
    from cuvee.execute.heap import keep_freed_memory
    keep_freed_memory()
def work():
    for _ in range(200):
        tiles = [torch.ones(1 << 21) for _ in range(3)]
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_pages_of_tiles_are_faulted_once() -> None:
    assert faults("kept") < faults("as usual") / 10


@pytest.mark.parametrize("platform", ["darwin", "linux"])
def test_without_glibc_nothing_happens(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    heap.keep_freed_memory()
