"""What an ensemble costs over its members: 8 of them, 10 000 rows."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

from cuvee.predict import Ensemble, Member


def least(call: Callable[[], object], times: int = 7) -> float:
    """Processor seconds of the fastest of several calls."""
    call()
    spent = []
    for _ in range(times):
        begin = time.process_time()
        call()
        spent.append(time.process_time() - begin)
    return min(spent)


@pytest.mark.slow
def test_an_ensemble_costs_no_more_than_a_twentieth_over_its_members() -> None:
    X, y = make_classification(12_000, 20, n_informative=10, n_classes=5, random_state=0)
    models = [
        LogisticRegression(max_iter=500),
        RandomForestClassifier(50, random_state=0),
        KNeighborsClassifier(),
        GaussianNB(),
        MLPClassifier(max_iter=400, random_state=0, tol=1e-2),
        RandomForestClassifier(100, max_depth=8, random_state=1),
        HistGradientBoostingClassifier(max_iter=30, random_state=0),
        LogisticRegression(C=0.1, max_iter=500),
    ]
    ensemble = Ensemble(classes=[0, 1, 2, 3, 4])
    for number, model in enumerate(models):
        ensemble.add(Member.sklearn(model.fit(X[:2000], y[:2000]), name=f"m{number}"))
    rows = X[2000:]
    members = least(lambda: [model.predict_proba(rows) for model in models])
    assert least(lambda: ensemble.predict_proba(rows)) <= 1.05 * members
