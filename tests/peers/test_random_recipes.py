"""Random recipes through both tools: equal tensors and configurations, or a difference that the page explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import pytest

from tests.peers import page
from tests.peers.forms import METHODS, random_recipe
from tests.peers.models import Family
from tests.peers.new_twists import WAITING
from tests.peers.rival import Job, Outcome, Rival, Tensors, ours
from tests.peers.twists import TWISTS

pytestmark = pytest.mark.peers

PER_METHOD = 32
PER_TWIST = 4
LOOSER = dict.fromkeys(("slerp", "nuslerp", "multislerp", "karcher"), 5e-6)
"""Tolerance by method, where it is not 1e-6; as for the golden files."""


def tolerance(job: Job) -> float:
    return LOOSER.get(job.recipe["merge_method"], 1e-6)


def plain_jobs(families: Sequence[Family], method: str) -> list[Job]:
    """The jobs of a method, which do not depend on what other methods there are."""
    return [
        Job(f"{method}-{i}", random_recipe(method, Random(f"{method} {i}"), families[i % len(families)]), seed=i)
        for i in range(PER_METHOD)
    ]


def twisted_jobs(families: Sequence[Family]) -> dict[str, list[Job]]:
    """The jobs of every id."""
    return {
        key: [
            Job(f"{key}-{i}", twist(Random(f"{key} {i}"), families[i % len(families)]), seed=i)
            for i in range(PER_TWIST)
        ]
        for key, twist in TWISTS.items()
        if key not in WAITING
    }


@pytest.fixture(scope="module")
def jobs(families: list[Family]) -> Mapping[str, Job]:
    plain = [plain_jobs(families, method) for method in METHODS]
    return {job.name: job for some in [*plain, *twisted_jobs(families).values()] for job in some}


@pytest.fixture(scope="module")
def theirs(rival: Rival, jobs: Mapping[str, Job]) -> Mapping[str, Outcome]:
    """mergekit's answer to every job; one process, since its imports take longer than the merges."""
    return rival.merge(list(jobs.values()))


def distance(a: Tensors, b: Tensors) -> dict[str, float]:
    """The largest difference in every tensor."""
    assert a.keys() == b.keys(), f"tensors of only one side: {sorted(a.keys() ^ b.keys())}"
    assert {k: (t.dtype, t.shape) for k, t in a.items()} == {k: (t.dtype, t.shape) for k, t in b.items()}
    return {k: (a[k].double() - b[k].double()).abs().max().item() for k in a}


def assert_alike(job: Job, one: Outcome, other: Outcome) -> None:
    """Both wrote the same tensors, within the tolerance, and the same configuration."""
    assert (one.error, other.error) == (None, None), job.recipe
    apart = {k: d for k, d in distance(one.tensors, other.tensors).items() if not d <= tolerance(job)}
    assert not apart, f"{job.recipe}\ndiffers in {apart}"
    assert one.config == other.config


@pytest.mark.parametrize("method", METHODS)
def test_the_same_recipe_gives_the_same_model(
    method: str, families: list[Family], theirs: Mapping[str, Outcome], tmp_path: Path
) -> None:
    for job in plain_jobs(families, method):
        assert_alike(job, ours(job, tmp_path), theirs[job.name])


@pytest.mark.parametrize("key", TWISTS)
def test_every_disagreement_is_one_the_page_explains(
    key: str, families: list[Family], theirs: Mapping[str, Outcome], tmp_path: Path
) -> None:
    if key in WAITING:
        pytest.skip("its method does not exist yet")
    row = page.rows().get(key)
    for job in twisted_jobs(families)[key]:
        mine, their = ours(job, tmp_path), theirs[job.name]
        told = f"{job.recipe}\nmergekit: {their.error or 'writes'}\nCuvee: {mine.error or 'writes'}\nthe page: {row}"
        assert page.explains(row, their.error, mine.error), told


def test_the_comparison_notices_2e_6(families: list[Family], theirs: Mapping[str, Outcome], tmp_path: Path) -> None:
    job = plain_jobs(families, "linear")[0]
    mine = ours(job, tmp_path)
    assert_alike(job, mine, theirs[job.name])
    wrong = {k: t.clone() for k, t in mine.tensors.items()}
    wrong["lm_head.weight"][0, 0] += 2e-6
    assert max(distance(wrong, theirs[job.name].tensors).values()) > tolerance(job)


def test_a_difference_without_a_row_is_not_explained() -> None:
    row = page.rows()["density-outside"]
    assert page.explains(row, None, "out-of-range: density …")
    assert not page.explains(None, None, "out-of-range: density …")
    assert not page.explains(row, None, None)
    assert not page.explains(row, "ValueError: …", "out-of-range: density …")
    assert not page.explains(row, None, "unknown-key: …")
