"""A small model where it is sure, a large one elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from cuvee.errors import InputError, UsageError
from cuvee.generate import Router, TokenEnsemble
from cuvee.generate.calibrating import isotonic, tempered
from cuvee.generate.confidence import MEASURES
from cuvee.generate.thresholds import best_within, cheapest_reaching, quantile_threshold, sweep
from tests.support.writing import PROMPTS, byte_level, causal

COSTS = (1.0, 10.0)


def small(rows: Sequence[int]) -> list[tuple[str, float]]:
    """Row i is answered rightly with confidence i / 100 where i is 40 or more."""
    return [("right" if row >= 40 else "wrong", row / 100) for row in rows]


def large(rows: Sequence[int]) -> list[str]:
    return ["right" if row % 10 else "wrong" for row in rows]


def right(_row: int, text: str) -> float:
    return float(text == "right")


def router(**given: Any) -> Router:
    return Router(small, large, confidence=lambda answer: answer[1], costs=COSTS, **given)


def test_every_threshold_is_what_routing_by_it_gives() -> None:
    rng = np.random.default_rng(0)
    c, s, b = rng.integers(0, 8, 40) / 8, rng.random(40), rng.random(40)
    points = sweep(c, s, b, COSTS)
    assert len(points) == len(set(c)) + 1
    for point in points:
        routed = c < point.threshold
        assert point.share == pytest.approx(routed.mean())
        assert point.score == pytest.approx(np.where(routed, b, s).mean())
        assert point.cost == pytest.approx(1 + 10 * routed.mean())
    assert (points[0].share, points[-1].share) == (0, 1)


def test_targets_are_kept_exactly() -> None:
    rng = np.random.default_rng(1)
    points = sweep(rng.random(60), rng.random(60), rng.random(60), COSTS)
    for target in (1.0, 3.3, 8.0, 11.0):
        assert best_within(points, target).score == max(p.score for p in points if p.cost <= target)
    for level in (points[0].score, 0.5):
        assert cheapest_reaching(points, level).cost == min(p.cost for p in points if p.score >= level)


def test_targets_that_cannot_be_kept_are_refused_and_never_relaxed() -> None:
    points = sweep([0.1, 0.9], [0, 1], [1, 1], COSTS)
    with pytest.raises(InputError, match="the small model alone, costs 1") as caught:
        best_within(points, 0.5)
    assert caught.value.code == "over-budget"
    with pytest.raises(InputError, match=r"the best is 1, with 50\.0% of rows") as caught:
        cheapest_reaching(points, 1.1)
    assert caught.value.code == "over-budget"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.99, 1.0])
def test_a_quantile_routes_at_most_its_share(share: float) -> None:
    c = np.random.default_rng(2).integers(0, 20, 50) / 20
    threshold = quantile_threshold(c, share)
    assert (c < threshold).mean() <= share
    assert (c <= threshold).mean() > share or math.isinf(threshold)


def test_a_fitted_router_routes_the_unsure() -> None:
    rows = list(range(100))
    fitted = router().fit(rows, right, target_score=0.96)
    assert fitted.threshold == pytest.approx(0.40)
    assert fitted.point is not None
    assert fitted.point.share == pytest.approx(0.4)
    assert fitted.point.score == pytest.approx(0.96)  # 40 routed, of which 4 are wrong
    found = fitted.answer(rows)
    assert found.share == pytest.approx(0.4)
    assert sum(right(row, text) for row, text in zip(rows, found.texts, strict=True)) == 96
    assert found.cost == pytest.approx(100 * fitted.point.cost)
    assert found.routed == tuple(row < 40 for row in rows)


def test_within_a_cost_the_score_is_the_highest() -> None:
    fitted = router().fit(list(range(100)), right, target_cost=3.0)
    assert fitted.point is not None
    assert (fitted.point.cost <= 3.0, fitted.point.share) == (True, pytest.approx(0.2))
    everything = router().fit(list(range(100)), right, target_cost=11.0)
    assert everything.point is not None
    assert everything.point.share == pytest.approx(0.4)  # more would cost and lose


def test_the_estimate_is_of_rows_that_were_not_fitted_on() -> None:
    """Confidences that say nothing: fitted, a threshold looks better than it is."""
    rng = np.random.default_rng(3)
    c, s, b = rng.random(60), rng.integers(0, 2, 60), rng.integers(0, 2, 60)
    blind = Router(
        lambda rows: [(str(s[row]), c[row]) for row in rows],
        lambda rows: [str(b[row]) for row in rows],
        confidence=lambda answer: answer[1],
    ).fit(list(range(60)), lambda _row, text: float(text), target_cost=20.0)
    assert blind.point is not None
    assert blind.estimate is not None
    assert blind.estimate.score < blind.point.score
    assert blind.estimate.low < blind.estimate.score < blind.estimate.high
    half = 1.96 * math.sqrt(blind.estimate.score * (1 - blind.estimate.score) / 59)
    assert blind.estimate.high - blind.estimate.score == pytest.approx(half)
    assert blind.estimate.rows == 60


def test_a_share_needs_no_labels() -> None:
    found = router().for_share(list(range(100)), 0.3).answer(list(range(100)))
    assert found.share == pytest.approx(0.3)


def test_the_large_model_is_asked_about_routed_rows_alone() -> None:
    asked: list[int] = []

    def careful(rows: Sequence[int]) -> list[str]:
        asked.extend(rows)
        return large(rows)

    both = Router(small, careful, confidence=lambda answer: answer[1]).at(0.5)
    both.answer([10, 90, 49])
    assert asked == [10, 49]
    both.answer([90])
    assert asked == [10, 49]


def test_language_models_are_routed_by_how_sure_they_are() -> None:
    pair = (causal("llama", len(byte_level())), byte_level())
    one, two = TokenEnsemble([pair]), TokenEnsemble([(causal("gpt2", len(byte_level())), byte_level())])
    found = one.generate(PROMPTS, max_new_tokens=4)
    sure = {name: [measure(answer) for answer in found] for name, measure in MEASURES.items()}
    assert sure["mean"] == pytest.approx([math.prod(map(math.exp, answer.logs)) ** 0.25 for answer in found])
    assert sure["min"] == pytest.approx([min(map(math.exp, answer.logs)) for answer in found])
    assert all(0 < value <= 1 for values in sure.values() for value in values)
    for name in MEASURES:
        middle = sorted(sure[name])[2]
        both = Router(one, two, confidence=name, how={"max_new_tokens": 4}).at(middle)  # type: ignore[arg-type]
        answered = both.answer(PROMPTS)
        assert sum(answered.routed) == 2
        strong = two.generate(PROMPTS, max_new_tokens=4).texts
        expected = [b if routed else a for a, b, routed in zip(found.texts, strong, answered.routed, strict=True)]
        assert list(answered.texts) == expected


def test_isotonic_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    for n in (1, 5, 80):
        x, y = rng.integers(0, 30, n) / 30, rng.random(n)
        theirs = IsotonicRegression(out_of_bounds="clip").fit(x, y)
        at = np.linspace(-0.2, 1.2, 57)
        assert np.allclose(isotonic(x, y)(at), theirs.predict(at))


def test_a_temperature_is_the_likeliest() -> None:
    rng = np.random.default_rng(5)
    true = rng.normal(0, 1.5, 4000)
    y = rng.random(4000) < 1 / (1 + np.exp(-true))
    too_sure = 1 / (1 + np.exp(-2.5 * true))
    found = tempered(too_sure, y.astype(float))
    assert found.temperature == pytest.approx(2.5, rel=0.1)
    assert np.allclose(found(too_sure), 1 / (1 + np.exp(-2.5 * true / found.temperature)))

    def loss(t: float) -> float:
        p = 1 / (1 + np.exp(-2.5 * true / t))
        return float(-np.where(y, np.log(p), np.log1p(-p)).mean())

    assert loss(found.temperature) <= min(loss(found.temperature * s) for s in (0.999, 1.001))


def test_a_fitted_router_knows_how_often_its_answers_are_right() -> None:
    fitted = router().fit(list(range(100)), right, target_score=0.9)
    assert fitted.calibration is not None
    assert fitted.calibration([0.1, 0.9]).tolist() == [0.0, 1.0]
    assert router().fit(list(range(100)), right, target_score=0.9, calibrate=None).calibration is None
    warm = router().fit(list(range(100)), right, target_score=0.9, calibrate="temperature")
    assert warm.calibration is not None
    assert warm.calibration([0.5]).tolist() == [0.5]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"target_score": 0.5, "rows": range(9)}, "too-few-rows"),
        ({"target_score": 2.0}, "over-budget"),
        ({"target_cost": 0.1}, "over-budget"),
        ({"target_cost": 5.0, "score": lambda _row, _text: math.nan}, "bad-output"),
        ({"target_cost": 5.0, "score": lambda _row, _text: 1 / 0}, "member-failed"),
        ({"target_cost": 5.0, "small": lambda rows: small(rows)[1:]}, "bad-output"),
        ({"target_cost": 5.0, "large": lambda rows: [][0]}, "member-failed"),
        ({"target_cost": 5.0, "small": lambda rows: [("x", math.nan) for _ in rows]}, "bad-output"),
    ],
)
def test_what_cannot_be_fitted_is_refused(given: dict[str, Any], code: str) -> None:
    rows, score = list(given.pop("rows", range(20))), given.pop("score", right)
    both = Router(given.pop("small", small), given.pop("large", large), confidence=lambda answer: answer[1])
    with pytest.raises(InputError) as caught:
        both.fit(rows, score, **given)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "given",
    [{}, {"target_cost": 1, "target_score": 1}, {"target_cost": math.nan}, {"target_cost": 2, "calibrate": "platt"}],
)
def test_calls_of_fit_are_checked(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        router().fit(list(range(20)), right, **given)


def test_routers_are_checked() -> None:
    with pytest.raises(UsageError) as caught:
        Router(small, large, confidence="max", costs=(1, -1))  # type: ignore[arg-type]
    assert len(caught.value.faults) == 2
    with pytest.raises(UsageError, match="no threshold yet"):
        router().answer([1])
    with pytest.raises(UsageError, match="needs the answers of a TokenEnsemble"):
        Router(small, large).at(0.5).answer([1])
    with pytest.raises(UsageError, match="`share`"):
        router().for_share([1], 2)


def test_a_threshold_is_a_number() -> None:
    """No confidence is below NaN: nothing would be routed, without a word."""
    with pytest.raises(UsageError, match="`threshold`"):
        router().at(math.nan)
    with pytest.raises(InputError, match="needs rows") as caught:
        router().for_share([], 0.5)
    assert caught.value.code == "too-few-rows"


def test_scores_that_are_no_shares_are_not_made_into_probabilities() -> None:
    rows = list(range(100))
    with pytest.raises(UsageError, match=r"from 0 to 1 .* found 0 to 100"):
        router().fit(rows, lambda row, text: 100 * right(row, text), target_cost=5)
    assert router().fit(rows, lambda row, text: 100 * right(row, text), target_cost=5, calibrate=None).points


def test_what_an_ensemble_refuses_is_said_by_it() -> None:
    it = TokenEnsemble([(causal("llama", len(byte_level())), byte_level())])
    with pytest.raises(UsageError, match="`prompts` must be a list"):
        Router(it, it).at(0.5).answer([])
