"""Verdicts, gates, the cache, the merges' arithmetic and the page of the claims."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.claims import cache, digits, merging, page
from benchmarks.claims.measuring import wanted
from benchmarks.claims.tracks import TRACKS
from benchmarks.claims.verdicts import Claim, Estimate, failed, gate, judged, mean_and_error, must_pass, verdict_of


@pytest.mark.parametrize(
    ("mean", "error", "margin", "verdict"),
    [
        (0.2, 0.01, 0.1, "held"),
        (0.09, 0.01, 0.1, "not held"),  # short of the margin
        (0.2, 0.11, 0.1, "not held"),  # within the noise
        (-0.01, 0.5, -0.02, "held"),  # a claim of no loss asks nothing of the noise
        (-0.03, 0.0, -0.02, "not held"),
    ],
)
def test_a_claim_is_held_from_its_margin_on(mean: float, error: float, margin: float, verdict: str) -> None:
    assert verdict_of(mean, error, margin) == verdict


def test_the_error_is_that_of_seeds_or_of_rows_whichever_is_larger() -> None:
    assert mean_and_error([Estimate(1.0), Estimate(3.0)]) == (2.0, pytest.approx(1.0))
    assert mean_and_error([Estimate(2.0, 3.0), Estimate(2.0, 4.0)]) == (2.0, pytest.approx(2.5))
    assert mean_and_error([Estimate(2.0, 0.5)]) == (2.0, 0.5)


def figure(outcome: dict) -> Estimate:
    must_pass(outcome)
    return Estimate(outcome["lead"])


CLAIM = Claim("lead", "one is ahead", "somebody", 0.1, figure)
GOOD = {"gates": [gate("base", 0.5, 0.3)], "lead": 0.3}
BAD = {"gates": [gate("base", 0.2, 0.3), gate("expert", 1.0, 0.9)], "lead": -9.0}


def test_a_seed_that_fails_a_gate_is_left_out_and_named() -> None:
    found = judged(CLAIM, {"0": GOOD, "1": BAD})
    assert (found.verdict, found.mean, found.seeds) == ("held", 0.3, ("0",))
    assert found.untested == {"1": "a gate failed"}


def test_nothing_is_judged_where_every_seed_fails() -> None:
    found = judged(CLAIM, {"1": BAD})
    assert (found.verdict, found.mean) == ("not tested", None)


def test_a_failed_gate_is_told_with_its_figures() -> None:
    assert failed(BAD["gates"]) == "base 0.200 < 0.3"
    assert failed(GOOD["gates"]) == ""


def test_the_page_shows_a_failed_gate_and_judges_nothing_of_that_seed(tmp_path: Path) -> None:
    widths = {str(w): {"shared parents": 0.5, "different parents": 0.5} for w in (32, 128)}
    outcome = {"gates": [gate("parents at width 32", 0.5, 0.8)], "widths": widths, "test_rows": 500}
    written = page.page({"digits": {"0": {"quick": False, "outcome": outcome}}})
    assert "**Gates that failed**: seed 0: parents at width 32 0.500 < 0.8." in written
    assert "**held**" not in written
    assert written.count("**not tested**") == sum(len(track.claims()) for track in TRACKS.values())


def test_units_are_chosen_by_tier_and_the_longest_first() -> None:
    assert wanted([0], None) == [("digits", seed) for seed in range(5)]
    assert wanted([0, 1], [7]) == [("glyphs", 7), ("soups", 7), ("digits", 7)]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUVEE_CLAIMS_CACHE", str(tmp_path))
    return tmp_path


def test_what_was_made_is_not_made_again(room: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "model").write_text("made")

    def never(folder: Path) -> None:
        raise AssertionError("made twice")

    first = cache.cached("kind", {"seed": 1, "size": "S"}, make)
    assert cache.cached("kind", {"size": "S", "seed": 1}, never) == first
    assert cache.cached("kind", {"size": "S", "seed": 2}, make) != first
    assert json.loads((first / cache.SETTINGS).read_text("utf-8")) == {"seed": 1, "size": "S"}


def test_a_run_that_dies_leaves_nothing(room: Path) -> None:
    def dies(folder: Path) -> None:
        (folder / "half").write_text("made")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.cached("kind", {"seed": 1}, dies)
    assert list(room.iterdir()) == []


def test_two_that_make_the_same_at_once_do_no_harm(room: Path) -> None:
    def make(folder: Path) -> None:
        if folder.parent == room and not (room / "raced").exists():
            (room / "raced").mkdir()
            cache.cached("kind", {"seed": 1}, make)
        (folder / "model").write_text("made")

    found = cache.cached("kind", {"seed": 1}, make)
    assert (found / "model").read_text() == "made"
    assert sorted(path.name for path in room.iterdir()) == [found.name, "raced"]


def flat(state: dict[str, torch.Tensor]) -> np.ndarray:
    return np.concatenate([state[name].double().numpy().ravel() for name in sorted(state)])


@pytest.fixture(scope="module")
def models() -> SimpleNamespace:
    draw = torch.Generator().manual_seed(0)

    def one(size: float) -> dict[str, torch.Tensor]:
        return {"a": size * torch.randn(7, 5, generator=draw), "b": 3 * size * torch.randn(11, generator=draw)}

    base = one(1.0)
    return SimpleNamespace(base=base, experts={str(i): {k: base[k] + v for k, v in one(0.1).items()} for i in range(4)})


def test_ties_trims_one_vector_per_model(models: SimpleNamespace) -> None:
    """The page's arithmetic, on one flat vector per model, in plain NumPy."""
    start = flat(models.base)
    deltas = np.stack([flat(state) for state in models.experts.values()]) - start
    kept = np.zeros_like(deltas)
    for row, delta in zip(kept, deltas):
        count = max(1, math.floor(0.2 * delta.size))
        stays = np.abs(delta) >= np.sort(np.abs(delta))[-count]
        row[stays] = delta[stays]
    sign = np.where(kept.sum(0) >= 0, 1, -1)
    agrees = (np.sign(kept) == sign) & (kept != 0)
    expected = start + (kept * agrees).sum(0) / np.maximum(1, agrees.sum(0))
    found = flat(merging.TIES_DEFAULT.merged(models.base, models.experts))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_dare_ties_averages_what_agrees(models: SimpleNamespace) -> None:
    """With nothing dropped: the disjoint mean itself, not the sum."""
    start = flat(models.base)
    deltas = np.stack([flat(state) for state in models.experts.values()]) - start
    agrees = np.sign(deltas) == np.where(deltas.sum(0) >= 0, 1, -1)
    expected = start + 0.7 * (deltas * agrees).sum(0) / np.maximum(1, agrees.sum(0))
    found = flat(merging.dare(0.0, 0.7).merged(models.base, models.experts))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_averaging_is_task_arithmetic_over_the_number_of_models(models: SimpleNamespace) -> None:
    average = flat(merging.AVERAGING.merged(models.base, models.experts))
    np.testing.assert_allclose(flat(merging.arithmetic(0.25).merged(models.base, models.experts)), average, atol=1e-6)


def test_matching_finds_a_copy_with_its_units_exchanged() -> None:
    torch.manual_seed(0)
    ours = {name: value.detach() for name, value in digits.perceptron(16).state_dict().items()}
    first, second = torch.randperm(16), torch.randperm(16)
    theirs = {
        "0.weight": ours["0.weight"][first],
        "0.bias": ours["0.bias"][first],
        "2.weight": ours["2.weight"][second][:, first],
        "2.bias": ours["2.bias"][second],
        "4.weight": ours["4.weight"][:, second],
        "4.bias": ours["4.bias"],
    }
    found = digits.matched(ours, theirs)
    assert all(torch.equal(found[name], ours[name]) for name in ours)


def test_matching_changes_no_answer() -> None:
    torch.manual_seed(1)
    ours, theirs = ({k: v.detach() for k, v in digits.perceptron(8).state_dict().items()} for _ in range(2))
    asked = torch.rand(20, 64)
    before, after = digits.perceptron(8), digits.perceptron(8)
    before.load_state_dict(theirs)
    after.load_state_dict(digits.matched(ours, theirs))
    torch.testing.assert_close(before(asked), after(asked))
