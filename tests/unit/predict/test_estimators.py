"""`EnsembleClassifier` and `EnsembleRegressor` are true estimators, and do what they say."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification, make_regression
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier, VotingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.estimator_checks import check_estimator

from cuvee.errors import UsageError
from cuvee.judging.metrics import score_of
from cuvee.predict import EnsembleClassifier, EnsembleRegressor, Soft, family_leaderboard, meta_learners
from cuvee.predict.estimators.families import PRESETS
from tests.support.tiny_combiner import Shares

X, NUMBERS = make_classification(120, 6, n_informative=4, n_classes=3, random_state=0)
Y = np.array(["ant", "bee", "cat"])[NUMBERS]
XR, YR = make_regression(120, 6, noise=5, random_state=0)


def named() -> list[tuple[str, Any]]:
    return [("linear", LogisticRegression()), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))]


def named_regressors() -> list[tuple[str, Any]]:
    return [("linear", Ridge()), ("tree", DecisionTreeRegressor(max_depth=3, random_state=0))]


def failed(estimator: Any) -> list[str]:
    """The checks of scikit-learn that an estimator fails; only the one that needs another array library is skipped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks provoke those of the members
        found = check_estimator(estimator, on_skip=None, on_fail=None)
    assert [one["check_name"] for one in found if one["status"] == "skipped"] in ([], ["check_array_api_input"])
    assert Counter(one["status"] for one in found)["passed"] > 45
    return [f"{one['check_name']}: {one['exception']!r}" for one in found if one["status"] == "failed"]


@pytest.mark.parametrize(
    "estimator",
    [
        EnsembleClassifier([named()[1]], combiner="soft"),
        pytest.param(EnsembleClassifier([named()[1]], combiner=Shares(), cv=2), marks=pytest.mark.slow),
        pytest.param(
            EnsembleRegressor([named_regressors()[0]], combiner=Shares(), cv=2, keep="folds"), marks=pytest.mark.slow
        ),
    ],
    ids=["soft", "learned", "folds"],
)
def test_scikit_learn_finds_no_fault(estimator: Any) -> None:
    assert failed(estimator) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", [EnsembleClassifier, EnsembleRegressor])
@pytest.mark.parametrize("combiner", ["greedy", "stack"])
def test_scikit_learn_finds_no_fault_in_the_usual_ones(kind: Any, combiner: str) -> None:
    assert failed(kind(combiner=combiner)) == []


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["refit", "folds"])
@pytest.mark.parametrize("combiner", ["greedy", "stack", "weighted", "median"])
@pytest.mark.parametrize("kind", [EnsembleClassifier, EnsembleRegressor])
def test_scikit_learn_finds_no_fault_with_other_combiners(kind: Any, combiner: str, keep: str) -> None:
    members = named() if kind is EnsembleClassifier else named_regressors()
    assert failed(kind(members, combiner=combiner, keep=keep, cv=3)) == []


OF_CLASSES = ("hard", "product", "rank-mean", "knora-e", "knora-u", "ola", "des-p")


@pytest.mark.parametrize(
    "name", ["soft", "weighted", "greedy", "stack", "median", "trimmed-mean", "maximum", "minimum", *OF_CLASSES]
)
def test_every_combiner_is_known_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_learners, "STRENGTHS", (1.0,))  # a choice among five takes its time
    made = EnsembleClassifier(named(), combiner=name, cv=3, random_state=0).fit(X, Y)
    np.testing.assert_allclose(made.predict_proba(X).sum(axis=1), 1)
    assert made.score(X, Y) > 0.6
    regressor = EnsembleRegressor(named_regressors(), combiner=name, cv=3, random_state=0)
    if name in OF_CLASSES:
        with pytest.raises(ValueError, match="regression"):
            regressor.fit(XR, YR)
    else:
        assert regressor.fit(XR, YR).score(XR, YR) > 0.6


def test_greedy_selection_is_the_usual_one_and_leaves_out_who_adds_nothing() -> None:
    junk = [*named(), ("junk", DummyClassifier(strategy="uniform", random_state=0))]
    made = EnsembleClassifier(junk, random_state=0).fit(X, Y)
    assert dict(zip(made.names_, made.combiner_.weights))["junk"] == 0
    best = min(score_of(made.bank_.answers(name), "log_loss").value for name in made.names_)
    assert made.combiner_.about["fit_score"] <= best


