"""Classes that a member leaves to the others are said by the same members when it is asked as when it was fitted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from cuvee.combine import fill_unknown
from cuvee.errors import InputError
from cuvee.predict import Cascade, Cost, Ensemble, Member, Soft, cross_fit
from cuvee.predict.applying import applied

CLASSES = ("a", "b", "c")
X, NUMBERS = make_classification(240, 6, n_informative=4, n_classes=3, random_state=4)
Y = np.array(CLASSES)[NUMBERS]
SEEN, NEW = slice(0, 120), slice(120, 240)
COSTS = {"two": 20.0, "tree": 5.0, "bayes": 50.0}


def member(name: str, model: Any, rows: Any = None, **more: Any) -> Member:
    at = np.flatnonzero(Y[SEEN] != "") if rows is None else np.flatnonzero(rows)
    return Member.sklearn(model.fit(X[SEEN][at], Y[SEEN][at]), name=name, **more)


def members() -> list[Member]:
    two = member("two", LogisticRegression(), Y[SEEN] != "c", missing="mask")
    return [two, member("tree", DecisionTreeClassifier(max_depth=3, random_state=0)), member("bayes", GaussianNB())]


def ensemble() -> Ensemble:
    made = Ensemble(classes=CLASSES)
    for one in members():
        made.add(one)
    return made


@pytest.mark.parametrize(
    ("combiner", "asked"),
    [
        (Soft(weights=[1, 1, 0]), {"two", "tree", "bayes"}),
        (Soft(weights=[1, 0, 0]), {"two", "tree", "bayes"}),
        (Soft(weights=[0, 1, 0]), {"tree"}),
        (Cascade(costs=COSTS, target_cost=20.0), {"two", "tree", "bayes"}),
    ],
    ids=["one weighs nothing", "it alone counts", "it does not count", "cascade"],
)
def test_it_answers_as_it_did_when_it_was_fitted(combiner: Any, asked: set[str]) -> None:
    ens = ensemble()
    bank = ens.predictions(X[NEW], Y[NEW])
    ens.fit_combiner(combiner, bank)
    found = ens.answer(X[NEW])
    np.testing.assert_array_equal(found.P, applied(ens.state.fitted, bank))
    assert set(found.asked) == asked
    assert bool(ens.state.notes) == ("two" in ens.state.fitted.used)


def test_a_budget_that_those_asked_besides_would_break_is_refused() -> None:
    ens = Ensemble(classes=CLASSES)
    for one in members():
        ens.add(replace(one, cost=Cost(us_per_row=COSTS[one.name], batch=10)))
    bank = ens.predictions(X[NEW], Y[NEW])
    ens.fit_combiner(Soft(), bank, budget={"us_per_row": 5.0})
    assert ens.answer(X[NEW]).asked == ("tree",)
    with pytest.raises(InputError, match="bayes must be asked too") as caught:
        ens.fit_combiner(Soft(), bank, budget={"us_per_row": 25.0})
    assert caught.value.code == "over-budget"
    assert ens.answer(X[NEW]).asked == ("tree",)


def test_in_a_bank_of_cross_fitting_they_are_said_by_the_others() -> None:
    two, tree, bayes = members()
    found = cross_fit([two, tree, bayes], X[NEW], Y[NEW], classes=CLASSES, held_out=["two"], fewest=0).bank
    own = two.thing.predict_proba(X[NEW])
    theirs = found.P[1:, :, 2].mean(axis=0)
    np.testing.assert_allclose(found.P[0, :, 2], theirs, atol=1e-12)
    np.testing.assert_allclose(found.P[0, :, :2], own * (1 - theirs)[:, None], atol=1e-12)


@pytest.mark.parametrize("repeated", [False, True])
def test_models_of_folds_without_a_class_leave_it_to_the_others(repeated: bool) -> None:
    """A member that leaves classes to others, trained on rows without `c`: of those rows the others say it."""
    order = np.argsort(Y == "c", kind="stable")
    rows, right = X[order], Y[order]
    early, late = np.arange(100), np.arange(100, 240)
    folds = [(early, late), (late, early)] + ([(np.arange(0, 240, 2), np.arange(1, 240, 2))] if repeated else [])
    left = Member.sklearn(GaussianNB().fit(X, Y), name="left", missing="mask")
    other = member("tree", DecisionTreeClassifier(max_depth=3, random_state=0))
    found = cross_fit([left, other], rows, right, cv=folds, fewest=0, keep="folds", held_out=["tree"])
    P = found.bank.P
    assert np.isfinite(P).all()
    np.testing.assert_allclose(P.sum(axis=2), 1.0, atol=1e-9)
    np.testing.assert_array_equal(P[0, late, 2], P[1, late, 2])
    assert np.unique(P[0, late, 2]).size > 2
    kept = found.members[0].ask(X[:4])
    assert kept.shape == (4, 3)
    assert np.isfinite(kept).all()


def test_what_is_known_may_differ_from_row_to_row() -> None:
    P = np.array([[[0.6, 0.4, np.nan], [0.5, 0.3, 0.2]], [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]])
    known = np.isfinite(P)
    found = fill_unknown(P, np.ones((2, 2), bool), known, np.array([True, False]))
    np.testing.assert_allclose(found[0], [[0.3, 0.2, 0.5], [0.5, 0.3, 0.2]], atol=1e-15)


def test_a_newcomer_speaks_of_classes_that_others_left_before() -> None:
    two, tree, bayes = members()
    ens = Ensemble(classes=CLASSES)
    for one in (two, tree):
        ens.add(one)
    ens.fit_combiner(Soft(), ens.predictions(X[NEW], Y[NEW]))
    ens.add(bayes, data=(X[NEW], Y[NEW]))
    np.testing.assert_array_equal(ens.answer(X[NEW]).P, applied(ens.state.fitted, ens.state.bank))
