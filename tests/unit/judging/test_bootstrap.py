"""The paired bootstrap: laws that hold exactly, values worked by hand, intervals that cover, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cuvee.errors import InputError, UsageError
from cuvee.judging.answers import Answers
from cuvee.judging.bootstrap import Difference, Draws, aligned, combined, fewest_differing, interval_of, paired
from cuvee.judging.metrics import metrics_for
from tests.support.answering import KINDS, classified, drawn, matches, regressed

QUICK = Draws(draws=200)
EVERY = [(kind, name) for kind in KINDS for name in metrics_for(kind)]


@pytest.mark.parametrize(("kind", "metric"), EVERY)
def test_identical_models_differ_by_exactly_nothing(kind, metric: str) -> None:
    a, b = (drawn(kind, 150, seed=3) for _ in range(2))
    found = paired(a, b, metric, QUICK)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert (found.better, found.p_value, found.differing, found.verdict) == (0.5, 1.0, 0, "within noise")


@pytest.mark.parametrize("interval", ["percentile", "basic"])
@pytest.mark.parametrize(("kind", "metric"), EVERY)
def test_models_that_change_places_change_the_sign(kind, metric: str, interval) -> None:
    how = Draws(draws=200, interval=interval)
    a, b = drawn(kind, 60, seed=1), drawn(kind, 60, seed=2)
    there, back = paired(a, b, metric, how), paired(b, a, metric, how)
    assert back.value == -there.value
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), rel=1e-9, abs=1e-12)
    assert back.better == pytest.approx(1 - there.better)
    assert back.p_value == there.p_value


def test_a_constant_shift_is_found_without_an_error_bar() -> None:
    truth = np.arange(20.0)
    found = paired(regressed(truth, truth + 0.5), regressed(truth, truth + 0.75), "mae")
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))
    assert (found.better, found.verdict) == (1.0, "better")
    assert found.p_value == pytest.approx(2 / 2001)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_lower_is_better_where_the_metric_says_so(metric: str) -> None:
    truth = np.random.default_rng(0).normal(size=40)
    near, far = regressed(truth, truth + 0.1), regressed(truth, truth + np.linspace(1, 2, 40))
    assert paired(near, far, metric).value > 0
    assert paired(near, far, metric).verdict == "better"
    assert paired(far, near, metric).verdict == "worse"


def test_a_single_row_proves_nothing() -> None:
    found = paired(matches([1]), matches([0]), "correct")
    assert (found.value, found.differing, found.verdict) == (1.0, 1, "within noise")
    assert math.isnan(found.low)
    assert math.isnan(found.p_value)


def test_few_rows_that_differ_prove_nothing_however_many_are_the_same() -> None:
    """Five against none is one of 16 cases by chance, though the bootstrap's interval leaves zero out."""
    for differ, verdict in ((5, "within noise"), (6, "better")):
        b = np.zeros(500)
        a = np.where(np.arange(500) < differ, 1, b)
        found = paired(matches(a), matches(b), "correct")
        assert found.low > 0
        assert (found.differing, found.verdict) == (differ, verdict)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99, 0.999])
def test_fewest_rows_that_must_differ(level: float) -> None:
    k = fewest_differing(level)
    assert 2 / 2**k <= (1 - level) * (1 + 1e-9) < 2 / 2 ** (k - 1)


def test_the_interval_of_a_share_is_the_normal_one_where_rows_are_many() -> None:
    """Discordant pairs: a right alone 240 times, b alone 160 times, of 2000: variance (p₊ + p₋ − d²)/n."""
    a = np.r_[np.ones(240), np.zeros(160), np.ones(1600)]
    b = np.r_[np.zeros(240), np.ones(160), np.ones(1600)]
    found = paired(matches(a), matches(b), "correct", Draws(draws=4000))
    spread = math.sqrt((0.2 - 0.04**2) / 2000)
    assert found.value == pytest.approx(0.04)
    assert (found.low, found.high) == pytest.approx((0.04 - 1.96 * spread, 0.04 + 1.96 * spread), abs=0.001)


