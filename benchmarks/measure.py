"""Run a process to its end and say what it took."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cases import Case

import cuvee

SAMPLE = 0.005
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Run:
    """Seconds of wall and CPU time, and the peak of anonymous memory in bytes (0 where it cannot be seen)."""

    wall: float
    cpu: float
    anonymous: int


@dataclass(frozen=True)
class Spread:
    """Median, least and largest of some runs."""

    middle: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(median(values), min(values), max(values))


def run(case: Case) -> Run:
    """Run a case once; its output is removed again, outside the time taken.

    Raises:
        RuntimeError: the process failed; with the end of what it said.
    """
    _remove(case.out)
    found = watch(case.command, f"{case.who} {case.what}", case.who)
    _remove(case.out)
    return found


def watch(command: Sequence[str], name: str, who: str = "cuvee") -> Run:
    """Run a command once.

    Raises:
        RuntimeError: the process failed; with the end of what it said.
    """
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment(who))
        watcher = _Watcher(process.pid)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()  # an interrupted benchmark leaves nothing running
            raise
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = watcher.stop()
        if process.returncode != 0:
            said.seek(0)
            raise RuntimeError(f"{name} failed:\n{said.read().decode(errors='replace')[-3000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, peak)


def environment(who: str) -> dict[str, str]:
    """No look-ups on the network, each tool's own choice of threads, and the Cuvee that this script has imported."""
    kept = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONPATH")}
    own = {"PYTHONPATH": str(Path(cuvee.__file__).parents[1])} if who == "cuvee" else {}
    return kept | own | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def _remove(out: Path) -> None:
    if out.exists():
        shutil.rmtree(out)


class _Watcher:
    """Samples a process's anonymous memory until told to stop; files that it maps do not count."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/status")
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE):
            try:
                found = re.search(r"^RssAnon:\s+(\d+) kB", self._path.read_text(), re.M)
            except OSError:
                return
            self._peak = max(self._peak, int(found[1]) * 1024 if found else 0)

    def stop(self) -> int:
        """The peak in bytes."""
        self._over.set()
        self._thread.join()
        return self._peak
