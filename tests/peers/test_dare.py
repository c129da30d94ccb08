"""DARE in both tools: other random numbers, the same distribution — and the rescaling in which they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.peers.jobs import deltas_of
from tests.peers.models import Family
from tests.peers.rival import Job, Outcome, Rival, Tensors, ours
from tests.peers.shown import shows

pytestmark = pytest.mark.peers

DENSITY, SEEDS = 0.3, 12
FAR = 5.0
"""Standard errors that two means may be apart; the draws are seeded, so a test that passes always passes."""


def of_one(family: Family, method: str, seed: int, **parameters: object) -> Job:
    """One fine-tune at weight 1, thinned."""
    models = {family.tunes[0]: {"weight": 1, "density": DENSITY}}
    recipe = deltas_of(method, family.base, models, dtype="float32", parameters=parameters)
    return Job(f"{method}-one-{seed}-{len(parameters)}", recipe, seed)


def of_two(family: Family, method: str, seed: int) -> Job:
    """Two fine-tunes, thinned differently."""
    models = {family.tunes[0]: {"weight": 0.7, "density": DENSITY}, family.tunes[1]: {"weight": 0.4, "density": 0.6}}
    return Job(f"{method}-two-{seed}", deltas_of(method, family.base, models, dtype="float32"), seed)


@pytest.fixture(scope="module")
def jobs(families: list[Family]) -> Mapping[str, Job]:
    family = families[0]
    every = [of_one(family, "dare_linear", seed) for seed in range(SEEDS)]
    every += [of_one(family, "dare_linear", seed, rescale=False) for seed in range(SEEDS)]
    every += [of_two(family, method, seed) for method in ("dare_linear", "dare_ties") for seed in range(SEEDS)]
    return {job.name: job for job in every}


@pytest.fixture(scope="module")
def theirs(rival: Rival, jobs: Mapping[str, Job]) -> Mapping[str, Outcome]:
    return rival.merge(list(jobs.values()))


@pytest.fixture(scope="module")
def mine(jobs: Mapping[str, Job], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Outcome]:
    root = tmp_path_factory.mktemp("ours")
    return {name: ours(job, root) for name, job in jobs.items()}


def model_at(path: str) -> Tensors:
    return load_file(Path(path) / "model.safetensors")


def merged_delta(outcome: Outcome, family: Family) -> Tensor:
    """What was added to the base, all tensors in one row."""
    base, found = model_at(family.base), outcome.tensors
    return torch.cat([(found[k].double() - base[k].double()).flatten() for k in sorted(base)])


def statistics(delta: Tensor, reference: Tensor) -> dict[str, float]:
    """What of a thinned delta does not depend on which entries stayed, in expectation."""
    return {
        "kept": (delta.abs() > 1e-7).double().mean().item(),
        "mean": delta.mean().item(),
        "along": (delta @ reference / (reference @ reference)).item(),
        "L1 norm": (delta.abs().sum() / reference.abs().sum()).item(),
    }


def gathered(prefix: str, outcomes: Mapping[str, Outcome], family: Family) -> dict[str, Tensor]:
    """Each statistic over the seeds."""
    base, tuned = model_at(family.base), model_at(family.tunes[0])
    reference = torch.cat([(tuned[k].double() - base[k].double()).flatten() for k in sorted(base)])
    rows = [
        statistics(merged_delta(outcome, family), reference)
        for name, outcome in outcomes.items()
        if name.startswith(prefix)
    ]
    assert len(rows) == SEEDS
    return {key: torch.tensor([row[key] for row in rows], dtype=torch.float64) for key in rows[0]}


def apart(one: Tensor, other: Tensor) -> float:
    """How many standard errors two means are apart; a millionth counts as nothing."""
    error = math.sqrt((one.var() + other.var()).item() / SEEDS)
    return max(0.0, abs((one.mean() - other.mean()).item()) - 1e-6) / max(error, 1e-12)


@pytest.mark.parametrize("kind", ["dare_linear-two", "dare_ties-two"])
def test_statistics_agree(
    kind: str, mine: Mapping[str, Outcome], theirs: Mapping[str, Outcome], families: list[Family]
) -> None:
    of_ours, of_theirs = gathered(kind, mine, families[0]), gathered(kind, theirs, families[0])
    for key, values in of_ours.items():
        assert values.std() > 0, f"{key} should vary over the seeds"
        assert apart(values, of_theirs[key]) < FAR, (key, values.mean(), of_theirs[key].mean())


def test_the_kept_fraction_is_the_density(
    mine: Mapping[str, Outcome], theirs: Mapping[str, Outcome], families: list[Family]
) -> None:
    for outcomes in (mine, theirs):
        of_one_model = gathered("dare_linear-one", {k: v for k, v in outcomes.items() if k.endswith("-0")}, families[0])
        kept = of_one_model["kept"]
        entries = sum(t.numel() for t in model_at(families[0].base).values())
        assert abs(kept.mean().item() - DENSITY) < FAR * math.sqrt(DENSITY * (1 - DENSITY) / entries / SEEDS)


def test_without_rescale_the_kept_entries_are_as_they_were(
    mine: Mapping[str, Outcome], theirs: Mapping[str, Outcome], families: list[Family]
) -> None:
    base, tuned = model_at(families[0].base), model_at(families[0].tunes[0])
    for outcomes in (mine, theirs):
        found = outcomes["dare_linear-one-0-1"].tensors
        for name in base:
            stayed = (found[name] - base[name]).abs() > 1e-7
            assert (found[name] - tuned[name])[stayed].abs().max().item() <= 1e-6


@shows("dare-rescale")
def test_what_is_kept_is_rescaled_differently(
    mine: Mapping[str, Outcome], theirs: Mapping[str, Outcome], families: list[Family]
) -> None:
    """Ours by 1/density; mergekit's to the tensor's old L1 norm. Alike on average, far apart on a small tensor."""
    base, tuned = model_at(families[0].base), model_at(families[0].tunes[0])
    factors = {}
    for side, outcomes in (("ours", mine), ("theirs", theirs)):
        found = outcomes["dare_linear-one-0-0"].tensors
        factors[side] = {name: _factor(found[name] - base[name], tuned[name] - base[name]) for name in base}
    small = "model.norm.weight"
    assert all(f == pytest.approx(1 / DENSITY, rel=1e-4) for f in factors["ours"].values())
    assert factors["theirs"]["lm_head.weight"] == pytest.approx(1 / DENSITY, rel=0.1)
    assert abs(factors["theirs"][small] * DENSITY - 1) > 0.02
    found = theirs["dare_linear-one-0-0"].tensors[small]
    before, after = (t.double().abs().sum().item() for t in (tuned[small] - base[small], found - base[small]))
    assert after == pytest.approx(before, rel=1e-4)


def _factor(found: Tensor, delta: Tensor) -> float:
    """What the kept entries were multiplied with."""
    large = (found.abs() > 1e-7) & (delta.abs() > 1e-3)
    return (found[large].double() / delta[large].double()).median().item()
