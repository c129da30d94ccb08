"""The recipes of `tests/conformance/examples`, through both tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from torch import Tensor

from cuvee import methods
from tests.peers.rival import Job, Outcome, Rival, ours
from tests.peers.sides import off
from tests.support.examples import NAMES, content, content_with_paths, make_room

pytestmark = pytest.mark.peers

HERE = [name for name in NAMES if content(name)["merge_method"] in methods.names()]
EXACT = {"fusion": "float64"}
"""The dtype to compare in, where float32 cannot tell apart what the method compares."""
CLOSE = {"gradient-ties": 1e-2, "two-model-ties": 1e-2}
"""Relative error of a whole model of 16 bits; TIES cuts through entries that 16 bits make equal."""
Answers = Mapping[str, Outcome]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("examples"))


def exact(name: str, room: Path) -> Job:
    return Job(f"{name}-exact", {**content_with_paths(name, room), "dtype": EXACT.get(name, "float32")})


def as_it_stands(name: str, room: Path) -> Job:
    return Job(name, content_with_paths(name, room))


@pytest.fixture(scope="module")
def theirs(rival: Rival, room: Path) -> Answers:
    return rival.merge([job(name, room) for name in HERE for job in (exact, as_it_stands)])


def apart(one: Outcome, other: Outcome) -> dict[str, Tensor]:
    """The differences in every tensor."""
    a, b = one.tensors, other.tensors
    assert {k: (t.dtype, t.shape) for k, t in a.items()} == {k: (t.dtype, t.shape) for k, t in b.items()}
    return {k: (a[k].double() - b[k].double()).abs() for k in a}


def told(outcome: Outcome) -> dict[str, object]:
    """The configuration, but for the version of the library that wrote it: mergekit writes it anew with its own."""
    return {k: v for k, v in outcome.config.items() if k != "transformers_version"}


@pytest.mark.parametrize("name", HERE)
def test_both_compute_the_same(name: str, room: Path, theirs: Answers, tmp_path: Path) -> None:
    job = exact(name, room)
    mine = ours(job, tmp_path)
    tolerance = 5e-6 if name == "gradient-slerp" else 1e-6
    assert max(d.max().item() for d in apart(mine, theirs[job.name]).values()) <= tolerance
    assert told(mine) == told(theirs[job.name])


@pytest.mark.parametrize("name", [name for name in HERE if name != "fusion"])
def test_both_write_nearly_the_same(name: str, room: Path, theirs: Answers, tmp_path: Path) -> None:
    """As the recipe stands; mergekit rounds inputs, deltas and sums to 16 bits."""
    mine = ours(as_it_stands(name, room), tmp_path)
    assert apart(mine, theirs[name])
    assert off(theirs[name].tensors, mine.tensors) < CLOSE.get(name, 1e-3)
