"""Votes, weights, products, ranks and order statistics on banks: values by hand, and what is refused in which words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cuvee.errors import CuveeError, InputError, UsageError
from cuvee.predict import (
    Bank,
    Hard,
    Maximum,
    Median,
    Minimum,
    Product,
    RankMean,
    Soft,
    TrimmedMean,
    Weighted,
)
from cuvee.predict.combiners import Batch, Combiner
from cuvee.predict.combiners.hard import Voted

ALL = [Soft, Hard, Weighted, Product, RankMean, Median, TrimmedMean, Maximum, Minimum]


def bank_of(P: Any, truth: Any = None, *, mask: Any = None, names: Sequence[str] = "abcdefgh") -> Bank:
    """A bank of hold-out predictions; a regression if the last dimension is 1."""
    P = np.asarray(P, np.float64)
    m, n, k = P.shape
    there = np.ones((m, n), bool) if mask is None else np.asarray(mask, bool)
    truth = None if truth is None else np.asarray(truth, np.int64 if k > 1 else np.float64)
    ids = tuple(f"r{i}" for i in range(n))
    task = "classification" if k > 1 else "regression"
    classes = ("no", "yes", "maybe")[:k] if k > 1 else ()
    hold = ("hold-out",) * m
    return Bank(
        task, tuple(names[:m]), classes, np.where(there[..., None], P, np.nan), there, ids, truth, hold, (True,) * m
    )


def applied(combiner: Combiner, bank: Bank) -> np.ndarray:
    return combiner.fit(bank).apply(Batch(bank.P, bank.mask))


def refused(kind: type[CuveeError], call: Callable[[], object], code: str, *words: str) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert set(caught.value.codes) == {code}
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


TIED = [[[0.9, 0.1, 0.0]], [[0.2, 0.7, 0.1]]]


def test_a_tied_vote_goes_to_the_class_that_members_give_more() -> None:
    (row,) = applied(Hard(), bank_of(TIED))
    assert row.argmax() == 0  # .55 against .40
    assert row.tolist() == pytest.approx([0.5, 0.5, 0.0], abs=1e-6)
    assert row[0] > row[1]


def test_a_tied_vote_goes_to_the_more_frequent_class() -> None:
    assert Hard(tie="prior").learns
    assert not Hard().learns
    two = [[TIED[0][0]] * 3, [TIED[1][0]] * 3]
    assert applied(Hard(tie="prior"), bank_of(two, [1, 1, 0])).argmax(axis=1).tolist() == [1, 1, 1]


def test_equal_priors_leave_a_tie_to_confidence() -> None:
    two = [[[0.3, 0.7]] * 2, [[0.6, 0.4]] * 2]
    assert applied(Hard(tie="prior"), bank_of(two, [0, 1])).argmax(axis=1).tolist() == [1, 1]


def test_what_no_rule_settles_goes_to_the_class_that_stands_first() -> None:
    labels = [[[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]]]
    assert applied(Hard(), bank_of(labels)).argmax(axis=1).tolist() == [1]


def test_a_tie_can_be_an_error_that_names_the_row() -> None:
    bank = bank_of([[[0.9, 0.1]] * 3, [[0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]])
    refused(
        InputError, lambda: applied(Hard(tie="error"), bank), "tied-vote", "row 1", "[0, 1]", "2 such rows", "`tie`"
    )
    assert applied(Hard(tie="error"), bank.rows([0])).tolist() == [[1.0, 0.0]]


def test_equal_weights_that_floats_add_up_differently_are_a_tie() -> None:
    said = [[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]]
    assert 0.1 + 0.2 != 0.3
    refused(InputError, lambda: applied(Hard(weights=(0.1, 0.2, 0.3), tie="error"), bank_of(said)), "tied-vote")


def test_a_weight_decides_a_vote() -> None:
    said = [[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]]
    assert applied(Hard(weights={"a": 1, "b": 1, "c": 6}), bank_of(said)).tolist() == [[0.25, 0.75]]
    assert Hard(weights=(1, 0, 3)).fit(bank_of(said)).used == ("a", "c")


def test_weights_of_a_soft_vote() -> None:
    assert applied(Soft(weights=[3, 1]), bank_of([[[1.0, 0.0]], [[0.0, 1.0]]])).tolist() == [[0.75, 0.25]]
    fitted = Soft(weights=np.array([3, 1])).fit(bank_of([[[1.0]], [[5.0]]]))  # type: ignore[arg-type]
    assert fitted.weights is not None
    assert fitted.weights.tolist() == [0.75, 0.25]


@pytest.mark.parametrize("kind", [Soft, Hard])
@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1, float("nan")], ["finite number of 0 or more; that of 1 is nan"]),
        ([1, -0.5], ["that of 1 is -0.5"]),
        ([float("inf"), "2"], ["that of 0 is inf", "that of 1 is '2'"]),
        ([0, 0.0], ["weights must not all be 0; found [0, 0.0]"]),
        ([], ["weights must not all be 0; found []"]),
        ({"a": True, "b": 1}, ["that of 'a' is True"]),
        ("ab", ["in the order of the members", "'ab'"]),
        (3, ["found 3"]),
        (np.array(3.0), ["found 3.0"]),
        (np.array([[1.0], [2.0]]), ["that of 0 is [1.0]"]),
    ],
)
def test_bad_weights_are_refused_when_they_are_given(kind: Any, weights: Any, words: list[str]) -> None:
    refused(UsageError, lambda: kind(weights=weights), "bad-weights", *words)


@pytest.mark.parametrize("kind", [Soft, Hard])
def test_weights_that_do_not_fit_the_members_are_refused(kind: Any) -> None:
    two = bank_of([[[0.9, 0.1]], [[0.8, 0.2]]], names=["forest", "bayes"])
    refused(
        UsageError,
        lambda: kind(weights=[1, 2, 3]).fit(two),
        "bad-weights",
        "a weight for each of 2 members; found 3",
        "forest, bayes",
    )
    refused(
        UsageError,
        lambda: kind(weights={"forst": 1, "bayes": 1}).fit(two),
        "bad-weights",
        "the member 'forest' needs a weight",
        "'forst', which is no member",
        "did you mean `forest`?",
    )


def test_scores_become_weights() -> None:
    truth = [0, 0, 0, 0, 1]
    right = [[0.9, 0.1]] * 4 + [[0.1, 0.9]]
    half = [[0.9, 0.1]] * 2 + [[0.1, 0.9]] * 3
    bank = bank_of([right, half], truth)  # accuracies 1 and .6
    assert shares(Weighted(by="accuracy"), bank) == pytest.approx([1 / 1.6, 0.6 / 1.6])
    e = np.exp(-0.4 / 0.2)
    assert shares(Weighted(by="accuracy", rule="softmax", tau=0.2), bank) == pytest.approx([1 / (1 + e), e / (1 + e)])
    losses = -np.log(0.9), -(3 * np.log(0.9) + 2 * np.log(0.1)) / 5
    inverse = 1 / np.array(losses)
    assert shares(Weighted(), bank) == pytest.approx(inverse / inverse.sum())
    weights = np.log(5.5 / 0.5), np.log(3.5 / 2.5)
    fitted = Weighted(rule="log-odds").fit(bank)
    assert isinstance(fitted, Voted)
    assert fitted.share.tolist() == pytest.approx(np.array(weights) / sum(weights))
    assert fitted.about["scores"] == [1.0, 0.6]


def shares(combiner: Combiner, bank: Bank) -> Any:
    return combiner.fit(bank).weights


def test_an_r2_below_zero_weighs_nothing() -> None:
    bank = bank_of([[[1.0], [2.0], [3.0]], [[9.0], [-9.0], [9.0]], [[1.0], [2.0], [2.0]]], [1, 2, 3])
    weights = shares(Weighted(by="r2"), bank)
    assert weights[1] == 0
    assert weights[0] == pytest.approx(weights[2] * 2)  # 1 against 1 − 1/2
    assert Weighted(by="r2").fit(bank).used == ("a", "c")
    worse = bank.only(["b"])
    refused(
        InputError, lambda: Weighted(by="r2").fit(worse), "bad-weights", "no member is worth anything by `r2`", "b -"
    )


def test_a_member_without_error_takes_all_the_weight() -> None:
    bank = bank_of([[[1.0], [2.0]], [[1.0], [2.5]]], [1, 2])
    assert shares(Weighted(by="rmse"), bank) == pytest.approx([1, 0], abs=1e-9)


def test_a_member_is_scored_on_the_rows_that_it_predicted() -> None:
    bank = bank_of([[[1.0], [9.0]], [[2.0], [3.0]]], [1, 2], mask=[[True, False], [True, True]])
    assert Weighted(by="mae").fit(bank).about["scores"] == [0.0, 1.0]  # type: ignore[attr-defined]
    bank = replace(bank, mask=np.array([[False, False], [True, True]]))
    refused(InputError, lambda: Weighted(by="mae").fit(bank), "too-few-rows", "'a' has predicted none of the 2 rows")


def test_an_undefined_metric_names_the_members() -> None:
    bank = bank_of([[[0.9, 0.1]] * 2] * 2, [0, 0])
    text = refused(InputError, lambda: Weighted(by="auc").fit(bank), "undefined-metric", "'a'", "'b'")
    assert "no row is of yes" in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"by": "acuracy"}, ["did you mean `accuracy`?"]),
        ({"rule": "odds"}, ["`rule` must be one of proportional, softmax, log-odds; found 'odds'"]),
        ({"tau": 0}, ["`tau`", "found 0"]),
        ({"tau": float("inf")}, ["`tau`"]),
        ({"tie": "first", "tau": "x"}, ["`tie`", "`tau`"]),
        ({"rule": "log-odds", "by": "log_loss"}, ["log odds are of the accuracy"]),
    ],
)
def test_settings_of_weights_are_checked(settings: dict[str, Any], words: list[str]) -> None:
    refused(UsageError, lambda: Weighted(**settings), "bad-argument", *words)


def test_an_error_becomes_a_weight_by_softmax() -> None:
    bank = bank_of([[[1.0], [2.0]], [[1.5], [2.5]]], [1, 2])
    e = np.exp(-0.5 / 0.25)
    assert shares(Weighted(by="mae", rule="softmax", tau=0.25), bank) == pytest.approx([1 / (1 + e), e / (1 + e)])


def test_a_metric_of_the_other_task_is_refused() -> None:
    refused(UsageError, lambda: Weighted(by="rmse").fit(bank_of([[[0.9, 0.1]]], [0])), "bad-argument", "regression")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Product(exponent=0.0),
        lambda: Product(exponent=float("nan")),
        lambda: Product(floor=0.0),
        lambda: Product(floor=0.5),
        lambda: TrimmedMean(cut=0.5),
        lambda: TrimmedMean(cut=-0.1),
        lambda: TrimmedMean(cut=True),
        lambda: RankMean(size=1),
        lambda: RankMean(size=2.5),  # type: ignore[arg-type]
        lambda: Hard(tie="lowest"),  # type: ignore[arg-type]
    ],
)
def test_other_settings_are_checked(make: Callable[[], object]) -> None:
    refused(UsageError, make, "bad-argument", "must be", "found")


def test_combiners_that_look_at_the_truth_refuse_what_would_deceive_them() -> None:
    bank = bank_of([[[0.9, 0.1]] * 3] * 2, [0, 1, 0])
    seen = replace(bank, provenance=("hold-out", "in-sample"))
    for kind in (
        Weighted,
        RankMean,
        lambda **s: Product(calibrate=True, **s),
        lambda **s: Weighted(rule="log-odds", **s),
    ):
        refused(InputError, lambda kind=kind: kind().fit(seen), "in-sample", "; b saw them")
        kind(allow_in_sample=True).fit(seen)
    mute = replace(bank, truth=None)
    for combiner in (Weighted(), Product(calibrate=True), Product(prior=True), Hard(tie="prior")):
        refused(InputError, lambda combiner=combiner: combiner.fit(mute), "missing-label", "right answer")
    for combiner in (Hard(), Product(), RankMean(), Soft(), Median()):
        combiner.fit(mute)


def test_too_few_rows_are_refused() -> None:
    bank = bank_of([[[0.9, 0.1]]] * 2, [0])
    refused(InputError, lambda: RankMean().fit(bank), "too-few-rows", "at least 2 rows; the member 'a' has predicted 1")
    none = bank.rows([])
    for combiner in (Hard(tie="prior"), Product(prior=True), Product(calibrate=True), Weighted()):
        refused(InputError, lambda combiner=combiner: combiner.fit(none), "too-few-rows")


@pytest.mark.parametrize("kind", ALL)
def test_no_member_is_an_error(kind: type[Combiner]) -> None:
    empty = bank_of(np.zeros((0, 3, 2)), [0, 1, 1])
    refused(InputError, lambda: kind().fit(empty), "no-member", "at least one member")


@pytest.mark.parametrize("kind", ALL)
def test_a_row_of_which_nobody_says_anything_is_an_error(kind: type[Combiner]) -> None:
    bank = bank_of([[[0.9, 0.1]] * 3, [[0.2, 0.8]] * 3], [0, 1, 1])
    fitted = kind().fit(bank)
    mask = np.array([[True, False, True], [True, False, False]])
    refused(InputError, lambda: fitted.apply(Batch(bank.P, mask)), "no-member", "row 1", "1 such rows")


@pytest.mark.parametrize("kind", ALL)
def test_members_that_give_embeddings_alone_are_refused(kind: type[Combiner]) -> None:
    bank = bank_of([[[0.9, 0.1]] * 2] * 2, [0, 1], mask=[[True, True], [False, False]])
    bank = replace(bank, embeddings={"b": np.zeros((2, 3))})
    refused(InputError, lambda: kind().fit(bank), "wrong-member", "'b' gives embeddings", "`stack`")


@pytest.mark.parametrize("kind", ALL)
def test_a_member_may_give_embeddings_besides(kind: type[Combiner]) -> None:
    bank = bank_of([[[0.9, 0.1], [0.2, 0.8]]] * 2, [0, 1])
    assert applied(kind(), replace(bank, embeddings={"b": np.zeros((2, 3))})).argmax(axis=1).tolist() == [0, 1]


@pytest.mark.parametrize("kind", [Soft, Hard, Weighted, Product, Median, TrimmedMean, Maximum, Minimum])
def test_scores_are_not_averaged_as_probabilities(kind: type[Combiner]) -> None:
    bank = replace(bank_of([[[0.9, 0.1]] * 2, [[7.0, -3.0]] * 2], [0, 1]), probable=(True, False))
    refused(
        InputError,
        lambda: kind().fit(bank),
        "wrong-member",
        "'b' gives scores",
        f"`{kind.name}`",
        "`rank-mean` or `stack`",
    )


def test_scores_may_be_ranked_and_voted_on() -> None:
    bank = replace(bank_of([[[0.6, 0.4], [0.4, 0.6]], [[7.0, -3.0], [2.0, 9.0]]], [0, 1]), probable=(True, False))
    assert applied(RankMean(), bank).tolist() == [[0.75, 0.25], [0.25, 0.75]]
    for combiner in (Hard(tie="prior"), Hard(tie="error"), Weighted(rule="log-odds", tie="prior")):
        assert applied(combiner, bank).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    split = replace(bank, P=np.array([[[0.6, 0.4]] * 2, [[-1.0, 1.0]] * 2]))
    assert applied(Hard(tie="prior"), split).argmax(axis=1).tolist() == [0, 0]  # priors equal, no confidence to ask


@pytest.mark.parametrize("combiner", [Hard(), Product(), RankMean(), Weighted(rule="log-odds")])
def test_a_regression_is_refused_where_classes_are_meant(combiner: Combiner) -> None:
    bank = bank_of([[[1.0], [2.0]]], [1, 2])
    refused(UsageError, lambda: combiner.fit(bank), "bad-argument", "combines classes; the ensemble is a regression")


def test_values_are_pooled() -> None:
    bank = bank_of([[[1.0]], [[2.0]], [[4.0]], [[100.0]], [[3.0]]], [3])
    found = {type(c).__name__: applied(c, bank)[0, 0] for c in (Median(), TrimmedMean(), Maximum(), Minimum(), Soft())}
    assert found == {"Median": 3.0, "TrimmedMean": 3.0, "Maximum": 100.0, "Minimum": 1.0, "Soft": 22.0}


def test_where_nothing_is_left_of_a_row_the_mean_stands_in() -> None:
    sure = [[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]]
    for combiner in (Median(), Minimum()):
        np.testing.assert_allclose(applied(combiner, bank_of(sure)), [[1 / 3] * 3])
    mixed = [[[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]], [[0.0, 1.0, 0.0], [0.2, 0.8, 0.0]]]
    np.testing.assert_allclose(applied(Minimum(), bank_of(mixed)), [[0.5, 0.5, 0.0], [2 / 7, 5 / 7, 0.0]])


def test_a_product_names_members_that_are_badly_calibrated() -> None:
    truth = [0, 1] * 10
    honest, boastful = [[0.5, 0.5]] * 20, [[0.99, 0.01]] * 20
    bank = bank_of([honest, boastful], truth, names=["honest", "boastful"])
    (note,) = Product().fit(bank).notes
    assert "'boastful' has a calibration error of 0.490" in note
    assert Product(calibrate=True).fit(bank).notes == ()
    assert Product().fit(replace(bank, truth=None)).notes == ()
    assert Product().fit(replace(bank, mask=np.array([[True] * 20, [False] * 20]))).notes == ()


def test_a_products_temperatures_are_those_of_its_members() -> None:
    from cuvee.combine import apply_temperature, fit_temperature, product

    truth = np.array([0, 0, 0, 1])
    P = np.array([[[0.9, 0.1]] * 4, [[0.6, 0.4]] * 4])
    bank = bank_of(P, truth)
    each = [fit_temperature(one, truth) for one in P]
    assert each[0] == pytest.approx(2.0)
    by_hand = product(np.stack([apply_temperature(one, t) for one, t in zip(P, each)]), bank.mask)
    np.testing.assert_array_equal(applied(Product(calibrate=True), bank), by_hand)
    np.testing.assert_allclose(by_hand[:, 0], 0.75)  # both become three to one


def test_one_zero_does_not_forbid_a_class() -> None:
    bank = bank_of([[[0.0, 1.0]], *[[[0.9, 0.1]]] * 8])
    assert applied(Product(), bank)[0].argmax() == 0
    assert applied(Product(floor=1e-12), bank)[0].argmax() == 1


def test_the_prior_is_divided_out_once_less_than_members_count() -> None:
    bank = bank_of([[[0.75, 0.25]] * 4] * 2, [0, 0, 0, 0])  # prior (5/6, 1/6)
    odds = (0.75 / 0.25) ** 2 / 5
    assert applied(Product(exponent=1.0, prior=True), bank)[0, 0] == pytest.approx(odds / (1 + odds))
    np.testing.assert_allclose(applied(Product(prior=True), bank), bank.P[0])  # in a geometric mean it cancels


def test_ranks_do_not_change_with_the_scale_of_a_member() -> None:
    rng = np.random.default_rng(0)
    P = rng.random((3, 40, 3))
    bank = bank_of(P)
    other = replace(bank, P=np.stack([P[0], np.exp(5 * P[1]), P[2] * 1e6 - 3]))
    np.testing.assert_array_equal(applied(RankMean(), other), applied(RankMean(), bank))


def test_a_long_reference_is_thinned_evenly() -> None:
    values = np.arange(1000.0)
    bank = bank_of(np.stack([values, -values], axis=1)[None])
    reference = RankMean(size=10).fit(bank).reference  # type: ignore[attr-defined]
    assert reference[0, 0].tolist() == [50.0 + 100 * i for i in range(10)]
    assert reference.shape == (1, 2, 10)
