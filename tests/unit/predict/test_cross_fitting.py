"""Cross-fitting: nothing is asked about a row that it has learned from, and what is left out is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from cuvee.errors import CuveeError
from cuvee.judging.metrics import score_of
from cuvee.predict import Ensemble, Member
from cuvee.predict.bank import bank_faults
from cuvee.predict.cross_fitting import cross_fit
from tests.support.banks import fresh


def blobs(n: int = 120, classes: str = "abc", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points around one centre for each class, mixed."""
    random = np.random.default_rng(seed)
    y = np.array(list(classes))[random.permutation(np.arange(n) % len(classes))]
    centres = {label: random.normal(size=4) * 2 for label in classes}
    return np.array([centres[label] for label in y]) + random.normal(size=(n, 4)), y


X, Y = blobs()


class Remembering:
    """Says 1 for the label it was shown with a row, and the base rate for rows it has not seen: a perfect leak."""

    def member(self, name: str = "memory", **said: Any) -> Member:
        def refit(rows: Any, labels: Any) -> Member:
            seen = {np.asarray(row).tobytes(): label for row, label in zip(rows, labels)}
            classes = tuple(sorted(set(labels)))

            def ask(asked: Any) -> Any:
                found = np.full((len(asked), len(classes)), 1 / len(classes))
                for n, row in enumerate(asked):
                    if (label := seen.get(np.asarray(row).tobytes())) is not None:
                        found[n] = [float(label == one) for one in classes]
                return found

            return Member(name=name, kind="callable", ask=ask, output="probabilities", classes=classes, refit=refit)

        return replace(refit(X, Y), **said)


def test_no_row_is_asked_about_by_a_model_that_has_seen_it() -> None:
    bank = cross_fit([Remembering().member()], X, Y).bank
    np.testing.assert_allclose(bank.P, 1 / 3)
    assert bank.provenance == ("out-of-fold",)
    assert bank.mask.all()


def test_the_whole_pipeline_is_trained_anew() -> None:
    """Features chosen on all rows make noise look learnable; chosen within the fold they do not."""
    random = np.random.default_rng(0)
    noise, coin = random.normal(size=(100, 2000)), random.integers(0, 2, 100)
    inside = fresh("inside", make_pipeline(SelectKBest(f_classif, k=10), LogisticRegression()))
    honest = cross_fit([inside], noise, coin).bank.answers("inside")
    chosen = SelectKBest(f_classif, k=10).fit_transform(noise, coin)
    leaking = cross_fit([fresh("inside", LogisticRegression())], chosen, coin).bank.answers("inside")
    assert score_of(honest, "accuracy").value < 0.65
    assert score_of(leaking, "accuracy").value > 0.75


def test_predictions_are_those_of_the_models_of_the_folds() -> None:
    pairs = [(np.arange(60, 120), np.arange(60)), (np.arange(60), np.arange(60, 120))]
    bank = cross_fit([fresh("nb", GaussianNB())], X, Y, cv=pairs).bank
    for train, test in pairs:
        np.testing.assert_allclose(bank.P[0, test], GaussianNB().fit(X[train], Y[train]).predict_proba(X[test]))
    assert bank.classes == ("a", "b", "c")
    assert [bank.classes[t] for t in bank._known_truth()] == Y.tolist()
    assert bank.ids == tuple(map(str, range(120)))
    assert bank_faults(bank) == []


def test_ids_and_the_order_of_rows_are_kept() -> None:
    frame = pd.DataFrame(X, columns=list("wxyz"), index=[f"r{n}" for n in range(120)][::-1])
    bank = cross_fit([fresh("nb", GaussianNB(), reads=("w", "y"))], frame, Y, seed=3).bank
    assert bank.ids == tuple(frame.index)
    again = cross_fit([fresh("nb", GaussianNB())], X[:, [0, 2]], Y, seed=3, ids=frame.index).bank
    np.testing.assert_array_equal(bank.P, again.P)


def test_a_row_asked_about_twice_gets_the_mean() -> None:
    once = [[(np.arange(60), np.arange(90, 120))], [(np.arange(30, 90), np.arange(90, 120))]]
    one, two = (cross_fit([fresh("nb", GaussianNB())], X, Y, cv=cv, fewest=0).bank.P for cv in once)
    both = cross_fit([fresh("nb", GaussianNB())], X, Y, cv=[*once[0], *once[1]], fewest=0).bank.P
    np.testing.assert_allclose(both[0, 90:], (one[0, 90:] + two[0, 90:]) / 2)


def test_rows_that_nobody_validates_are_masked_counted_and_told() -> None:
    bank = cross_fit([fresh("nb", GaussianNB())], X, Y, cv="time:5", fewest=20).bank
    assert np.flatnonzero(~bank.mask[0]).tolist() == list(range(20))
    assert np.isnan(bank.P[0, :20]).all()
    assert bank.notes == ("20 of 120 rows are asked about in no fold and masked (such as '0')",)
    assert len(bank.covered()) == 100


