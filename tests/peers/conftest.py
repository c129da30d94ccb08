"""mergekit for the tests of this folder, and the models both sides merge."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.peers.models import Family, make_family
from tests.peers.rival import Rival


@pytest.fixture(scope="session")
def rival(tmp_path_factory: pytest.TempPathFactory) -> Rival:
    """mergekit 0.1.5, or the reason why there is none."""
    python = os.environ.get("PEER_PYTHON")
    if not python:
        pytest.skip("PEER_PYTHON is not set: it names an interpreter that has mergekit 0.1.5 (`make peers` makes one)")
    if not Path(python).exists():
        pytest.fail(f"PEER_PYTHON names {python}, which does not exist")
    return Rival(Path(python), tmp_path_factory.mktemp("mergekit"))


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> list[Family]:
    """A base and three fine-tunes, drawn from several seeds."""
    root = tmp_path_factory.mktemp("models")
    return [make_family(root / str(seed), seed) for seed in (11, 12, 13)]
