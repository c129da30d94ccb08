"""A save that is killed at any durable call leaves the old ensemble, the new one, or none: never half of one."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from cuvee.predict import Ensemble
from tests.support.ensembles import of, small


def killed_at(number: int, path: Path, *, overwrite: bool) -> bool:
    """Save in a child that is killed before the n-th call that makes something durable; whether it was."""
    child = os.fork()
    if child == 0:
        calls = 0
        sync = os.fsync

        def counted(descriptor: int) -> None:
            nonlocal calls
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            sync(descriptor)

        os.fsync = counted
        try:
            of(*small().members[:1]).save(path, overwrite=overwrite)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_save_that_is_killed_leaves_no_half_ensemble(tmp_path: Path, overwrite: bool, step: int) -> None:
    path, seen = tmp_path / "e", set()
    small().save(tmp_path / "first")  # imports what children would import each time
    shutil.rmtree(tmp_path / "first")
    for number in range(1, 100, step):
        if overwrite:
            small().save(path, overwrite=True)
        was_killed = killed_at(number, path, overwrite=overwrite)
        there = path.exists()
        seen.add((was_killed, there and len(Ensemble.load(path).members)))  # loading checks every hash
        if not was_killed:
            break
        if there and not overwrite:
            small().save(path, overwrite=True)
            break
    expected = {(True, 2), (True, 1), (False, 1)} if overwrite else {(True, False), (True, 1), (False, 1)}
    assert seen <= expected
    assert len(seen) > 1
    small().save(path, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["e"]  # what killed ones left is cleared away
    assert len(Ensemble.load(path).members) == 2
