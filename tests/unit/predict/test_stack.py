"""Stacks: what they learn on, what they are worth, what they refuse, and that they are the same when restored."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeCV
from sklearn.neighbors import KNeighborsClassifier

from cuvee.errors import InputError, UsageError
from cuvee.predict import meta_learners
from cuvee.predict.combiners import COMBINERS, FITTED, Batch, Stack
from cuvee.predict.combiners.design import batch_of, design_of
from tests.support.noisy_banks import noisy_bank, noisy_values

QUICK = {"folds": 2, "fewest": 2}


@pytest.fixture(scope="module", autouse=True)
def few_strengths():
    """Two penalties to choose from instead of five: the same code in less time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meta_learners, "STRENGTHS", (0.1, 10.0))
        yield


@pytest.fixture(scope="module")
def bank():
    made = noisy_bank(3, 120, 3, 0, masked=0.15, features=2)
    draw = np.random.default_rng(1)
    return replace(made, embeddings={"m0": draw.normal(size=(120, 4)), "m2": draw.normal(size=(120, 2)) * 50})


@pytest.fixture(scope="module")
def stacked(bank):
    return Stack(**QUICK).fit(bank)


def test_the_rule_in_numpy_is_scikit_learns(bank, stacked):
    X = design_of(bank, ("probabilities",), False).matrix(batch_of(bank))
    model = LogisticRegression(C=stacked.about["C"], max_iter=1000).fit(X, bank.truth)
    np.testing.assert_allclose(stacked.apply(batch_of(bank)), model.predict_proba(X), rtol=1e-12)


def test_two_classes_too():
    bank = noisy_bank(3, 60, 2, 1)
    found = Stack(**QUICK).fit(bank)
    X = design_of(bank, ("probabilities",), False).matrix(batch_of(bank))
    assert X.shape == (60, 3)
    model = LogisticRegression(C=found.about["C"], max_iter=1000).fit(X, bank.truth)
    np.testing.assert_allclose(found.apply(batch_of(bank)), model.predict_proba(X), rtol=1e-12)


def test_ridge_in_numpy_is_scikit_learns():
    bank = noisy_values(4, 80, 2, masked=0.1)
    found = Stack().fit(bank)
    X = found.design.matrix(batch_of(bank))
    model = RidgeCV(alphas=meta_learners.ALPHAS).fit(X, bank.truth)
    np.testing.assert_allclose(found.apply(batch_of(bank))[:, 0], model.predict(X), rtol=1e-12)
    assert found.about["nested_rmse"] < found.about["best_member_rmse"]


def test_its_own_worth_is_of_rows_that_it_was_not_fitted_on():
    """Labels of pure noise: on the rows of the fit the stack seems to know something, left out it knows nothing."""
    bank = noisy_bank(6, 120, 2, 3, features=20)
    noise = replace(bank, truth=np.random.default_rng(0).permutation(bank.truth))
    found = Stack(features=True, **QUICK).fit(noise)
    fitted = (found.apply(batch_of(noise)).argmax(axis=1) == noise.truth).mean()
    assert found.about["nested_accuracy"] < 0.6 < fitted
    assert found.about["nested_log_loss"] > 0.69
    assert found.about["best_member"] in bank.members


@pytest.mark.parametrize("on", ["logits", "embeddings", ("probabilities", "embeddings")])
def test_it_looks_at_what_it_is_told_to(bank, on):
    only = bank if on != "embeddings" else bank.only(["m0", "m2"])
    found = Stack(on=on, features=True, **QUICK).fit(only)
    width = {"logits": 6, "embeddings": 6}.get(on, 6 + 6) + 2
    assert found.rule.coef.shape == (3, width)
    assert found.needs == (("features",) if on == "logits" else ("embeddings", "features"))


def test_a_row_without_embeddings_counts_as_the_mean_and_one_without_anything_is_refused(bank):
    only = bank.only(["m0", "m2"])
    found = Stack(on="embeddings", **QUICK).fit(only)
    one = {name: values.copy() for name, values in only.embeddings.items()}
    one["m0"][0] = np.nan
    mean = {name: values.copy() for name, values in one.items()}
    mean["m0"][0] = found.design.centre[:4]
    a, b = (found.apply(Batch(only.P, only.mask, None, e)) for e in (one, mean))
    np.testing.assert_allclose(a, b)
    one["m2"][0] = np.nan
    with pytest.raises(InputError, match="row 0 has none"):
        found.apply(Batch(only.P, only.mask, None, one))


