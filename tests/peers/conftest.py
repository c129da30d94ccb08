"""mergekit for the tests of this folder, and the models both sides merge."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.peers.models import Family, make_family
from tests.peers.rival import Rival

WANTED = "0.1.5"
"""What the page speaks of; another version may behave otherwise."""


def version_beside(python: str) -> str | None:
    """mergekit's version in another interpreter's environment."""
    code = "from importlib.metadata import version; print(version('mergekit'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


@pytest.fixture(scope="session")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Rival:
    """mergekit 0.1.5; skips where none is named."""
    python = os.environ.get("PEER_PYTHON")
    if not python:
        pytest.skip(
            f"PEER_PYTHON is not set; it names an interpreter that has mergekit {WANTED} (`make peers` makes one)"
        )
    if not Path(python).exists():
        pytest.fail(f"PEER_PYTHON names {python}, which does not exist")
    found = version_beside(python)
    if found != WANTED:
        pytest.fail(f"PEER_PYTHON names {python}, which should have mergekit {WANTED} and has {found or 'none'}")
    return Rival(Path(python), tmp_path_factory.mktemp("mergekit"))


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> list[Family]:
    """A base and three fine-tunes, drawn from several seeds."""
    root = tmp_path_factory.mktemp("models")
    return [make_family(root / str(seed), seed) for seed in (11, 12, 13)]