def test_a_soft_vote_is_scikit_learns() -> None:
    ours = EnsembleClassifier(named(), combiner="soft").fit(X, Y)
    peer = VotingClassifier(named(), voting="soft").fit(X, Y)
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X))
    assert ours.predict(X).tolist() == peer.predict(X).tolist()
    assert ours.classes_.tolist() == ["ant", "bee", "cat"]
    assert len(ours.bank_) == 0
    mean = VotingRegressor(named_regressors()).fit(XR, YR)
    np.testing.assert_allclose(
        EnsembleRegressor(named_regressors(), combiner=Soft()).fit(XR, YR).predict(XR), mean.predict(XR)
    )


def test_the_combiner_is_fitted_on_predictions_of_rows_that_were_not_seen() -> None:
    noisy = np.where(np.random.default_rng(0).random(120) < 0.4, np.roll(Y, 1), Y)
    made = EnsembleClassifier([("near", KNeighborsClassifier(1))], combiner=Shares(), random_state=0).fit(X, noisy)
    assert made.bank_.provenance == ("out-of-fold",)
    assert made.bank_.classes == ("ant", "bee", "cat")
    known = np.mean(made.bank_.P[0].argmax(axis=1) == made.bank_.truth)
    assert known < 0.7 < made.score(X, noisy) == 1
    assert made.bank_.features is not None
    np.testing.assert_array_equal(made.bank_.features, X)


def test_members_are_trained_again_on_all_rows_or_their_folds_are_kept() -> None:
    refit = EnsembleClassifier(named()[:1], combiner=Shares()).fit(X, Y)
    np.testing.assert_allclose(refit.predict_proba(X), LogisticRegression().fit(X, Y).predict_proba(X))
    pairs = [(np.arange(60, 120), np.arange(60)), (np.arange(60), np.arange(60, 120))]
    folds = EnsembleClassifier(named()[:1], combiner=Shares(), keep="folds", cv=pairs).fit(X, Y)
    several = [LogisticRegression().fit(X[train], Y[train]).predict_proba(X) for train, _ in pairs]
    np.testing.assert_allclose(folds.predict_proba(X), np.mean(several, axis=0))
    assert [len(models) for models in folds.estimators_] == [2]


def test_a_class_that_a_fold_has_not_seen_keeps_its_place() -> None:
    rare = np.array([*Y[:118], "aaa", "aaa"])
    pairs = [(np.arange(118), np.arange(118, 120)), (np.arange(20, 120), np.arange(20))]
    made = EnsembleClassifier(named()[:1], combiner=Shares(), keep="folds", cv=pairs).fit(X, rare)
    found = made.predict_proba(X)
    without, whole = (LogisticRegression().fit(X[train], rare[train]).predict_proba(X) for train, _ in pairs)
    np.testing.assert_allclose(found, (np.pad(without, ((0, 0), (1, 0))) + whole) / 2)
    assert any("no row of 0 to learn from" in note for note in made.notes_)


def test_parameters_of_members_are_reached_and_clones_are_equal() -> None:
    made = EnsembleClassifier(named(), combiner=Shares())
    assert made.get_params()["linear__C"] == 1
    made.set_params(linear__C=2.0, cv=3, tree="drop")
    copied = clone(made)
    assert copied.get_params()["linear__C"] == 2
    assert (copied.cv, copied.combiner) == (3, Shares())
    fitted = copied.fit(X, Y)
    assert list(fitted.named_estimators_) == ["linear"]
    assert fitted.named_estimators_["linear"].C == 2
    assert clone(EnsembleClassifier()).get_params()["estimators"] is None


def test_a_grid_is_searched() -> None:
    grid = GridSearchCV(EnsembleClassifier(named(), combiner="soft"), {"tree__max_depth": [1, 3], "cv": [2]}, cv=2)
    assert set(grid.fit(X, Y).best_params_) == {"tree__max_depth", "cv"}


def test_data_frames_stay_what_they_are() -> None:
    frame = pd.DataFrame({"n": X[:, 0], "m": X[:, 1], "colour": np.where(X[:, 2] > 0, "red", "blue")})
    columns = make_column_transformer((OneHotEncoder(), ["colour"]), (StandardScaler(), ["n", "m"]))
    made = EnsembleClassifier([("piped", make_pipeline(columns, LogisticRegression()))], combiner=Shares()).fit(
        frame, Y
    )
    assert made.feature_names_in_.tolist() == ["n", "m", "colour"]
    assert made.n_features_in_ == 3
    assert made.score(frame, Y) > 0.5
    with pytest.raises(ValueError, match="feature names"):
        made.predict(frame.rename(columns={"n": "k"}))


def test_texts_are_learned_from() -> None:
    texts = [f"a {label} walks" for label in Y]
    made = EnsembleClassifier([("words", make_pipeline(CountVectorizer(), LogisticRegression()))], combiner=Shares())
    assert made.fit(texts, Y).predict(["the bee"]).tolist() == ["bee"]