def test_intervals_by_hand() -> None:
    draws = np.arange(101) / 100
    assert interval_of(0.4, draws, 0.9, "percentile") == pytest.approx((0.05, 0.95))
    assert interval_of(0.4, draws, 0.9, "basic") == pytest.approx((-0.15, 0.75))


def test_the_order_of_rows_does_not_matter_for_pairing() -> None:
    a, b = drawn("match", 50, seed=1), drawn("match", 50, seed=2)
    turned = b.take(np.random.default_rng(0).permutation(50))
    assert paired(a, turned, "correct", QUICK) == paired(a, b, "correct", QUICK)


def test_pairing_is_worth_something() -> None:
    """Models that fail on the same rows: the interval is narrower than rows drawn for each would give."""
    right = np.random.default_rng(0).random(400) < 0.5
    better = right | (np.random.default_rng(1).random(400) < 0.04)
    found = paired(matches(better), matches(right), "correct")
    assert found.high - found.low < 0.06 < 2 * 1.96 * math.sqrt(2 * 0.25 / 400)
    assert found.verdict == "better"


def test_over_tasks_it_is_the_mean_and_rows_of_each_are_drawn_on_their_own() -> None:
    pairs = {t: (drawn("match", n, seed=1), drawn("match", n, seed=2)) for t, n in (("s", 80), ("t", 120))}
    metrics = dict.fromkeys(pairs, "correct")
    both = combined(pairs, metrics)
    single = {task: combined({task: pair}, metrics) for task, pair in pairs.items()}
    assert both.value == pytest.approx(np.mean([found.value for found in single.values()]))
    assert both.rows == 200
    width = math.sqrt(sum((found.high - found.low) ** 2 for found in single.values())) / 2
    assert both.high - both.low == pytest.approx(width, rel=0.1)


def test_the_same_rows_as_two_tasks_are_drawn_differently() -> None:
    pair = (drawn("match", 200, seed=1), drawn("match", 200, seed=2))
    one = combined({"s": pair}, {"s": "correct"})
    two = combined({"s": pair, "t": pair}, {"s": "correct", "t": "correct"})
    assert two.value == one.value
    assert two.high - two.low == pytest.approx((one.high - one.low) / math.sqrt(2), rel=0.1)


def test_other_tasks_do_not_change_a_tasks_draws_and_seeds_do() -> None:
    pair = (drawn("match", 90, seed=1), drawn("match", 90, seed=2))
    assert combined({"s": pair}, {"s": "correct"}, QUICK) == combined({"s": pair}, {"s": "correct"}, QUICK)
    other = Draws(draws=200, seed=1)
    assert combined({"s": pair}, {"s": "correct"}, QUICK) != combined({"s": pair}, {"s": "correct"}, other)


def test_strata_take_the_difference_between_them_out_of_the_noise() -> None:
    group = ["a"] * 50 + ["b"] * 50
    a, b = matches(np.r_[np.ones(50), np.zeros(50)]), matches(np.zeros(100))
    assert paired(a, b, "correct", strata=group).low == 0.5
    assert paired(a, b, "correct").low < 0.45


def test_draws_without_a_value_are_counted() -> None:
    truth = [0] * 8 + [1]
    a = classified(truth, [[0.9, 0.1]] * 8 + [[0.2, 0.8]])
    b = classified(truth, [[0.5, 0.5]] * 9)
    found = paired(a, b, "auc")
    assert found.undefined / 2000 == pytest.approx((8 / 9) ** 9, abs=0.05)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_no_interval_where_most_draws_have_no_value() -> None:
    truth = [0, 1]
    a, b = classified(truth, [[0.9, 0.1], [0.2, 0.8]]), classified(truth, [[0.5, 0.5]] * 2)
    found = paired(a, b, "auc", Draws(draws=500, seed=1))
    assert found.undefined == pytest.approx(250, abs=50)
    assert math.isnan(found.low) == (found.undefined >= 250)


def refused(message: str, **several: Answers) -> None:
    with pytest.raises(InputError) as caught:
        aligned(several, "sums")
    assert caught.value.code == "bad-answers"
    assert message in str(caught.value)


