"""What is saved comes back: the same answers to the last bit, labels of the same types, arrays of the same bytes."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from cuvee.predict import Bank, Cost, Ensemble, Member, Stack, meta_learners
from cuvee.predict.combiners import COMBINERS
from cuvee.predict.saving.form import read_form
from cuvee.predict.state import State
from tests.support.ensembles import CLASSES, SOME, X, Y, by_length, function, of, small

NUMBERS = np.unique(Y, return_inverse=True)[1]


def lightgbm() -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=3, num_leaves=4, n_jobs=1, verbose=-1)


def xgboost() -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=3, max_depth=2, n_jobs=1)


MODELS = {
    "logistic": lambda: LogisticRegression(max_iter=500),
    "forest": lambda: RandomForestClassifier(5, random_state=0),
    "boosted": lambda: HistGradientBoostingClassifier(max_iter=3),
    "neighbours": lambda: KNeighborsClassifier(5),
    "svc": lambda: CalibratedClassifierCV(SVC(), ensemble=False),
    "mlp": lambda: make_pipeline(StandardScaler(), MLPClassifier((4,), solver="lbfgs", max_iter=500, random_state=0)),
    "lightgbm": lightgbm,
}


def came_back(ensemble: Ensemble, path: Path, rows: Any, **options: Any) -> Ensemble:
    ensemble.save(path, rows=rows)
    found = Ensemble.load(path, **options)
    assert np.array_equal(found.predict_proba(rows), ensemble.predict_proba(rows))
    assert found.classes == ensemble.classes
    assert [type(label) for label in found.classes] == [type(label) for label in ensemble.classes]
    return found


def test_stock_estimators_need_no_trust_and_answer_as_before(tmp_path: Path) -> None:
    ensemble = of(*(Member.sklearn(make().fit(X, Y), name=name) for name, make in MODELS.items()))
    found = came_back(ensemble, tmp_path / "all", X)
    for one, other in zip(found.members, ensemble.members, strict=True):
        assert np.array_equal(one.ask(X), other.ask(X)), one.name
        assert (one.name, one.kind, one.output, one.classes) == (other.name, other.kind, other.output, other.classes)
    assert not [note for note in found.state.notes if "golden" in note]


def test_xgboost_knows_only_numbers(tmp_path: Path) -> None:
    member = Member.sklearn(xgboost().fit(X, NUMBERS), name="xgb", label_map=dict(enumerate(CLASSES)))
    ensemble = of(member)
    [found] = came_back(ensemble, tmp_path / "xgb", X).members
    assert (found.label_map, found.classes) == (member.label_map, (0, 1, 2))
    assert [type(label) for label in found.classes] == [int, int, int]


def test_texts_through_a_pipeline(tmp_path: Path) -> None:
    texts = ["good wine", "bad wine", "fine and good", "bad, bad"] * 5
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [True, False] * 10)
    ensemble = of(Member.sklearn(model, name="tfidf", reads="text"), classes=[False, True])
    rows = {"text": texts[:3], "year": np.array([1999, 2001, 2020])}
    found = came_back(ensemble, tmp_path / "texts", rows)
    assert found.members[0].reads == "text"
    assert [type(label) for label in found.classes] == [bool, bool]
    assert found.predict(rows).tolist() == ensemble.predict(rows).tolist()


def test_several_columns_stay_a_tuple(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    model = LogisticRegression(max_iter=500).fit(frame[["a", "c"]], Y)
    ensemble = of(Member.sklearn(model, name="two", reads=("a", "c")))
    found = came_back(ensemble, tmp_path / "frame", frame.iloc[5:30])
    assert found.members[0].reads == ("a", "c")


@pytest.mark.parametrize("classes", [(0, 1, 2), (0.5, 1.5, 2.5), ("0", "1", "2"), ("ä", " ", "\n")])
def test_labels_keep_their_types(tmp_path: Path, classes: tuple[Any, ...]) -> None:
    ensemble = of(function(by_length, classes=classes), classes=classes)
    found = came_back(ensemble, tmp_path / "labels", SOME, trust=["rule"])
    assert found.predict(SOME).tolist() == ensemble.predict(SOME).tolist()


def test_a_regression_on_another_scale(tmp_path: Path) -> None:
    member = replace(Member.sklearn(Ridge().fit(X, np.log(X[:, 0])), name="log"), inverse=np.exp)
    ensemble = of(member, classes=(), task="regression")
    ensemble.save(tmp_path / "r", rows=SOME)
    found = Ensemble.load(tmp_path / "r")
    assert np.array_equal(found.predict(X), ensemble.predict(X))
    assert found.members[0].inverse is np.exp


def test_what_is_known_of_a_member_and_a_version(tmp_path: Path) -> None:
    from cuvee.predict.combiners import Linear, Soft

    cost = Cost(1.25, 100, None, 3, 2, "a processor")
    member = replace(small().members[0], cost=cost, notes=("a note",), missing="zero")
    bank = Bank(
        "classification",
        ("logistic",),
        CLASSES,
        P=np.array([[[0.2, 0.3, 0.5], [np.nan] * 3]]),
        mask=np.array([[True, False]]),
        ids=("first", "zwölf \ud800"),
        truth=np.array([2, 0]),
        provenance=("out-of-fold",),
        probable=(True,),
        embeddings={"logistic": np.ones((2, 4), np.float32)},
        features=np.arange(6.0).reshape(2, 3),
        notes=("of a test",),
    )
    fitted = Linear(("logistic",), np.array([1.0]), {"score": float("nan"), "best": float("-inf")})
    state = State(7, "fit", (member,), Soft(), fitted, bank, 1.7, ("n",))
    past = [{"number": 6, "what": "add"}, {"number": 7, "what": "fit"}]
    Ensemble.restored("classification", CLASSES, state, past).save(tmp_path / "e", rows=SOME)
    ensemble = Ensemble.load(tmp_path / "e")
    found = ensemble.state
    assert (found.number, found.what, found.temperature, found.notes) == (7, "fit", 1.7, ("n",))
    assert ensemble.past() == past
    assert found.members[0].cost == cost
    assert (found.members[0].notes, found.members[0].missing) == (("a note",), "zero")
    assert repr(found.fitted) == repr(fitted)
    assert found.bank is not None
    for name in ("P", "mask", "truth", "features"):
        one, other = getattr(found.bank, name), getattr(bank, name)
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
    assert found.bank.embeddings["logistic"].dtype == np.float32
    rest = ("task", "members", "classes", "ids", "provenance", "probable", "notes")
    assert [getattr(found.bank, name) for name in rest] == [getattr(bank, name) for name in rest]


def test_an_ensemble_in_an_ensemble(tmp_path: Path) -> None:
    inner = small()
    blend = Member("blend", "ensemble", inner.predict_proba, "probabilities", CLASSES, thing=inner)
    outer = of(blend, function(by_length))
    found = came_back(outer, tmp_path / "outer", SOME, trust=["tests.support.ensembles:by_length"])
    assert [member.name for member in found.members[0].thing.members] == ["logistic", "bayes"]


def test_an_ensemble_without_members(tmp_path: Path) -> None:
    Ensemble(classes=CLASSES).save(tmp_path / "none")
    found = Ensemble.load(tmp_path / "none")
    assert found.members == ()
    assert any("no golden rows were asked" in note for note in found.state.notes)


def test_saving_what_was_loaded_saves_the_same(tmp_path: Path) -> None:
    small().save(tmp_path / "one")
    Ensemble.load(tmp_path / "one").save(tmp_path / "two", rows=SOME[:8])
    one, other = (read_form(tmp_path / name) for name in ("one", "two"))
    assert one.files.keys() == other.files.keys()
    assert replace(one, files={}) == replace(other, files={})  # skops writes dates and addresses into its files
    arrays = "arrays.safetensors"
    assert one.files[arrays] == other.files[arrays]


def test_members_whose_names_are_no_file_names(tmp_path: Path) -> None:
    names = ["../../x", "X", "x", "ß/\x00", "CON", "."]
    found = came_back(of(*(replace(small().members[0], name=name) for name in names)), tmp_path / "e", SOME)
    assert [member.name for member in found.members] == names
    folders = sorted(path.name for path in (tmp_path / "e" / "members").iterdir())
    assert folders == ["con", "member", "member-2", "x", "x-2", "x-3"]


def test_another_version_is_noted_and_not_warned_of(tmp_path: Path) -> None:
    from tests.support.ensembles import reform

    small().save(tmp_path / "e")
    reform(tmp_path / "e", lambda said: said["members"][0]["libraries"].update(sklearn="1.5.0"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Ensemble.load(tmp_path / "e")
    import sklearn

    assert found.members[0].notes == (f"at loading: saved with scikit-learn 1.5.0, now {sklearn.__version__}",)
    found.save(tmp_path / "again")
    assert Ensemble.load(tmp_path / "again").members[0].notes == ()


@cache
def bank() -> Bank:
    """What `small` says of rows, with numbers of the rows."""
    return small().predictions(X[::3], Y[::3], provenance="hold-out")


SETTINGS: dict[str, dict[str, Any]] = {
    "cascade": {"costs": {"logistic": 1.0, "bayes": 2.5}},
    "stack": {"fewest": 10, "folds": 2},
}


@pytest.mark.parametrize("name", list(COMBINERS))
def test_every_combiner_comes_back(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_learners, "STRENGTHS", (1.0,))
    ensemble = small()
    ensemble.fit_combiner(COMBINERS.get(name)(**SETTINGS.get(name, {})), bank(), calibrate="temperature")
    found = came_back(ensemble, tmp_path / "e", SOME)
    one, other = found.state, ensemble.state
    assert one.combiner == other.combiner
    assert (one.temperature, one.manner, one.notes) == (other.temperature, other.manner, other.notes)
    assert one.fitted is not None
    assert other.fitted is not None
    assert np.array_equal(found.predict_proba(X), ensemble.predict_proba(X))
    assert one.fitted.used == other.fitted.used
    (said, arrays), (told, more) = one.fitted.told(), other.fitted.told()
    assert repr(said) == repr(told)
    assert {k: (v.dtype, v.tobytes()) for k, v in arrays.items()} == {
        k: (v.dtype, v.tobytes()) for k, v in more.items()
    }
    found.remove("bayes")  # fitted again on the bank that came back
    ensemble.remove("bayes")
    assert np.array_equal(found.predict_proba(X), ensemble.predict_proba(X))


def test_a_stack_with_an_estimator(tmp_path: Path) -> None:
    ensemble = small()
    ensemble.fit_combiner(Stack(meta=RandomForestClassifier(5, random_state=0), fewest=10, folds=2), bank())
    assert ensemble.state.fitted is not None
    assert ensemble.state.fitted.thing is not None
    came_back(ensemble, tmp_path / "e", SOME)
    assert (tmp_path / "e/combiner/model.skops").is_file()