def test_rows_that_all_lack_what_a_member_reads_are_like_each_of_them_among_others(bank):
    """Of no rows a member cannot say how wide its embeddings are: they come without any width."""
    found = Stack(on=("probabilities", "embeddings"), **QUICK).fit(bank)
    lacking = {**bank.embeddings, "m2": np.where(np.arange(120)[:, None] < 4, np.nan, bank.embeddings["m2"])}
    whole = found.apply(batch_of(replace(bank, embeddings=lacking)))
    some = bank.rows(range(4))
    without = replace(some, embeddings={**some.embeddings, "m2": np.zeros((4, 0))})
    np.testing.assert_allclose(found.apply(batch_of(without)), whole[:4], rtol=1e-12)
    alone = Stack(on="embeddings", **QUICK).fit(bank.only(["m2"]))
    with pytest.raises(InputError, match="row 0 has none"):
        alone.apply(batch_of(without.only(["m2"])))
    joined = bank.rows(range(4, 120)).with_rows(without)
    np.testing.assert_array_equal(np.isnan(joined.embeddings["m2"]).all(axis=1), np.arange(120) >= 116)


def test_members_that_give_embeddings_only(bank):
    mute = replace(bank.only(["m0", "m2"]), P=np.full((2, 120, 3), np.nan), mask=np.zeros((2, 120), bool))
    found = Stack(on="embeddings", **QUICK).fit(mute)
    assert "best_member" not in found.about
    assert found.apply(batch_of(mute)).shape == (120, 3)


def test_non_negative_weights_are_a_weighted_mean():
    bank = noisy_bank(4, 90, 3, 5)
    found = Stack(meta="nonnegative", **QUICK).fit(bank)
    want = LinearRegression(positive=True, fit_intercept=False)
    want = want.fit(bank.P.reshape(4, -1).T, np.eye(3)[bank.truth].ravel()).coef_
    np.testing.assert_allclose(found.weights, want / want.sum())
    assert found.about["rows_of_all"] == 90
    assert found.about["nested_log_loss"] < 1


def test_non_negative_weights_of_a_regression():
    bank = noisy_values(4, 90, 5, masked=0.1)
    found = Stack(meta="nonnegative").fit(bank)
    assert (found.weights >= 0).all()
    assert found.about["rows_of_all"] == bank.mask.all(axis=0).sum() < 90


def test_weights_that_are_all_zero_are_an_error():
    bank = noisy_values(2, 40, 1)
    with pytest.raises(InputError, match="points away from the truth") as told:
        Stack(meta="nonnegative").fit(replace(bank, P=-bank.P))
    assert told.value.code == "bad-weights"


@pytest.mark.parametrize(
    "meta", [RandomForestClassifier(5, random_state=0), KNeighborsClassifier(3)], ids=["forest", "neighbours"]
)
def test_any_estimator(bank, meta):
    found = Stack(meta=meta, **QUICK).fit(bank)
    assert not hasattr(meta, "classes_"), "what was given is left as it was"
    X = found.design.matrix(batch_of(bank))
    np.testing.assert_array_equal(found.apply(batch_of(bank)), found.thing.predict_proba(X))
    said, arrays = found.told()
    bare = FITTED.get("stack-thing").restored(json.loads(json.dumps(said, allow_nan=False)), arrays)
    with pytest.raises(UsageError, match="without its meta-learner"):
        bare.apply(batch_of(bank))
    np.testing.assert_array_equal(bare.with_thing(found.thing).apply(batch_of(bank)), found.apply(batch_of(bank)))
    assert Stack(meta=meta).settings()["meta"].endswith(type(meta).__name__)