def test_sparse_rows_are_taken_where_all_members_take_them() -> None:
    made = EnsembleClassifier(named(), combiner=Shares(), random_state=0)
    found = made.fit(scipy.sparse.coo_matrix(X), Y).predict_proba(scipy.sparse.csr_matrix(X))
    np.testing.assert_allclose(found, clone(made).fit(X, Y).predict_proba(X), atol=1e-6)
    dense_only = EnsembleClassifier([("boosted", HistGradientBoostingClassifier(max_iter=2))], combiner="soft")
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        dense_only.fit(scipy.sparse.csr_matrix(X), Y)


def test_gaps_are_taken_where_all_members_take_them() -> None:
    gaps = X.copy()
    gaps[3, 2] = np.nan
    boosted = ("boosted", HistGradientBoostingClassifier(max_iter=3))
    assert EnsembleClassifier([boosted], combiner=Shares(), cv=2).fit(gaps, Y).predict(gaps).shape == (120,)
    with pytest.raises(ValueError, match="NaN"):
        EnsembleClassifier([boosted, named()[0]], combiner=Shares(), cv=2).fit(gaps, Y)


def test_weights_reach_the_members_that_take_them() -> None:
    weights = np.random.default_rng(0).random(120) * 3
    members = [("linear", make_pipeline(StandardScaler(), LogisticRegression())), ("near", KNeighborsClassifier())]
    made = EnsembleClassifier(members, combiner=Shares()).fit(X, Y, sample_weight=weights)
    alone = clone(members[0][1]).fit(X, Y, logisticregression__sample_weight=weights)
    np.testing.assert_allclose(made.named_estimators_["linear"].predict_proba(X), alone.predict_proba(X))
    half = np.arange(120) < 60
    weighted = EnsembleRegressor([("linear", Ridge())], combiner="soft").fit(XR, YR, sample_weight=half.astype(float))
    np.testing.assert_allclose(weighted.predict(XR), Ridge().fit(XR[half], YR[half]).predict(XR))


def test_rows_of_no_weight_are_no_rows() -> None:
    """Nearest neighbours know no weights and would learn from them."""
    half = np.arange(120) < 60
    near = EnsembleClassifier([("near", KNeighborsClassifier())], combiner=Shares(), random_state=0)
    found = near.fit(X, Y, sample_weight=half.astype(float)).predict_proba(X)
    np.testing.assert_allclose(found, KNeighborsClassifier().fit(X[half], Y[half]).predict_proba(X))
    with pytest.raises(ValueError, match="found 1 class: 'bee'"):
        near.fit(X, Y, sample_weight=(Y == "bee").astype(float))
    with pytest.raises(ValueError, match="zero"):
        near.fit(X, Y, sample_weight=np.zeros(120))


def test_weights_are_routed() -> None:
    shown = []

    class Telling(LogisticRegression):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            shown.append(sample_weight)
            return super().fit(X, y, sample_weight)

    with sklearn.config_context(enable_metadata_routing=True):
        made = EnsembleClassifier([("telling", Telling())], combiner="soft")
        made.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        cross_validate(made, X, Y, cv=2, params={"sample_weight": np.arange(1.0, 121)})
    assert sorted(np.concatenate(shown).tolist()) == list(range(1, 121))


