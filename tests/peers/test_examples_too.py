"""The recipes of `tests/conformance/examples`, through both tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from cuvee import methods
from tests.peers.rival import Job, Outcome, Rival, ours
from tests.support.examples import NAMES, content, content_with_paths, make_room

pytestmark = pytest.mark.peers

HERE = [name for name in NAMES if content(name)["merge_method"] in methods.names()]
EXACT = {"fusion": "float64"}
"""The dtype to compare in, where float32 cannot tell apart what the method compares."""
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


def apart(one: Outcome, other: Outcome) -> dict[str, tuple[float, float]]:
    """The largest and the mean difference in every tensor."""
    a, b = one.tensors, other.tensors
    assert {k: (t.dtype, t.shape) for k, t in a.items()} == {k: (t.dtype, t.shape) for k, t in b.items()}
    differences = {k: (a[k].double() - b[k].double()).abs() for k in a}
    return {k: (d.max().item(), d.mean().item()) for k, d in differences.items()}


@pytest.mark.parametrize("name", HERE)
def test_both_compute_the_same(name: str, room: Path, theirs: Answers, tmp_path: Path) -> None:
    job = exact(name, room)
    mine = ours(job, tmp_path)
    tolerance = 5e-6 if name == "gradient-slerp" else 1e-6
    assert max(largest for largest, _ in apart(mine, theirs[job.name]).values()) <= tolerance
    assert mine.config == theirs[job.name].config


@pytest.mark.parametrize("name", [name for name in HERE if name != "fusion"])
def test_both_write_nearly_the_same(name: str, room: Path, theirs: Answers, tmp_path: Path) -> None:
    """As the recipe stands; mergekit rounds inputs, deltas and sums to 16 bits, which moves a cut here and there."""
    mine = ours(as_it_stands(name, room), tmp_path)
    assert max(mean for _, mean in apart(mine, theirs[name]).values()) < 1e-4