def test_time_never_learns_from_later_rows() -> None:
    early = np.where(np.arange(120) < 90, Y, "a")
    one, two = (cross_fit([fresh("nb", GaussianNB())], X, y, cv="time:3", fewest=0).bank for y in (Y, early))
    np.testing.assert_array_equal(one.P[:, :90], two.P[:, :90])
    assert (one.P[:, 90:] == two.P[:, 90:]).all()  # the last fold is asked about, never learned from


def refused(members: Any, x: Any = X, y: Any = Y, **other: Any) -> str:
    with pytest.raises(CuveeError) as caught:
        cross_fit(members, x, y, **other)
    return f"{' '.join(caught.value.codes)}: {caught.value}"


def test_too_few_rows_of_a_class_are_refused_unless_asked() -> None:
    found = refused([fresh("nb", GaussianNB())], X[:75], Y[:75], cv="time:5")
    counts = {label: int((Y[15:75] == label).sum()) for label in "abc"}
    few = ", ".join(f"{n} of {label!r}" for label, n in counts.items() if n < 30)
    assert found.startswith(
        f"too-few-rows: a combiner needs at least 30 rows of each class (15 of 75 rows are in no fold); found {few}"
    )
    assert cross_fit([fresh("nb", GaussianNB())], X[:75], Y[:75], cv="time:5", fewest=0).bank.mask.sum() == 60
    told = refused([fresh("lr", LinearRegression())], X[:20], np.arange(20.0))
    assert "at least 30 rows in all; found 20" in told


def test_a_class_that_no_row_has_is_listed() -> None:
    assert "found 0 of 'd'" in refused([fresh("nb", GaussianNB())], classes=list("abcd"))


def test_a_rare_class_gets_nought_where_a_fold_has_not_seen_it() -> None:
    rare = np.array([*Y[:118], "z", "z"])
    pairs = [(np.arange(118), np.arange(100, 120)[-2:]), (np.arange(20, 120), np.arange(20))]
    bank = cross_fit([fresh("nb", GaussianNB())], X, rare, cv=pairs, fewest=0).bank
    assert bank.classes == ("a", "b", "c", "z")
    assert bank.P[0, 118:, 3].tolist() == [0, 0]
    assert bank.P[0, :20, 3].min() >= 0
    np.testing.assert_allclose(bank.P[0, 118:].sum(axis=1), 1)
    assert "nb, fold 0: no row of 'z' to learn from; there it says 0" in bank.notes


def test_a_fold_of_one_class_is_refused() -> None:
    sorted_rows = np.argsort(Y)
    found = refused([fresh("nb", GaussianNB())], X[sorted_rows], Y[sorted_rows], cv="time:5", fewest=0)
    assert "fold 0 must have rows of two classes to learn from; all are of 'a'" in found


def frozen(name: str, **said: Any) -> Member:
    fitted = GaussianNB().fit(X, Y)
    return Member(name, "sklearn", fitted.predict_proba, "probabilities", tuple(fitted.classes_.tolist()), **said)


def test_members_that_cannot_be_trained_anew_are_refused_by_name() -> None:
    log = fresh("log", LinearRegression(), inverse=np.exp)
    found = refused([frozen("bert"), fresh("nb", GaussianNB()), frozen("onnx")])
    assert found.startswith("wrong-member wrong-member: cross-fitting trains members anew; 'bert' (sklearn): it cannot")
    assert "'onnx'" in found
    assert "'nb'" not in found
    assert "name it in `held_out`" in found
    assert "'log' (sklearn): it learns on a scale that y is not on" in refused([log], X, np.arange(120.0))


def test_members_that_saw_other_rows_are_mixed_in_when_asked() -> None:
    bank = cross_fit([frozen("bert"), fresh("nb", GaussianNB())], X, Y, held_out=["bert"], cv="time", fewest=20).bank
    assert bank.provenance == ("hold-out", "out-of-fold")
    assert bank.mask.sum(axis=1).tolist() == [120, 100]
    np.testing.assert_allclose(bank.P[0], GaussianNB().fit(X, Y).predict_proba(X))


def test_all_that_is_wrong_with_members_is_told() -> None:
    nb = fresh("nb", GaussianNB())
    found = refused([nb, nb, frozen("bert")], held_out=["brt"])
    assert found.startswith("duplicate-member unknown-member wrong-member")
    assert "did you mean `bert`?" in found
    assert refused([]).startswith("bad-argument: there must be members")
    assert "classification: nb; regression: lr" in refused([nb, fresh("lr", LinearRegression())])


def test_a_member_that_raises_is_named_with_the_fold() -> None:
    def refit(rows: Any, labels: Any) -> Member:
        raise ZeroDivisionError("no")

    found = refused([replace(fresh("bad", GaussianNB()), refit=refit)])
    assert found == "member-failed: 'bad' could not be trained on 96 rows (fold 0): no"


def test_truth_must_fit_the_rows() -> None:
    assert refused([fresh("nb", GaussianNB())], y=Y[:-1]).startswith("rows-differ")
    assert refused([fresh("nb", GaussianNB())], classes=["a", "b"]).startswith("bad-data: a right answer is 'c'")