class Plain:
    """No estimator of scikit-learn: only what is asked of a meta-learner."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), np.nan if len(X) == 7 else 1 / len(self.classes_))


def test_an_estimator_of_ones_own(bank):
    found = Stack(meta=Plain(), **QUICK).fit(bank)
    np.testing.assert_allclose(found.apply(batch_of(bank)), 1 / 3)
    with pytest.raises(InputError, match="finite answers of the shape") as told:
        found.apply(batch_of(bank.rows(range(7))))
    assert told.value.code == "bad-output"


@pytest.mark.slow
@pytest.mark.parametrize("made", [noisy_bank(3, 200, 3), noisy_values(3, 200)], ids=["classes", "values"])
def test_gradient_boosting_is_the_same_every_time(made):
    one, two = (Stack(meta="gradient-boosting", folds=2).fit(made).apply(batch_of(made)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_told_and_restored_it_is_the_same(bank):
    found = Stack(on=("probabilities", "embeddings"), features=True, **QUICK).fit(bank)
    said, arrays = found.told()
    again = FITTED.get(found.kind).restored(json.loads(json.dumps(said, allow_nan=False)), arrays)
    np.testing.assert_array_equal(again.apply(batch_of(bank)), found.apply(batch_of(bank)))
    assert (again.about, again.members, again.needs) == (found.about, found.members, found.needs)
    settings = Stack(on=("probabilities", "embeddings"), meta="ridge").settings()
    assert COMBINERS.get("stack")(**settings).blocks == ("probabilities", "embeddings")


def test_a_bank_that_does_not_say_so_holds_probabilities(bank):
    mute = replace(bank, probable=())
    one, two = (Stack(**QUICK).fit(given).apply(batch_of(bank)) for given in (bank, mute))
    np.testing.assert_array_equal(one, two)


def refused(bank, error, code, words, **settings):
    with pytest.raises(error, match=words) as told:
        Stack(**settings).fit(bank)
    assert told.value.code == code


def test_banks_that_do_not_do_are_refused(bank):
    seen = replace(bank, provenance=("in-sample",) * 3)
    refused(seen, InputError, "in-sample", "m0, m1, m2 saw them")
    assert Stack(allow_in_sample=True, **QUICK).fit(seen).about["in_sample"] == ["m0", "m1", "m2"]
    refused(replace(bank, truth=None), InputError, "missing-label", "right answer of every row")
    refused(bank.rows(range(60)), InputError, "too-few-rows", "at least 30 rows; c0 has 20, c1 has 20, c2 has 20")
    refused(replace(bank, truth=np.zeros(120, int)), InputError, "too-few-rows", "all 120 rows are of 'c0'")
    none = replace(bank, truth=np.arange(120) % 2)
    refused(none, InputError, "too-few-rows", "c2 has 0", **QUICK)
    refused(bank, InputError, "wrong-member", "'m1' gives no embeddings", on="embeddings")
    scores = replace(bank, probable=(True, True, False))
    refused(scores, InputError, "wrong-member", "'m2' gives scores", meta="nonnegative")
    refused(replace(bank, features=None), UsageError, "bad-argument", "none were given", features=True)
    refused(noisy_values(2, 20), InputError, "too-few-rows", "the bank must have at least 30 rows; the bank has 20")


def test_meta_learners_that_do_not_fit_the_task_are_refused(bank):
    values = noisy_values(2, 40)
    refused(bank, UsageError, "bad-argument", "no meta-learner 'ridge' for a classification", meta="ridge")
    refused(values, UsageError, "bad-argument", "no meta-learner 'logistic' for a regression", meta="logistic")
    refused(bank, UsageError, "bad-argument", "did you mean `logistic`", meta="logistik")
    refused(bank, UsageError, "bad-argument", "has no `predict_proba`", meta=LinearRegression())
    refused(bank, UsageError, "bad-argument", "LogisticRegression is a class", meta=LogisticRegression)
    refused(values, UsageError, "bad-argument", "no logits", on="logits")


def test_without_scikit_learn_it_says_what_to_install(bank, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    refused(bank, UsageError, "missing-extra", r"pip install cuvee\[ensemble\]")


class Own:
    """A meta-learner without scikit-learn's habits: `fit` gives nothing back."""

    def __init__(self, said: Any = (0.2, 0.3, 0.5), fails: bool = False, classes: Any = (0, 1, 2)) -> None:
        self.said, self.fails, self.named = said, fails, classes

    def fit(self, X: Any, y: Any) -> None:
        if self.fails:
            raise RuntimeError("no more room")
        if self.named is not None:
            self.classes_ = np.array(self.named)

    def predict_proba(self, X: Any) -> Any:
        return np.tile(self.said, (len(X), 1))


