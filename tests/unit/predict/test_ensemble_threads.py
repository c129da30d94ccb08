"""An answer comes from one version, whatever is changed meanwhile; changes wait for each other."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cuvee.predict import Ensemble, rows_of
from cuvee.predict.asking_all import Asking, Prediction, answered
from cuvee.predict.versions import Versions
from tests.support.live_ensembles import CLASSES, banked, saying, task, three

X, _ = task(20, seed=1)


def asked_while(ensemble: Ensemble, change: Callable[[], None]) -> list[Prediction]:
    """What three threads are answered while another changes the ensemble."""
    done, found = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            found.append(ensemble.answer(X))

    with ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(ask) for _ in range(3)]
        try:
            change()
        finally:
            done.set()
        for one in askers:
            one.result()
    return found


def test_no_answer_mixes_versions() -> None:
    ensemble = three(keep=1000)
    ensemble.fit_combiner("greedy", banked(ensemble, 60), calibrate="temperature")
    first = ensemble.state.number

    def change() -> None:
        for number in range(6):
            ensemble.add(saying("new", 2.0 + number), weight=0.3)
            ensemble.remove("new")
            ensemble.rollback(first)

    found = asked_while(ensemble, change)
    versions = {state.number: state for state in ensemble.history}
    assert len({one.version for one in found}) > 3
    for one in found:
        wanted = answered(versions[one.version], rows_of(X), Asking(CLASSES, "classification"))
        np.testing.assert_array_equal(one.P, wanted.P)


def test_changes_wait_for_each_other() -> None:
    ensemble = three(keep=1000)

    def add(worker: int) -> None:
        for number in range(10):
            ensemble.add(saying(f"w{worker}-{number}", 1.0))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    assert len(ensemble.members) == 43
    assert [state.number for state in ensemble.history] == list(range(44))


def test_a_refused_change_changes_nothing_and_frees_the_lock() -> None:
    ensemble = three()
    before = ensemble.state
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: ensemble.remove("nobody")).exception() is not None
    assert ensemble.state is before
    ensemble.remove("bad")
    assert ensemble.state.names == ("good", "tilted")


def test_versions_can_be_pickled_without_their_lock() -> None:
    versions = Versions(Ensemble(classes=CLASSES).state)
    again = pickle.loads(pickle.dumps(versions))
    again.change(lambda state: state)
    assert [state.number for state in again.all] == [0, 1]
