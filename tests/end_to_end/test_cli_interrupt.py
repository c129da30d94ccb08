"""Ctrl-C, a request to end or a lost terminal while a merge is running: exit code 130, and the disk as before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.checkpoints import write_model
from tests.support.command_line import command, environment, write_recipe
from tests.support.lanes import rarely

TIES = """\
merge_method: ties
base_model: a
models:
- model: b
  parameters: {weight: 1, density: 0.5}
- model: c
  parameters: {weight: 1, density: 0.5}
"""


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models of 32 MB, which take many seconds to merge 1024 elements at a time."""
    folder = tmp_path_factory.mktemp("slow")
    for seed, name in enumerate("abc"):
        generator = torch.Generator().manual_seed(seed)
        write_model(folder / name, {f"layers.{i}.w": torch.randn(1 << 22, generator=generator) for i in range(2)})
    write_recipe(folder, TIES)
    return folder


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


MERGE = ("merge", "recipe.yml", "-o", "out", "--threads", "1", "--tile", "1024")


def start(slow: Path, *more: str, before: Callable[[], object] | None = None) -> subprocess.Popen[str]:
    """A merge that has begun to write."""
    process = subprocess.Popen(
        command(*MERGE, *more),
        cwd=slow,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )
    wait_for(slow / ".out.cuvee-partial", process)
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("more", [(), *rarely(("--json",), ("--plain",))], ids=["threads", "json", "plain"])
def test_an_interrupted_merge_leaves_nothing_behind(slow: Path, more: tuple[str, ...]) -> None:
    before = sorted(slow.rglob("*"))
    process = start(slow, *more)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    if "--json" in more:
        assert '"code": "interrupted"' in out
    else:
        assert (out, err) == ("", "interrupted; nothing was written\n")
    assert sorted(slow.rglob("*")) == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["SIGTERM", *rarely("SIGHUP")])
def test_a_request_to_end_is_an_interrupt(slow: Path, name: str) -> None:
    before = sorted(slow.rglob("*"))
    process = start(slow, before=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL))
    for _ in range(3):  # the second and third come while things are cleared away
        process.send_signal(getattr(signal, name))
    assert process.communicate(timeout=120) == ("", "interrupted; nothing was written\n")
    assert process.returncode == 130
    assert sorted(slow.rglob("*")) == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.slow
def test_under_nohup_a_lost_terminal_changes_nothing(slow: Path) -> None:
    process = start(slow, before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.terminate()
    assert process.communicate(timeout=120)[1] == "interrupted; nothing was written\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals to lose")
def test_a_merge_whose_terminal_goes_away_leaves_nothing_behind(slow: Path) -> None:
    """Its bar has nowhere to be drawn any more, which must not come between the interrupt and its exit code."""
    import pty

    before = sorted(slow.rglob("*"))
    ours, theirs = pty.openpty()
    words = [sys.executable, "-c", ON_A_TERMINAL, os.ttyname(theirs), *MERGE]
    process = subprocess.Popen(
        words, cwd=slow, env=environment(TERM="xterm-256color"), start_new_session=True, text=True
    )
    wait_for(slow / ".out.cuvee-partial", process)
    assert b"merging" in os.read(ours, 65536)
    for end in (theirs, ours):
        os.close(end)
    assert process.wait(120) == 130
    assert sorted(slow.rglob("*")) == before


ON_A_TERMINAL = """
import os, signal, sys
from cuvee.cli import main
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # even if the tests run under nohup
terminal = os.open(sys.argv[1], os.O_RDWR)  # the first that a session opens is the one that it ends with
for number in range(3):
    os.dup2(terminal, number)
sys.exit(main(sys.argv[2:]))
"""