def test_the_mean_of_the_folds_is_kept() -> None:
    pairs = [(np.arange(60, 120), np.arange(60)), (np.arange(60), np.arange(60, 120))]
    (member,) = cross_fit([fresh("nb", GaussianNB())], X, Y, cv=pairs, keep="folds").members
    models = [GaussianNB().fit(X[train], Y[train]) for train, _ in pairs]
    new = blobs(seed=5)[0][:7]
    np.testing.assert_allclose(member.ask(new), np.mean([m.predict_proba(new) for m in models], axis=0))
    assert member.settings == {"of": "sklearn", "folds": 2}
    ens = Ensemble(classes=list("abc"))
    ens.add(member)
    assert set(ens.predict(X).tolist()) <= set("abc")


def test_one_model_of_all_rows_is_kept() -> None:
    (member,) = cross_fit([fresh("nb", GaussianNB())], X, Y, keep="refit").members
    np.testing.assert_allclose(member.ask(X), GaussianNB().fit(X, Y).predict_proba(X))


def test_without_a_word_members_stay_what_they_are() -> None:
    given = fresh("nb", GaussianNB())
    assert cross_fit([given], X, Y).members == (given,)


@pytest.mark.parametrize(("keep", "steps"), [(None, 6), ("folds", 6), ("refit", 7)])
def test_progress_is_told(keep: Any, steps: int) -> None:
    told: list[tuple[int, int]] = []
    members = [fresh("nb", GaussianNB()), frozen("bert")]
    cross_fit(members, X, Y, held_out=["bert"], keep=keep, progress=lambda *done: told.append(done))
    assert told == [(n + 1, steps) for n in range(steps)]


def test_members_are_taught_by_the_names_of_the_ensemble() -> None:
    """What they make of them, as numbers of classes, is for their adapters to know."""
    shown: list[Any] = []
    plain = fresh("nb", GaussianNB())

    def refit(rows: Any, labels: Any) -> Any:
        shown.extend(labels.tolist())
        assert plain.refit is not None
        return plain.refit(rows, labels)

    cross_fit([replace(plain, refit=refit, label_map={0: "a", 1: "b", 2: "c"})], X, Y)
    assert set(shown) == set("abc")
    shown.clear()
    numbers = np.array([10, 20, 30])[np.unique(Y, return_inverse=True)[1]]
    cross_fit([replace(plain, refit=refit)], X, numbers, classes=[30, 10, 20])
    assert set(shown) == {10, 20, 30}


def test_an_adapter_that_gives_nought_itself_is_noted_too() -> None:
    rare = np.array([*Y[:118], "z", "z"])
    plain = fresh("nb", GaussianNB())

    def refit(rows: Any, labels: Any) -> Any:
        assert plain.refit is not None
        return replace(plain.refit(rows, labels), missing="zero")

    pairs = [(np.arange(118), np.arange(118, 120))]
    bank = cross_fit([replace(plain, refit=refit)], X, rare, cv=pairs, fewest=0).bank
    assert "nb, fold 0: no row of 'z' to learn from; there it says 0" in bank.notes


def test_texts_are_learned_from_and_lacking_ones_are_masked() -> None:
    random = np.random.default_rng(1)
    words = {"a": "red", "b": "blue", "c": "green"}
    texts: list[str | None] = [f"{words[label]} {random.choice(['sea', 'sky'])}" for label in Y]
    texts[7] = None
    reader = fresh("text", make_pipeline(CountVectorizer(), LogisticRegression()), reads="text")
    found = cross_fit([reader], {"text": texts}, Y, keep="folds")
    assert np.flatnonzero(~found.bank.mask[0]).tolist() == [7]
    assert score_of(found.bank.answers("text"), "accuracy").value == 1
    assert found.members[0].ask(["red sky", "blue sea"]).argmax(axis=1).tolist() == [0, 1]


def test_regression() -> None:
    y = X @ [1.0, -2, 0.5, 0] + 3
    found = cross_fit([fresh("lr", LinearRegression())], X, y, keep="folds")
    np.testing.assert_allclose(found.bank.P[0, :, 0], y)
    assert found.bank.classes == ()
    np.testing.assert_allclose(found.members[0].ask(X).ravel(), y)


def test_members_that_say_the_same_are_noted() -> None:
    bank = cross_fit([fresh(name, KNeighborsClassifier()) for name in "ab"], X, Y).bank
    assert bank.notes == ("a, b say the same (correlation above 0.999): they eat each other's weight; keep one",)


def test_seconds_are_told() -> None:
    found = cross_fit([fresh("nb", GaussianNB())], X, Y)
    assert all(0 < part < 10 for part in found.seconds["nb"])


def test_what_is_to_be_kept_is_one_of_two_words() -> None:
    """Before, any other word kept the members that were given, as if nothing had been asked for."""
    with pytest.raises(CuveeError, match="`keep` must be one of folds, refit, or None; found 'fold'"):
        cross_fit([fresh("nb", GaussianNB())], X, Y, keep="fold")  # type: ignore[arg-type]
