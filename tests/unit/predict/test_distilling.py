"""One model that says what an ensemble says, trained in four ways, and what was lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from cuvee.errors import CuveeError
from cuvee.predict import Ensemble, Member
from cuvee.predict.distilling import copies_of, logits_of
from tests.support.live_ensembles import CLASSES, Array, task

X, Y = task(400, seed=3, noise=0.5)


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    """Trained members of three families."""
    rows, labels = task(300, seed=0, noise=0.5)
    made = Ensemble(classes=CLASSES)
    for name, model in {
        "lr": LogisticRegression(),
        "forest": RandomForestClassifier(20, random_state=0),
        "nb": GaussianNB(),
    }.items():
        made.add(Member.sklearn(model.fit(rows, labels), name=name))
    return made


@pytest.mark.parametrize(
    ("student", "way"),
    [
        (DecisionTreeClassifier(max_depth=6, random_state=0), "weighted rows"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "weighted rows"),
        (KNeighborsClassifier(9), "each row 5 times"),
        (Ridge(), "logits"),
        (lambda rows, P: LogisticRegression().fit(rows, np.array(CLASSES)[P.argmax(axis=1)]), "function"),
    ],
)
def test_students_of_every_kind(ensemble: Ensemble, student: Any, way: str) -> None:
    found = ensemble.distill(student, X, Y)
    assert found.way == way
    assert (found.trained_rows, found.held_out) == (320, 80)
    assert found.agreement.value > 0.8
    assert found.lost is not None
    assert found.score is not None
    assert found.teacher is not None
    assert found.lost.value == pytest.approx(found.teacher.value - found.score.value, abs=1e-12)
    assert found.lost.low < found.lost.value < found.lost.high
    assert found.divergence.value > 0
    single = Ensemble(classes=CLASSES)
    single.add(found.student)
    assert np.mean(single.predict(X) == ensemble.predict(X)) > 0.8
    assert found.as_row()["lost"] == -found.lost.value


def test_the_student_given_is_left_as_it_was(ensemble: Ensemble) -> None:
    student = DecisionTreeClassifier(max_depth=3)
    ensemble.distill(student, X)
    assert not hasattr(student, "tree_")


def test_without_right_answers_only_likeness_is_told(ensemble: Ensemble) -> None:
    found = ensemble.distill(Ridge(), X)
    assert (found.lost, found.score, found.teacher) == (None, None, None)
    assert "lost" not in found.as_row()


def test_soft_labels_teach_more_than_hard_ones(ensemble: Ensemble) -> None:
    def hard(rows: Array, P: Array) -> Any:
        return LogisticRegression(C=100.0).fit(rows, np.array(CLASSES)[P.argmax(axis=1)])

    soft = ensemble.distill(LogisticRegression(C=100.0), X)
    assert soft.divergence.value < ensemble.distill(hard, X).divergence.value


def test_regressions() -> None:
    made = Ensemble(task="regression")
    made.add(Member("near", "callable", lambda rows: rows[:, 0] + rows[:, 1] ** 2, "values"))
    found = made.distill(Ridge(), X, X[:, 0])
    assert found.way == "values"
    assert found.metric == "rmse"
    assert found.agreement.value > 0.5
    assert found.lost is not None


def test_copies_stand_in_proportion() -> None:
    row, column = copies_of(np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0], [0.1, 0.1, 0.8]]), times=10)
    counts = np.zeros((3, 3), dtype=int)
    np.add.at(counts, (row, column), 1)
    assert counts.tolist() == [[5, 3, 2], [10, 0, 0], [1, 1, 8]]


def test_logits_give_the_probabilities_again() -> None:
    P = np.array([[0.5, 0.3, 0.2], [0.9, 0.05, 0.05]])
    powers = np.exp(logits_of(P))
    np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), P)
    np.testing.assert_allclose(logits_of(P).sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("student", "settings", "words"),
    [
        (3, {}, "a student has `fit`"),
        (Ridge(), {"held_out": 1.0}, "between 0 and 1"),
        (Ridge(), {"held_out": 0.001}, "two to judge by"),
        (lambda rows, P: 5, {}, "`predict_proba`, or a function"),
    ],
)
def test_students_that_cannot_be(ensemble: Ensemble, student: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(CuveeError) as told:
        ensemble.distill(student, X, **settings)
    assert words in str(told.value)