def test_answers_that_are_not_on_the_same_rows() -> None:
    three, four = matches([1, 0, 1]), matches([1, 0, 1, 1])
    refused("sums: b should have answered the same rows as a; 1 of its own (such as 'r3')", a=three, b=four)
    refused("1 lacking (such as 'r3')", a=four, b=three)
    refused("should be of one kind; a: match, b: regression", a=three, b=regressed([1, 2, 3], [1, 2, 3]))
    refused("differ in row 'r1'", a=regressed([1, 2], [1, 2]), b=regressed([1, 3], [1, 2]))
    refused("sums, b: `correct` should be 0 or 1", a=three, b=matches([2, 0, 1]))
    cats = Answers("match", three.columns, three.ids, classes=("cat",))
    refused("the classes of b should be those of a", a=three, b=cats)


def test_classes_in_another_order_are_the_same_classes() -> None:
    a = drawn("classification", 30, seed=1)
    a = Answers(a.kind, a.columns, a.ids, classes=("x", "y", "z"))
    turned = {"truth": (a.columns["truth"] + 1) % 3, "probabilities": np.roll(a.columns["probabilities"], 1, axis=1)}
    b = Answers(a.kind, turned, a.ids, classes=("z", "x", "y"))
    for metric in ("log_loss", "auc", "f1_macro"):
        found = paired(a, b, metric, QUICK)
        assert (found.value, found.low, found.high, found.differing) == (0, 0, 0, 0)


def test_every_model_that_does_not_fit_is_told() -> None:
    with pytest.raises(InputError) as caught:
        aligned({"a": matches([1]), "b": matches([1, 1]), "c": matches([1, 1, 1])})
    assert [fault.subject for fault in caught.value.faults] == ["b", "c"]


def test_settings_out_of_range_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        Draws(draws=3, seed=-1, level=1.0, interval="bca")  # type: ignore[arg-type]
    assert [fault.subject for fault in caught.value.faults] == ["draws", "seed", "level", "interval"]


def test_a_verdict_by_hand() -> None:
    def verdict(low: float, high: float, differing: int = 50) -> str:
        return Difference(0.0, low, high, 0.95, 0.5, 0.5, 100, differing).verdict

    assert verdict(0.01, 0.2) == "better"
    assert verdict(-0.2, -0.01) == "worse"
    assert verdict(0.0, 0.2) == verdict(-0.2, 0.0) == verdict(math.nan, math.nan) == "within noise"
    assert verdict(0.01, 0.2, differing=5) == "within noise"


@pytest.mark.slow
@pytest.mark.parametrize("interval", ["percentile", "basic"])
@pytest.mark.parametrize("metric", ["correct", "rmse", "auc"])
def test_intervals_cover_the_true_difference(metric: str, interval) -> None:
    """Rows from a known law, 400 times: 95 % intervals hold the true difference 92 to 98 times of 100."""
    how = Draws(draws=500, interval=interval)
    truths = {"correct": 0.1, "rmse": 0.5, "auc": None}
    true = truths[metric] if truths[metric] is not None else np.mean([_sample(metric, s, 20_000) for s in range(3)])
    hits = 0
    for seed in range(400):
        found = paired(*_pair(metric, seed, 200), metric, how)
        hits += found.low <= true <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def _sample(metric: str, seed: int, n: int) -> float:
    return paired(*_pair(metric, seed, n), metric, Draws(draws=100)).value


def _pair(metric: str, seed: int, n: int) -> tuple[Answers, Answers]:
    own = np.random.default_rng(seed)
    if metric == "correct":
        hard = own.random(n)
        return matches(hard < 0.7), matches(hard < 0.6)
    if metric == "rmse":
        shared = own.normal(size=n)
        return regressed(np.zeros(n), shared), regressed(np.zeros(n), 1.5 * shared * own.choice([-1, 1], n))
    truth = own.integers(2, size=n)
    scores = [1 / (1 + np.exp(-(skill * (truth - 0.5) + own.normal(size=n)))) for skill in (2.0, 1.0)]
    one, two = (classified(truth, np.stack([1 - p, p], axis=1)) for p in scores)
    return one, two