@pytest.mark.parametrize(
    ("meta", "code", "words"),
    [
        (Own((0.9, 0.9, 0.9)), "bad-output", r"sum to one; found \[0.9, 0.9, 0.9\] in row 0"),
        (Own((-0.5, 0.5, 1.0)), "bad-output", "give probabilities"),
        (Own(classes=None), "bad-output", "Own has none"),
        (Own(classes=("a", "b", "c")), "bad-output", "numbers of classes below 3"),
        (Own(fails=True), "member-failed", "could not be fitted on 120 rows: RuntimeError: no more room"),
    ],
)
def test_what_a_meta_learner_of_ones_own_does_wrong_is_told(bank, meta, code, words):
    with pytest.raises(InputError, match=words) as caught:
        Stack(meta=meta, **QUICK).fit(bank)
    assert caught.value.code == code


def test_a_fit_that_gives_nothing_back_will_do(bank):
    found = Stack(meta=Own(), **QUICK).fit(bank)
    np.testing.assert_allclose(found.apply(batch_of(bank)), np.tile([0.2, 0.3, 0.5], (120, 1)))
    assert found.apply(batch_of(bank.rows([]))).shape == (0, 3)


@pytest.mark.parametrize("rows", [[2, 2, 2], [2, 9, 9], [2, 2, 9]])
@pytest.mark.parametrize("meta", [None, "gradient-boosting", LogisticRegression()])
def test_as_few_rows_as_are_taken_are_enough(rows, meta):
    bank = noisy_bank(2, sum(rows), 3, 5)
    few = replace(bank, truth=np.repeat([0, 1, 2], rows))
    made = Stack(meta=meta, fewest=2).fit(few).apply(batch_of(few))
    np.testing.assert_allclose(made.sum(axis=1), 1.0)


def test_two_rows_of_a_regression_are_enough():
    bank = noisy_values(2, 2, 0)
    assert np.isfinite(Stack(fewest=2).fit(bank).apply(batch_of(bank))).all()


@pytest.mark.parametrize("name", ["greedy", "stack", "weighted", "product", "knora-e"])
def test_classes_that_are_written_alike_are_two(name):
    bank = replace(noisy_bank(3, 80, 2, 1), classes=(1, "1"))
    kind = COMBINERS.get(name)
    made = kind(fewest=2) if name == "stack" else kind()
    assert made.fit(bank).apply(batch_of(bank)).shape == (80, 2)


def test_settings_that_mean_nothing_are_all_told():
    with pytest.raises(UsageError) as told:
        Stack(folds=1, fewest=1, seed=-1, on="probs")
    assert [fault.subject for fault in told.value.faults] == ["folds", "fewest", "seed", "on"]
    with pytest.raises(UsageError, match="embeddings and one of the others"):
        Stack(on=("probabilities", "logits"))
    with pytest.raises(UsageError, match="on probabilities alone"):
        Stack(meta="nonnegative", features=True)


def test_rows_of_another_width_are_refused(bank):
    found = Stack(features=True, **QUICK).fit(bank)
    with pytest.raises(InputError, match=r"fitted on 8 columns; these rows give 9"):
        found.apply(replace(batch_of(bank), features=np.zeros((120, 3))))
    with pytest.raises(UsageError, match="none were given"):
        found.apply(replace(batch_of(bank), features=None))
    with pytest.raises(UsageError, match="embeddings of 'm0'"):
        Stack(on="embeddings", **QUICK).fit(bank.only(["m0", "m2"])).apply(Batch(bank.P[:2], bank.mask[:2]))


def test_an_optimiser_that_was_stopped_is_told(bank, monkeypatch):
    monkeypatch.setattr(meta_learners, "_STEPS", 1)
    found = Stack(**QUICK).fit(bank)
    assert found.about["converged"] is False
    assert found.notes == ("the logistic regression did not come to its end: scale the features",)


def test_a_bare_stack_finds_the_same_and_is_not_judged(bank, stacked):
    bare = Stack(**QUICK).bare().fit(bank)
    np.testing.assert_array_equal(bare.apply(batch_of(bank)), stacked.apply(batch_of(bank)))
    assert "nested_log_loss" in stacked.about
    assert "nested_log_loss" not in bare.about


def test_strengths_tried_in_turn_come_to_what_each_comes_to_alone(bank):
    X = design_of(bank, ("probabilities",), False).matrix(batch_of(bank))
    for C, rule in zip(meta_learners.STRENGTHS, meta_learners._path(X, bank.truth, 3)):
        alone = LogisticRegression(C=C, max_iter=1000, tol=1e-8).fit(X, bank.truth)
        np.testing.assert_allclose(rule.answer(X), alone.predict_proba(X), atol=2e-3)
        assert rule.facts["C"] == C