def test_the_seed_is_kept() -> None:
    random = [("tree", DecisionTreeClassifier(max_features=2)), ("linear", LogisticRegression())]
    one, two, other = (EnsembleClassifier(random, combiner=Shares(), random_state=seed).fit(X, Y) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    assert (one.predict_proba(X) != other.predict_proba(X)).any()
    assert random[0][1].random_state is None


WRONG = {
    "none": (EnsembleClassifier([]), "needs estimators"),
    "all dropped": (EnsembleClassifier([("a", "drop")]), "needs estimators"),
    "a regressor": (EnsembleClassifier([("r", Ridge()), named()[0]]), "'r' is no classifier"),
    "no probabilities": (EnsembleClassifier([("svm", LinearSVC())]), "'svm' gives no probabilities (wrap it in Calib"),
    "names twice": (EnsembleClassifier([named()[0]] * 2), "not unique"),
    "name of a parameter": (EnsembleClassifier([("cv", LogisticRegression())]), "conflict with constructor arguments"),
    "combiner": (EnsembleClassifier(named(), combiner="softt"), "did you mean `soft`?"),
    "keep": (EnsembleClassifier(named(), combiner="soft", keep="both"), "`keep` must be refit or folds; found 'both'"),
    "family": (EnsembleClassifier(family="magged", combiner="soft"), "did you mean `bagged`?"),
    "cv": (EnsembleClassifier(named(), combiner=Shares(), cv="weekly"), "`cv` must be a number of folds"),
    "fewest": (EnsembleClassifier(named(), combiner=Shares(), fewest=1000), "at least 1000 rows of each class"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_a_value_error_with_its_reason(name: str) -> None:
    estimator, words = WRONG[name]
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are looked at below
        estimator.fit(X, Y)
    assert words in str(caught.value)


def test_other_wrong_calls() -> None:
    with pytest.raises(TypeError, match="found weights"):
        EnsembleClassifier(named(), combiner="soft").fit(X, Y, weights=np.ones(120))
    with pytest.raises(ValueError, match="at least 2 classes; found 1 class: 'ant'"):
        EnsembleClassifier(named(), combiner="soft").fit(X, np.full(120, "ant"))
    with pytest.raises(ValueError, match="'tree' is no regressor"):
        EnsembleRegressor([named()[1]], combiner="soft").fit(XR, YR)
    with pytest.raises(NotFittedError):
        EnsembleClassifier(named()).predict(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        EnsembleClassifier(named(), combiner="soft").fit(X, Y[:-1])
    with pytest.raises(TypeError, match="class instead"):
        EnsembleClassifier([("a", LogisticRegression)], combiner="soft").fit(X, Y)


def test_an_error_of_a_member_is_raised_as_it_was() -> None:
    class Stubborn(LogisticRegression):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            raise ValueError("I will not")

    with pytest.raises(ValueError, match=r"^I will not$"):
        EnsembleClassifier([("stubborn", Stubborn())], combiner=Shares()).fit(X, Y)


def test_presets() -> None:
    assert set(PRESETS) == {"bagged", "boosted", "voted", "stacked", "blended"}
    made = EnsembleClassifier.of("bagged", random_state=3)
    assert (made.family, made.combiner, made.random_state) == ("bagged", "soft", 3)
    assert [name for name, _ in made._chosen()] == ["rows", "rows_and_columns"]
    assert [name for name, _ in EnsembleRegressor.of("boosted")._chosen()] == ["histogram", "lightgbm"]
    with pytest.raises(ValueError, match="one of bagged, boosted, voted, stacked, blended; found 'bag'"):
        EnsembleClassifier.of("bag")


def test_lightgbm_is_left_out_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cuvee.predict.estimators.families.has_lightgbm", lambda: False)
    assert [name for name, _ in EnsembleClassifier(family="boosted")._chosen()] == ["histogram"]


def test_families_stand_in_one_table_by_the_honest_estimate() -> None:
    noise = np.random.default_rng(0).normal(size=(80, 5))
    coin = np.random.default_rng(1).integers(0, 2, 80)
    others = {
        "voted": EnsembleClassifier(named(), combiner="soft"),
        "shares": EnsembleClassifier(named(), combiner=Shares(), cv=2),
        "memory": DecisionTreeClassifier(random_state=0),
    }
    table = family_leaderboard(noise, coin, presets=(), others=others, singles=False, cv=2)
    assert {row.name for row in table.rows} == set(others)
    assert table.rows[-1].name == "memory"  # right on all rows that it has seen, and by far the worst
    assert all(abs(row.scores["accuracy"].value - 0.5) < 0.15 for row in table.rows)
    assert table.rows[0].behind is None
    assert table.rows[-1].behind is not None
    assert table.rows[-1].behind.verdict == "better"
    losses = [row.scores["log_loss"].value for row in table.rows]
    assert losses == sorted(losses)
    first, *lines = table.text.splitlines()
    assert first.split() == ["log_loss", "accuracy", "behind", "fit", "s", "us/row"]
    assert len(lines) == 3
    assert len({len(line) for line in (first, *lines)}) == 1


def test_a_table_of_regressions_and_single_members() -> None:
    table = family_leaderboard(
        XR[:, :4],
        YR,
        task="regression",
        presets=(),
        others={"near": KNeighborsRegressor()},
        singles=False,
        metrics=["r2"],
        cv=2,
    )
    assert list(table.rows[0].scores) == ["r2"]
    with pytest.raises(UsageError, match="found 'bagg'"):
        family_leaderboard(X, Y, presets=["bagg"])


@pytest.mark.slow
def test_the_presets_stand_in_one_table() -> None:
    table = family_leaderboard(X, Y, cv=2, inner=2)
    names = {row.name for row in table.rows}
    assert names == {
        *PRESETS,
        *(f"single: {n}" for n in ("linear", "neighbours", "forest", "boosted")),
    }
