"""Metrics against values worked by hand, against scikit-learn, and against their own laws."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from cuvee.errors import InputError, UsageError
from cuvee.judging.answers import Answers
from cuvee.judging.metrics import METRICS, Mean, Metric, Whole, metric_named, metrics_for, score_of
from tests.support.answering import KINDS, answers, classified, drawn, matches, regressed

FOUR = classified([0, 1, 1, 2], [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
"""Right, wrong, right, right: ŷ = 0, 0, 1, 2."""
BINARY = classified([0, 0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.65, 0.35], [0.2, 0.8]])
NUMBERS = regressed([1, 2, 3, 6], [1, 3, 1, 6])
TEXTS = answers("likelihood", nats=[2.0, 6.0, 4.0], tokens=[1, 3, 2], bytes=[4, 12, 4])
FOUND = answers("retrieval", rank=[1, 3, 2, 10])


@pytest.mark.parametrize(
    ("given", "metric", "value"),
    [
        (FOUR, "accuracy", 3 / 4),
        (FOUR, "balanced_accuracy", (1 + 1 / 2 + 1) / 3),
        (FOUR, "f1_macro", (2 / 3 + 2 / 3 + 1) / 3),
        (FOUR, "f1", (2 / 3 + 2 / 3 + 1) / 3),
        (FOUR, "f1_micro", 3 / 4),
        # class 0: .7 over .5 .1 .3; class 1: .3 and .8 over .2 and .3: one tie of four; class 2: .4 over .1 .2 .1
        (FOUR, "auc", (1 + 3.5 / 4 + 1) / 3),
        (BINARY, "auc", 3 / 4),
        (FOUR, "log_loss", -(math.log(0.7) + math.log(0.3) + math.log(0.8) + math.log(0.4)) / 4),
        (FOUR, "brier", (0.14 + (0.25 + 0.49 + 0.04) + 0.06 + (0.09 + 0.09 + 0.36)) / 4),
        (BINARY, "brier", (0.01 + 0.36 + 0.65**2 + 0.04) / 4),
        # confidences .7 .5 .8 .4 stand in bins of their own: |1-.7| + |0-.5| + |1-.8| + |1-.4|
        (FOUR, "ece", (0.3 + 0.5 + 0.2 + 0.6) / 4),
        # .65 and .6 stand in bins (9/15, 10/15] and (8/15, 9/15]
        (BINARY, "ece", (0.1 + 0.6 + 0.65 + 0.2) / 4),
        # bins are closed above: .8 and .75 stand in one, (11/15, 12/15]; right by .2, wrong by .75
        (classified([0, 1], [[0.8, 0.2], [0.75, 0.25]]), "ece", 0.55 / 2),
        (NUMBERS, "mae", 3 / 4),
        (NUMBERS, "rmse", math.sqrt(5 / 4)),
        (NUMBERS, "r2", 1 - 5 / 14),
        (matches([1, 0, 1], parsed=[1, 1, 0]), "correct", 2 / 3),
        (matches([1, 0, 1]), "exact_match", 2 / 3),
        (matches([1, 0, 1], parsed=[0, 1, 0]), "parsed", 1 / 3),
        (TEXTS, "nats_per_token", 2.0),
        (TEXTS, "perplexity", math.exp(2.0)),
        (TEXTS, "bits_per_byte", 12 / math.log(2) / 20),
        (answers("outcome", value=[1.0, -3.0]), "mean", -1.0),
        (answers("outcome", value=[1.0, -3.0]), "mean_cost", -1.0),
        (FOUND, "recall@1", 1 / 4),
        (FOUND, "recall@2", 2 / 4),
        (FOUND, "recall@5", 3 / 4),
        (FOUND, "recall@10", 1.0),
        (FOUND, "mrr", (1 + 1 / 3 + 1 / 2 + 1 / 10) / 4),
    ],
)
def test_values_worked_by_hand(given: Answers, metric: str, value: float) -> None:
    assert score_of(given, metric).value == pytest.approx(value, rel=1e-12)


def _truth(found: Answers) -> tuple[np.ndarray, np.ndarray]:
    return found.columns["truth"], found.columns.get("probabilities", found.columns.get("predicted"))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    ("metric", "theirs"),
    [
        ("accuracy", lambda y, p: sk.accuracy_score(y, p.argmax(1))),
        ("balanced_accuracy", lambda y, p: sk.balanced_accuracy_score(y, p.argmax(1))),
        ("f1_macro", lambda y, p: sk.f1_score(y, p.argmax(1), average="macro")),
        ("f1_micro", lambda y, p: sk.f1_score(y, p.argmax(1), average="micro")),
        ("auc", lambda y, p: sk.roc_auc_score(y, p[:, 1] if p.shape[1] == 2 else p, multi_class="ovr")),
        ("log_loss", lambda y, p: sk.log_loss(y, p, labels=range(p.shape[1]))),
        ("brier", lambda y, p: sk.brier_score_loss(y, p, labels=range(p.shape[1]))),
    ],
)
def test_classification_is_scikit_learns(metric: str, theirs, classes: int) -> None:
    found = drawn("classification", 97, seed=3, classes=classes)
    assert score_of(found, metric).value == pytest.approx(theirs(*_truth(found)), rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "theirs"),
    [("mae", sk.mean_absolute_error), ("rmse", sk.root_mean_squared_error), ("r2", sk.r2_score)],
)
def test_regression_is_scikit_learns(metric: str, theirs) -> None:
    found = drawn("regression", 53, seed=1)
    assert score_of(found, metric).value == pytest.approx(theirs(*_truth(found)), rel=1e-12)


def _calibration_error_in_words(found: Answers) -> float:
    """Row by row, from the paper: bins (m−1)/15 < confidence ≤ m/15."""
    truth, probabilities = _truth(found)
    total = 0.0
    for m in range(1, 16):
        inside = [i for i in range(len(found)) if (m - 1) / 15 < max(probabilities[i]) <= m / 15]
        if inside:
            right = sum(list(probabilities[i]).index(max(probabilities[i])) == truth[i] for i in inside) / len(inside)
            sure = sum(max(probabilities[i]) for i in inside) / len(inside)
            total += len(inside) / len(found) * abs(right - sure)
    return total


@pytest.mark.parametrize("seed", range(3))
def test_calibration_error_is_the_papers(seed: int) -> None:
    found = drawn("classification", 200, seed=seed)
    assert score_of(found, "ece").value == pytest.approx(_calibration_error_in_words(found), rel=1e-9)


def test_a_certain_and_right_model_is_calibrated() -> None:
    assert score_of(classified([0, 1], [[1, 0], [0, 1]]), "ece").value == 0


def test_a_probability_of_zero_for_the_truth_is_no_infinite_loss() -> None:
    score = score_of(classified([0, 1], [[0.0, 1.0], [0.0, 1.0]]), "log_loss")
    assert score.value == pytest.approx(-math.log(np.finfo(float).eps) / 2)


def every_metric() -> list[tuple[str, str]]:
    return [(kind, name) for kind in KINDS for name in metrics_for(kind)]


@pytest.mark.parametrize(("kind", "name"), every_metric())
def test_every_metric_has_a_finite_value_an_error_bar_and_says_what_it_is(kind, name: str) -> None:
    metric = metric_named(name)
    score = score_of(drawn(kind, 60, seed=2), name)
    assert math.isfinite(score.value)
    assert score.stderr > 0 or name == "recall@10"  # of which all are found here
    assert (score.metric, score.n, score.direction) == (name, 60, metric.direction)
    assert all((metric.formula, metric.range, metric.source))
    assert (score.rows is not None) == isinstance(metric.form, Mean)


@pytest.mark.parametrize(("kind", "name"), every_metric())
def test_the_order_of_rows_does_not_matter(kind, name: str) -> None:
    found = drawn(kind, 40, seed=5)
    turned = found.take(np.random.default_rng(0).permutation(40))
    assert score_of(turned, name).value == pytest.approx(score_of(found, name).value, rel=1e-12)


@pytest.mark.parametrize(("kind", "name"), every_metric())
def test_every_row_twice_is_the_same_value(kind, name: str) -> None:
    found = drawn(kind, 40, seed=6)
    twice = found.take(np.arange(80) % 40)
    distinct = Answers(twice.kind, twice.columns, tuple(f"r{i}" for i in range(80)))
    assert score_of(distinct, name).value == pytest.approx(score_of(found, name).value, rel=1e-12)


@given(st.lists(st.booleans(), min_size=2, max_size=50))
def test_the_error_bar_of_a_share(right: list[bool]) -> None:
    """Of a mean, with n − 1: √(p(1−p)/(n−1))."""
    share = sum(right) / len(right)
    score = score_of(matches(right), "correct")
    assert score.value == pytest.approx(share)
    assert score.stderr == pytest.approx(math.sqrt(share * (1 - share) / (len(right) - 1)), abs=1e-12)
    assert score.rows == tuple(map(float, right))


@pytest.mark.parametrize(
    ("kind", "name"), [("likelihood", n) for n in metrics_for("likelihood")] + [("regression", "rmse")]
)
def test_the_delta_method_agrees_with_the_spread_over_fresh_rows(kind, name: str) -> None:
    values = [score_of(_fresh(kind, seed), name).value for seed in range(300)]
    bars = [score_of(_fresh(kind, seed), name).stderr for seed in range(20)]
    assert np.mean(bars) == pytest.approx(np.std(values), rel=0.2)


def _fresh(kind: str, seed: int) -> Answers:
    """Rows that are all new with the seed, the number of tokens too."""
    own = np.random.default_rng(seed)
    if kind == "regression":
        return regressed(np.zeros(200), own.normal(size=200))
    tokens = own.integers(5, 50, size=200)
    return answers("likelihood", nats=tokens * own.gamma(4.0, 0.5, size=200), tokens=tokens, bytes=tokens * 4)


def test_the_error_bar_of_a_ratio_by_hand() -> None:
    """r = 4/2; the rows are off by −1 and 1: √(2/1 · 2) / 2 = 1, as for a mean of two rows."""
    found = answers("likelihood", nats=[1.0, 3.0], tokens=[1, 1])
    assert score_of(found, "nats_per_token").stderr == pytest.approx(1.0)
    assert score_of(found, "perplexity").stderr == pytest.approx(math.exp(2.0))


def test_the_bootstrap_error_bar_agrees_with_the_spread_over_fresh_rows() -> None:
    def fresh(seed: int) -> Answers:
        own = np.random.default_rng(seed)
        truth = own.integers(2, size=150)
        return classified(truth, np.stack([1 - (p := own.random(150) * 0.6 + 0.4 * truth), p], axis=1))

    values = [score_of_whole(fresh(seed)) for seed in range(200)]
    bars = [score_of(fresh(seed), "auc").stderr for seed in range(4)]
    assert np.mean(bars) == pytest.approx(np.std(values), rel=0.3)


def score_of_whole(found: Answers) -> float:
    """The value alone, without a bootstrap."""
    form = metric_named("auc").form
    assert isinstance(form, Whole)
    return form.of(found)


def test_the_error_bar_is_the_same_each_time() -> None:
    found = drawn("classification", 50, seed=1)
    assert score_of(found, "f1_macro") == score_of(found, "f1_macro")


@pytest.mark.parametrize("name", ["correct", "auc", "perplexity"])
def test_a_single_row_has_no_error_bar(name: str) -> None:
    single = {"correct": matches([1.0]), "perplexity": TEXTS.take([0])}
    if name in single:
        assert math.isnan(score_of(single[name], name).stderr)


def test_errors_without_error_are_zero_with_a_bar_of_zero() -> None:
    score = score_of(regressed([1, 2], [1, 2]), "rmse")
    assert (score.value, score.stderr) == (0, 0)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(-5, 5))
def test_numbers_scaled_and_shifted(seed: int, scale: float, shift: float) -> None:
    """MAE and RMSE scale, R² does not change."""
    found = drawn("regression", 12, seed=seed)
    moved = regressed(*(scale * c + shift for c in _truth(found)))
    for name, factor in (("mae", scale), ("rmse", scale), ("r2", 1.0)):
        assert score_of(moved, name).value == pytest.approx(factor * score_of(found, name).value, rel=1e-6, abs=1e-9)


def test_perplexity_is_the_exponential_of_nats_and_bits_know_no_tokens() -> None:
    found = drawn("likelihood", 30, seed=4)
    nats, perplexity = score_of(found, "nats_per_token"), score_of(found, "perplexity")
    assert perplexity.value == pytest.approx(math.exp(nats.value))
    assert perplexity.stderr == pytest.approx(perplexity.value * nats.stderr)
    fewer = answers("likelihood", **{**found.columns, "tokens": np.ones(30)})
    assert score_of(fewer, "bits_per_byte") == score_of(found, "bits_per_byte")


def told(code: str, found: Answers, metric: str, *words: str) -> None:
    with pytest.raises((InputError, UsageError)) as caught:
        score_of(found, metric)
    assert caught.value.code == code
    for word in words:
        assert word in str(caught.value)


def test_metrics_without_a_value_say_why() -> None:
    one_class = classified([1, 1], [[0.2, 0.8], [0.4, 0.6]])
    told("undefined-metric", one_class, "auc", "`auc`", "classification", "no row is of 0")
    named = Answers("classification", one_class.columns, one_class.ids, classes=("cat", "dog"))
    told("undefined-metric", named, "auc", "no row is of cat")
    told("undefined-metric", regressed([2, 2], [1, 3]), "r2", "`r2`", "regression", "the same in all rows")
    told("undefined-metric", answers("likelihood", nats=[1e6], tokens=[1]), "perplexity", "comes out as inf")
    told("undefined-metric", answers("likelihood", nats=[1.0], tokens=[0]), "nats_per_token", "sums to zero")
    told("undefined-metric", answers("likelihood", nats=[1.0], tokens=[1]), "bits_per_byte", "the column `bytes`")
    told("undefined-metric", matches([1.0]), "parsed", "the column `parsed`")


def test_metrics_of_another_kind_or_name() -> None:
    told("bad-argument", matches([1.0]), "auc", "match", "correct, parsed")
    told("bad-argument", matches([1.0]), "corect", "did you mean `correct`?")
    told("bad-argument", FOUND, "recall@0", "there is no metric")
    with pytest.raises(UsageError):
        metric_named(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            classified([0, 3], [[0.5, 0.5], [0.5, 0.5]]),
            "the number of one of 2 classes, from 0; it does not in row 'r1'",
        ),
        (classified([0, 1], [[0.5, 0.4], [0.5, 0.5]]), "sum to 1; it does not in row 'r0'"),
        (classified([0, 1], [[1.5, -0.5], [0.5, 0.5]]), "be 0 or more"),
        (classified([0], [[math.nan, 1]]), "`probabilities` should be finite"),
        (classified([0, 1], [0.5, 0.5]), "`probabilities` should have the shape [n, C]"),
        (regressed([1, 2], [1, math.inf]), "`predicted` should be finite; it does not in row 'r1'"),
        (matches([0.5]), "`correct` should be 0 or 1"),
        (matches([1], parsed=[2]), "`parsed` should be 0 or 1"),
        (answers("likelihood", nats=[-3.0]), "`nats` should be 0 or more"),
        (answers("likelihood", nats=[3.0], tokens=[1.5]), "`tokens` should be a whole number"),
        (answers("retrieval", rank=[0]), "`rank` should be a whole number of at least 1"),
        (answers("retrieval", rank=["a"]), "`rank` should hold numbers"),
        (answers("regression", truth=[1.0]), "should have the column predicted; found truth"),
        (answers("regresion", truth=[1.0]), "the kind of answers should be"),  # type: ignore[arg-type]
        (matches([]), "at least one row"),
        (matches([1, 0]).take([0, 0]), "'r0' stands twice"),
        (matches([1, 0], groups={"age": ["old"]}), "groups by 'age' should be 2"),
        (Answers("match", {"correct": np.ones(3)}, ("a",)), "with n = 1; found [3]"),
    ],
)
def test_damaged_answers_are_refused(found: Answers, said: str) -> None:
    name = metrics_for(found.kind)[0] if found.kind in KINDS else Metric("m", (), "higher", Mean(len), "", "", "")
    with pytest.raises(InputError) as caught:
        score_of(found, name)
    assert caught.value.code == "bad-answers"
    assert said in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        score_of(matches([2.0], parsed=[3.0]), "correct")
    assert len(caught.value.faults) == 2


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    told("missing-extra", FOUR, "f1_macro", "pip install cuvee[judge]")
    assert score_of(FOUR, "accuracy").value == 0.75


def test_metrics_by_kind_usual_one_first() -> None:
    usual = ["accuracy", "mae", "correct", "bits_per_byte", "recall@1", "mean"]
    assert [metrics_for(kind)[0] for kind in KINDS] == usual
    assert sorted(name for kind in KINDS for name in metrics_for(kind)) == list(METRICS)


def test_a_metric_of_ones_own() -> None:
    doubled = Metric(
        "doubled", ("match",), "higher", Mean(lambda a: 2.0 * a.columns["correct"]), "2p", "[0, 2]", "here"
    )
    assert score_of(matches([1, 0]), doubled).value == 1.0
