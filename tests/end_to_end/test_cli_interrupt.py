"""Ctrl-C while a merge is running: exit code 130, and the disk as before."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.support.checkpoints import write_model
from tests.support.command_line import command, environment, write_recipe

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


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("more", [(), ("--json",), ("--plain",)], ids=["threads", "json", "plain"])
def test_an_interrupted_merge_leaves_nothing_behind(slow: Path, more: tuple[str, ...]) -> None:
    before = sorted(slow.rglob("*"))
    words = command("merge", "recipe.yml", "-o", "out", "--threads", "1", "--tile", "1024", *more)
    process = subprocess.Popen(
        words, cwd=slow, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(slow / ".out.cuvee-partial", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    if "--json" in more:
        assert '"code": "interrupted"' in out
    else:
        assert (out, err) == ("", "interrupted; nothing was written\n")
    assert sorted(slow.rglob("*")) == before
