"""Estimators as members: real ones of scikit-learn, LightGBM and XGBoost, fitted here."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import pytest
import torch
import xgboost
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron, Ridge
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from cuvee.errors import InputError, UsageError
from cuvee.predict import Member, rows_of
from cuvee.predict.answers import ask, ask_all
from tests.support.members import ABC

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = np.array(ABC)[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)]
NUMBERS = np.searchsorted(ABC, Y)
ROWS = rows_of(X)
FRAME = pd.DataFrame(X, columns=list("pqrs"))


def predicted(member: Member, rows=ROWS, classes=ABC):
    return ask(member, rows, classes, "classification").P


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        GaussianNB(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, min_child_samples=2, n_jobs=1),
    ],
    ids=lambda model: type(model).__name__,
)
def test_probabilities_are_the_models_own(model) -> None:
    member = Member.sklearn(model.fit(X, Y))
    assert (member.output, member.classes, member.kind) == ("probabilities", ABC, "sklearn")
    np.testing.assert_array_equal(predicted(member), model.predict_proba(X))


def test_classes_in_another_order_than_the_ensembles_are_put_in_place() -> None:
    model = LogisticRegression().fit(X, Y)
    np.testing.assert_array_equal(
        predicted(Member.sklearn(model), classes=("c", "a", "b")), model.predict_proba(X)[:, [2, 0, 1]]
    )


def test_a_model_without_probabilities_gives_scores_and_one_without_those_labels() -> None:
    machine = Member.sklearn(SVC().fit(X, Y))
    assert machine.output == "scores"
    assert not ask(machine, ROWS, ABC, "classification").probable
    two = Perceptron().fit(X, Y == "a")
    scores = ask(Member.sklearn(two), ROWS, (False, True), "classification").P
    assert (scores.argmax(axis=1) == two.predict(X)).all()
    labels = Member.sklearn(two, output="labels")
    assert (predicted(labels, classes=(False, True)).argmax(axis=1) == two.predict(X)).all()


def test_xgboost_knows_only_numbers_and_is_told_names() -> None:
    model = xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(X, NUMBERS)
    with pytest.raises(InputError, match="it numbers its classes: give `classes`"):
        predicted(Member.sklearn(model))
    np.testing.assert_allclose(predicted(Member.sklearn(model, classes=ABC)), model.predict_proba(X), atol=1e-6)
    labels = predicted(Member.sklearn(model, classes=ABC, output="labels"))
    assert (labels.argmax(axis=1) == model.predict(X)).all()


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("c", "b", "a"), "in the order 'a', 'b', 'c'; `classes` has them in another"),
        (("x", "y", "z"), "`classes` is for models that only number theirs"),
        (("a", "b"), "3 of them, 'a', 'b', 'c'; `classes` names 2"),
    ],
)
def test_classes_do_not_overrule_those_that_a_model_knows(classes, words) -> None:
    with pytest.raises(UsageError, match=words):
        Member.sklearn(LogisticRegression().fit(X, Y), classes=classes)


def refused(model, words, **more):
    with pytest.raises(InputError) as caught:
        Member.sklearn(model, name="m", **more)
    assert caught.value.code == "wrong-member"
    assert "the member 'm'" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (LogisticRegression(), "LogisticRegression is not fitted"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "Pipeline is not fitted"),
        (LogisticRegression, "the class LogisticRegression itself"),
        (StandardScaler().fit(X), "StandardScaler has not"),
        ("model.pkl", "str has not"),
    ],
    ids=range(5),
)
def test_what_is_no_fitted_estimator(model, words) -> None:
    refused(model, words)


@pytest.mark.parametrize(
    "model", [KNeighborsClassifier(), RandomForestClassifier(2), MultiOutputClassifier(GaussianNB())], ids=range(3)
)
def test_multilabel_is_refused_by_name(model) -> None:
    refused(model.fit(X, np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1).astype(int)), "several labels (multilabel)")


@pytest.mark.parametrize(
    "model", [LinearRegression(), RandomForestRegressor(2), MultiOutputRegressor(Ridge())], ids=range(3)
)
def test_multi_output_is_refused_by_name(model) -> None:
    refused(model.fit(X, X[:, :2]), "several values (multi-output)")


def test_regressors_give_values() -> None:
    model = Ridge().fit(X, np.log(1 + X[:, 0] ** 2))
    member = Member.sklearn(model, inverse=np.exp)
    found = ask(member, ROWS, (), "regression").P
    np.testing.assert_allclose(found[:, 0], np.exp(model.predict(X)), atol=1e-12)
    assert member.refit is None, "what the values of the ensemble are on its own scale is not known"
    with pytest.raises(InputError, match="'ridge' answers with values, and cannot be one of a classification"):
        ask(member, ROWS, ABC, "classification")


def test_a_method_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="has no `predict_proba`, which would give probabilities") as caught:
        Member.sklearn(Perceptron().fit(X, Y), output="probabilities")
    assert "it can give logits, scores, labels" in str(caught.value)


@pytest.mark.parametrize(
    "rows",
    [
        FRAME[["s", "r", "q", "p"]],
        {name: FRAME[name] for name in "rspq"},
        {name: FRAME[name].tolist() for name in "srqp"},
        FRAME.assign(extra=1.0),
    ],
    ids=["frame", "columns", "lists", "more"],
)
def test_named_columns_are_found_by_name_in_any_order(rows) -> None:
    model = LogisticRegression().fit(FRAME, Y)
    np.testing.assert_array_equal(predicted(Member.sklearn(model), rows_of(rows)), model.predict_proba(FRAME))


def test_a_column_that_the_model_was_fitted_on_is_missing() -> None:
    member = Member.sklearn(LogisticRegression().fit(FRAME, Y), name="m")
    with pytest.raises(InputError, match="'m': the model was fitted on a column 's'") as caught:
        predicted(member, rows_of(FRAME[["p", "q", "r"]]))
    assert caught.value.code == "bad-data"


@pytest.mark.parametrize("rows", [FRAME, {name: FRAME[name] for name in "pqrs"}, torch.from_numpy(X)], ids=range(3))
@pytest.mark.parametrize(
    "model",
    [LogisticRegression(), lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1)],
    ids=["lr", "lightgbm"],
)
def test_a_model_that_knows_no_names_gets_bare_numbers(model, rows) -> None:
    model.fit(X, Y)
    np.testing.assert_array_equal(predicted(Member.sklearn(model), rows_of(rows)), model.predict_proba(X))


def test_texts_of_one_column() -> None:
    texts = ["oak and wine", "cold cellar", "wine", "cellar"] * 3
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["w", "c", "w", "c"] * 3)
    rows = rows_of({"text": [*texts[:2], None], "other": [1, 2, 3]})
    answered = ask(Member.sklearn(model, reads="text", embed=True), rows, ("c", "w"), "classification", embed=True)
    assert answered.mask.tolist() == [True, True, False]
    np.testing.assert_array_equal(answered.P[:2], model.predict_proba(texts[:2]))
    assert answered.embeddings is not None
    np.testing.assert_array_equal(answered.embeddings[:2], model[:-1].transform(texts[:2]).toarray())


def test_embeddings_of_a_transformer_alone() -> None:
    scaler = StandardScaler().fit(X)
    member = Member.sklearn(scaler, output="embeddings")
    made = ask_all([member], ROWS, ABC, "classification")
    np.testing.assert_array_equal(made.embeddings["standardscaler"], scaler.transform(X))
    with pytest.raises(UsageError, match="has no `transform`"):
        Member.sklearn(GaussianNB().fit(X, Y), embed=True)


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), {}),
        (lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, min_child_samples=2, n_jobs=1), {}),
        (xgboost.XGBClassifier(n_estimators=3, n_jobs=1), {"classes": ABC}),
    ],
    ids=["pipeline", "lightgbm", "xgboost"],
)
def test_trained_anew_on_other_rows(model, more) -> None:
    member = Member.sklearn(model.fit(X, NUMBERS if more else Y), **more)
    assert member.refit is not None
    before = predicted(member)
    fresh = member.refit(X[:60], Y[:60])
    np.testing.assert_array_equal(predicted(member), before), "the first is left alone"
    from sklearn.base import clone

    alone = clone(model).fit(X[:60], NUMBERS[:60] if more else Y[:60])
    np.testing.assert_allclose(predicted(fresh), alone.predict_proba(X), atol=1e-6)
    assert fresh.name == member.name


@pytest.mark.parametrize(
    ("model", "more"),
    [(LogisticRegression(), {}), (xgboost.XGBClassifier(n_estimators=3, n_jobs=1), {"classes": ABC})],
    ids=["named", "numbered"],
)
def test_a_class_that_a_fold_lacks_gets_nothing_and_is_noted(model, more) -> None:
    member = Member.sklearn(model.fit(X, NUMBERS if more else Y), **more)
    assert member.refit is not None
    there = Y != "b"
    fresh = member.refit(X[there], Y[there])
    assert fresh.classes == ("a", "c")
    assert (predicted(fresh)[:, 1] == 0).all()
    assert "was trained on rows without 'b'" in fresh.notes[0]
    accuracy = (np.array(ABC)[predicted(fresh).argmax(axis=1)] == Y)[there].mean()
    assert accuracy > 0.8, "numbers stand for the right names"


def test_trained_anew_on_the_ensembles_names() -> None:
    member = Member.sklearn(LogisticRegression().fit(X, Y), label_map={"a": "A"})
    assert member.refit is not None
    fresh = member.refit(X, np.where(Y == "a", "A", Y).astype(object))
    assert fresh.classes == ("A", "b", "c")
    np.testing.assert_allclose(predicted(fresh, classes=("A", "b", "c")), predicted(member, classes=("A", "b", "c")))


def test_what_was_fitted_once_and_for_all_is_not_trained_anew() -> None:
    fitted = LogisticRegression().fit(X, Y)
    assert Member.sklearn(FrozenEstimator(fitted)).refit is None
    assert Member.sklearn(make_pipeline(StandardScaler(), FrozenEstimator(fitted)).fit(X, Y)).refit is None


def test_a_model_that_fails_is_named() -> None:
    member = Member.sklearn(LogisticRegression().fit(X, Y), name="lr")
    with pytest.raises(InputError, match="the member 'lr' failed on 2 rows: ValueError: X has 3 features") as caught:
        predicted(member, rows_of(np.zeros((2, 3))))
    assert caught.value.code == "member-failed"


def test_labels_of_other_types_keep_them() -> None:
    member = Member.sklearn(DummyClassifier().fit(X, Y == "a"))
    assert member.classes == (False, True)
    assert Member.sklearn(DummyClassifier().fit(X, NUMBERS)).classes == (0, 1, 2)
