"""Merges of larger models, killed at twenty random moments: the table of docs/reliability.md (`make soak`)."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cuvee
from tests.support.forks import ROOT, Forks, forks
from tests.support.interrupted import lines, merge_on
from tests.support.merging import hidden
from tests.support.yard import Yard

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")]
KILLS = 20
SIZE = os.environ.get("SOAK_SIZE", "0.1")
SEED = os.environ.get("SOAK_SEED", "1")
"""Models in billions of parameters, and the seed of the random moments."""


@pytest.fixture(scope="module")
def forked() -> Iterator[Forks]:
    with forks("tests.support.interrupted") as made:
        yield made


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("soak")
    yield benchmark("models").build(SIZE, root)
    shutil.rmtree(root)


def benchmark(name: str) -> ModuleType:
    """A module of the benchmarks, which are scripts beside each other."""
    spec = importlib.util.spec_from_file_location(f"soak_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def wait_until(moment: float, out: Path) -> None:
    while time.monotonic() < moment and not out.exists():
        time.sleep(0.001)


@pytest.mark.parametrize("method", ["ties", "dare_ties"])
def test_twenty_kills(models: Path, forked: Forks, tmp_path: Path, method: str) -> None:
    asked = Yard(tmp_path).file(benchmark("cases").recipe(method, models))
    out, draw = tmp_path / "out", random.Random(f"{SEED} {method}")
    begun = time.monotonic()
    assert forked.run(merge_on, asked, tmp_path / "whole", {}) == 0
    seconds = time.monotonic() - begun
    expected = sums(tmp_path / "whole")
    kills = rounds = taken = most = 0
    while kills < KILLS or not out.exists():
        if out.exists():
            assert sums(out) == expected
            shutil.rmtree(out)
            rounds += 1
        before = max(0, lines(out) - 1)
        options: dict[str, Any] = {"threads": draw.choice([1, 2, 3, 4]), "tile": draw.choice([None, 1 << 16, 1 << 19])}
        number = forked.start(merge_on, asked, out, options)
        if kills < KILLS:
            wait_until(time.monotonic() + draw.random() * seconds / 2, out)
            os.kill(number, signal.SIGKILL)
        ended = forked.wait(number)
        assert ended in (0, -signal.SIGKILL)
        kills += ended == -signal.SIGKILL
        taken, most = taken + before, max(most, before)
    assert forked.run(merge_on, asked, out, {}) == 0  # clears away what a kill just after publishing left
    assert sums(out) == expected
    assert hidden(tmp_path) == []
    assert cuvee.verify(out).ok
    assert taken > 0
    line = f"{method:10} {SIZE} B: {kills} kills, {rounds + 1} outputs, each byte for byte that of a run of "
    sys.stderr.write(f"{line}{seconds:.1f} s; {taken} ranges taken over, {most} at most at once\n")
