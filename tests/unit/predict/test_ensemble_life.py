"""Members join, leave and are replaced; only the combiner is fitted again; versions can be gone back to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cuvee.errors import CuveeError, InputError, UsageError
from cuvee.predict import Cascade, Ensemble, Member, Stack, rows_of
from cuvee.predict.applying import applied
from tests.support.live_ensembles import CLASSES, Array, banked, failing, saying, task, three

X, Y = task(40, seed=7)


@contextmanager
def refused(code: str, *words: str) -> Iterator[None]:
    """What is done inside is refused for this reason, in a message that has these words."""
    with pytest.raises(CuveeError) as told:
        yield
    assert code in told.value.codes, str(told.value)
    for word in words:
        assert word in str(told.value)


def test_soft_vote_answers_until_a_combiner_is_fitted() -> None:
    ensemble = three()
    wanted = np.mean([member.ask(X) for member in ensemble.members], axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(X), wanted, atol=1e-15)
    assert ensemble.predict(X).tolist() == [CLASSES[k] for k in wanted.argmax(axis=1)]
    assert [state.what for state in ensemble.history] == ["made", "add good", "add tilted", "add bad"]


def test_a_combiner_that_learns_waits_for_a_bank() -> None:
    ensemble = Ensemble(classes=CLASSES, combiner="greedy")
    ensemble.add(saying("good", 1.5))
    ensemble.add(saying("bad", -1.0))
    assert ensemble.state.combiner.name == "soft"
    ensemble.fit_combiner(bank=banked(ensemble))
    assert ensemble.state.combiner.name == "greedy"


def test_without_a_combiner_greedy_selection_is_fitted() -> None:
    ensemble = three()
    ensemble.fit_combiner(bank=banked(ensemble))
    assert ensemble.state.combiner.name == "greedy"
    assert ensemble.state.fitted is not None
    assert "bad" not in ensemble.state.fitted.used


def test_members_of_weight_zero_are_not_asked() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble))
    before = ensemble.predict_proba(X)
    silent = replace(ensemble.members[2], ask=failing("bad").ask)
    ensemble._versions.change(lambda state: replace(state, members=(*state.members[:2], silent)))
    assert ensemble.answer(X).asked == ensemble.state.fitted.used  # type: ignore[union-attr]
    np.testing.assert_array_equal(ensemble.predict_proba(X), before)


def test_going_back_restores_predictions_bit_for_bit() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble), calibrate="temperature")
    version, before = ensemble.state.number, ensemble.predict_proba(X)
    ensemble.remove("tilted")
    ensemble.update(*task(60, seed=3))
    assert not np.array_equal(ensemble.predict_proba(X), before)
    ensemble.rollback(version)
    np.testing.assert_array_equal(ensemble.predict_proba(X), before)
    assert ensemble.state.number == 7
    assert ensemble.state.what.startswith(f"back to version {version}")


@pytest.mark.parametrize("how", ["bank", "all", "rows", "superset"])
def test_add_then_remove_is_as_before(how: str) -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble), calibrate="temperature")
    before, weights = ensemble.predict_proba(X), ensemble.state.fitted.weights  # type: ignore[union-attr]
    newcomer = saying("new", 2.0, tilt=-0.3)
    ensemble.add(newcomer, **evidence_of(ensemble, newcomer, how))
    assert not np.array_equal(ensemble.predict_proba(X), before)
    ensemble.remove("new")
    np.testing.assert_array_equal(ensemble.predict_proba(X), before)
    np.testing.assert_array_equal(ensemble.state.fitted.weights, weights)  # type: ignore[union-attr]


def evidence_of(ensemble: Ensemble, newcomer: Member, how: str) -> dict[str, Any]:
    """The same rows as the bank's, told in four ways."""
    if how in ("bank", "all"):
        other = Ensemble(classes=CLASSES)
        for member in [newcomer] if how == "bank" else [newcomer, *ensemble.members]:
            other.add(member)
        return {"bank": banked(other)}
    rows, labels = task(200)
    more, others = task(5, seed=5)
    if how == "rows":
        return {"data": (rows_of(rows, [f"row{i}" for i in range(200)]), labels)}
    ids = [*(f"row{i}" for i in range(200)), *(f"more{i}" for i in range(5))]
    return {"data": (rows_of(np.vstack([rows, more]), ids), [*labels, *others])}


def test_only_the_newcomer_is_asked_about_rows_the_bank_has() -> None:
    asked: list[str] = []

    def watched(member: Member) -> Member:
        def ask(rows: Any) -> Array:
            asked.append(member.name)
            return member.ask(rows)  # type: ignore[no-any-return]

        return replace(member, ask=ask)

    ensemble = Ensemble(classes=CLASSES)
    for member in three().members:
        ensemble.add(watched(member))
    ensemble.fit_combiner("greedy", banked(ensemble))
    asked.clear()
    newcomer = watched(saying("new", 2.0))
    ensemble.add(newcomer, data=(rows_of(task(200)[0], [f"row{i}" for i in range(200)]), task(200)[1]))
    assert set(asked) == {"new"}
    asked.clear()
    ensemble.remove("bad")
    assert asked == []


def test_new_rows_are_asked_of_everyone_and_replace_the_old() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble))
    rows, labels = task(80, seed=4)
    ensemble.add(saying("new", 2.0), data=(rows_of(rows, [f"other{i}" for i in range(80)]), labels))
    assert ensemble.state.bank is not None
    assert ensemble.state.bank.ids[0] == "other0"
    assert len(ensemble.state.bank) == 80


def test_replacing_takes_the_place_and_the_evidence() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble))
    better = saying("tilted", 2.0)
    rows = (rows_of(task(200)[0], [f"row{i}" for i in range(200)]), task(200)[1])
    ensemble.replace("tilted", better, data=rows)
    assert ensemble.state.names == ("good", "tilted", "bad")
    assert ensemble.members[1] is better
    fresh = Ensemble(classes=CLASSES)
    for member in ensemble.members:
        fresh.add(member)
    fresh.fit_combiner("greedy", banked(fresh))
    np.testing.assert_array_equal(ensemble.predict_proba(X), fresh.predict_proba(X))


def test_a_fitted_combiner_refuses_a_newcomer_without_evidence() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble))
    with refused("no-evidence", "'greedy'", "200 rows", "'new'", "data=(X, y)", "`weight=`"):
        ensemble.add(saying("new", 2.0))
    ensemble.fit_combiner("rank-mean", banked(ensemble))  # which keeps a sample of rows
    with refused("no-evidence", "'rank-mean'", "data=(X, y)"):
        ensemble.add(saying("new", 2.0))


def test_a_weighted_mean_takes_a_share_instead_of_evidence() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble))
    before = ensemble.predict_proba(X)
    newcomer = saying("new", 2.0)
    ensemble.add(newcomer, weight=0.25)
    np.testing.assert_allclose(ensemble.predict_proba(X), 0.75 * before + 0.25 * newcomer.ask(X), atol=1e-15)
    with refused("no-evidence", "'later'"):
        ensemble.add(saying("later", 1.0))
    ensemble.remove("new")
    np.testing.assert_array_equal(ensemble.predict_proba(X), before)


@pytest.mark.parametrize("weight", [-0.1, 1.0, float("nan"), True, "half"])
def test_shares_that_are_none(weight: Any) -> None:
    ensemble = three()
    with refused("bad-weights", "share of 'new'"):
        ensemble.add(saying("new", 1.0), weight=weight)
    assert ensemble.state.names == ("good", "tilted", "bad")


def test_a_vote_needs_no_evidence_and_drops_its_bank() -> None:
    ensemble = three()
    ensemble.fit_combiner("soft", banked(ensemble))
    ensemble.add(saying("new", 2.0))
    assert ensemble.state.bank is None
    assert "bank is dropped" in ensemble.state.notes[0]
    np.testing.assert_allclose(ensemble.state.fitted.weights, [0.25] * 4)  # type: ignore[union-attr, arg-type]


def test_a_calibrated_vote_needs_evidence() -> None:
    ensemble = three()
    ensemble.fit_combiner("soft", banked(ensemble), calibrate="temperature")
    with refused("no-evidence", "'soft'"):
        ensemble.add(saying("new", 2.0))


def test_names_that_are_taken_or_unknown() -> None:
    ensemble = three()
    with refused("duplicate-member", "good, tilted, bad", "another `name`"):
        ensemble.add(saying("bad", 1.0))
    with refused("unknown-member", "'godo'", "good, tilted, bad", "did you mean `good`"):
        ensemble.remove("godo")
    with refused("unknown-member", "'godo'"):
        ensemble.replace("godo", saying("x", 1.0))
    with refused("duplicate-member", "'good'"):
        ensemble.replace("bad", saying("good", 1.0))
    ensemble.remove("good")
    ensemble.remove("tilted")
    with refused("no-member", "'bad' is the last one"):
        ensemble.remove("bad")
    assert ensemble.state.names == ("bad",)


def test_members_of_another_kind() -> None:
    ensemble = three()
    with refused("wrong-member", "'price'"):
        ensemble.add(Member("price", "callable", lambda X: X[:, 0], "values"))
    with refused("class-mismatch", "'other'"):
        ensemble.add(saying("other", 1.0, classes=("a", "b", "z")))
    with refused("bad-argument", "found dict"):
        ensemble.add({"name": "x"})  # type: ignore[arg-type]
    assert len(ensemble.history) == 4


def test_nobody_answers_for_an_empty_ensemble() -> None:
    with refused("no-member", "no members yet"):
        Ensemble(classes=CLASSES).predict(X)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classes": []}, "two labels or more"),
        ({"classes": ["a", "a"]}, "all different"),
        ({"classes": "ab"}, "must be a list"),
        ({"task": "regression", "classes": ["a", "b"]}, "no `classes`"),
        ({"task": "ranking"}, "classification or regression"),
        ({"classes": ["a", "b"], "on_error": "skip"}, "raise or mask"),
        ({"classes": ["a", "b"], "keep": 0}, "at least 1"),
        ({"classes": ["a", "b"], "combiner": 3}, "found int"),
    ],
)
def test_ensembles_about_nothing(settings: dict[str, Any], words: str) -> None:
    with refused("bad-argument", words):
        Ensemble(**settings)


def test_banks_that_do_not_fit() -> None:
    ensemble = three()
    with refused("no-evidence", "there is none", "cross_fit"):
        ensemble.fit_combiner("greedy")
    bank = banked(ensemble)
    with refused("unknown-member", "'tilted'"):
        ensemble.fit_combiner("greedy", bank.only(["good", "bad"]))
    with refused("class-mismatch", "['c', 'b', 'a']"):
        ensemble.fit_combiner("greedy", replace(bank, classes=("c", "b", "a")))
    with refused("missing-label", "right answer"):
        ensemble.fit_combiner("greedy", replace(bank, truth=None))
    assert bank.truth is not None
    with refused("too-few-rows", "two classes", "'a'"):
        ensemble.fit_combiner("greedy", bank.rows(np.flatnonzero(bank.truth == 0)))
    with refused("in-sample", "good", "allow_in_sample=True"):
        ensemble.fit_combiner("greedy", replace(bank, provenance=("in-sample",) * 3))
    assert len(ensemble.history) == 4


def test_in_sample_is_taken_when_asked_and_said_for_ever() -> None:
    ensemble = three()
    seen = replace(banked(ensemble), provenance=("in-sample",) * 3)
    ensemble.fit_combiner("greedy", seen, allow_in_sample=True)
    assert any("had been trained on" in note for note in ensemble.state.notes)
    ensemble.remove("bad")
    assert any("had been trained on" in note for note in ensemble.state.notes)


def test_a_class_without_rows_is_noted() -> None:
    ensemble = three()
    bank = banked(ensemble)
    assert bank.truth is not None
    ensemble.fit_combiner("greedy", bank.rows(np.flatnonzero(bank.truth < 2)))
    assert "fitted without any row of c" in ensemble.state.notes


def test_right_answers_that_do_not_fit() -> None:
    ensemble = three()
    with refused("rows-differ", "40 rows"):
        ensemble.predictions(X, Y[:-1])
    with refused("bad-data", "'z'"):
        ensemble.predictions(X, [*Y[:-1], "z"])


def test_evidence_that_is_of_other_rows() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble))
    rows, labels = task(200)
    ids = [f"row{i}" for i in range(200)]
    with refused("rows-differ", "200 rows that the combiner was fitted on", "1 of them are lacking", "'row199'"):
        ensemble.add(saying("new", 1.0), data=(rows_of(rows[:-1], ids[:-1]), labels[:-1]))
    wrong = ["a" if labels[0] != "a" else "b", *labels[1:]]
    with refused("rows-differ", "'row0'", "ids of their own"):
        ensemble.add(saying("new", 1.0), data=(rows_of(rows, ids), wrong))
    with refused("bad-argument", "both"):
        ensemble.add(saying("new", 1.0), data=(rows, labels), bank=banked(ensemble))
    with refused("bad-argument", "pair (X, y)"):
        ensemble.add(saying("new", 1.0), data=rows)  # type: ignore[arg-type]
    assert len(ensemble.history) == 5


def test_a_failed_member_is_raised_or_left_out(caplog: pytest.LogCaptureFixture) -> None:
    strict = three()
    strict.add(failing("broken"))
    with refused("member-failed", "'broken'", "out of order"):
        strict.predict(X)
    mild = three(on_error="mask")
    wanted = mild.predict_proba(X)
    mild.add(failing("broken"))
    found = mild.answer(X)
    np.testing.assert_allclose(found.P, wanted, atol=1e-15)
    assert list(found.failed) == ["broken"]
    assert "out of order" in found.failed["broken"]
    assert "broken" in caplog.text


def test_when_all_fail_every_reason_is_told() -> None:
    ensemble = Ensemble(classes=CLASSES, on_error="mask")
    ensemble.add(failing("one"))
    ensemble.add(failing("two", lambda rows: np.full((len(rows), 3), 2.0)))
    with pytest.raises(InputError) as told:
        ensemble.predict(X)
    assert set(told.value.codes) == {"member-failed", "bad-output"} or set(told.value.codes) == {"member-failed"}
    assert "'one'" in str(told.value)
    assert "'two'" in str(told.value)


def test_versions_are_kept_up_to_a_number() -> None:
    ensemble = Ensemble(classes=CLASSES, keep=3)
    for number in range(5):
        ensemble.add(saying(f"m{number}", 1.0))
    assert [state.number for state in ensemble.history] == [3, 4, 5]
    with refused("bad-argument", "no version 1", "3 to 5"):
        ensemble.rollback(1)


def test_refreshing_keeps_combiner_and_manner() -> None:
    ensemble = three()
    with refused("no-evidence"):
        ensemble.fit_combiner()
    ensemble.fit_combiner("weighted", banked(ensemble), calibrate="temperature")
    ensemble.refresh(banked(ensemble, seed=9, prefix="new"))
    assert ensemble.state.combiner.name == "weighted"
    assert ensemble.state.temperature is not None
    assert ensemble.state.bank is not None
    assert ensemble.state.bank.ids[0] == "new0"


def test_calibration_lowers_log_loss_on_new_rows_and_keeps_the_order() -> None:
    ensemble = Ensemble(classes=CLASSES)
    ensemble.add(saying("sure", 8.0))
    ensemble.add(saying("surer", 9.0, tilt=0.5))
    bank = banked(ensemble, 400)
    ensemble.fit_combiner("soft", bank)
    rows, labels = task(400, seed=11)
    before, plain = ensemble.score(rows, labels).value, ensemble.predict(rows)
    ensemble.fit_combiner("soft", bank, calibrate="temperature")
    assert ensemble.state.temperature is not None
    assert ensemble.state.temperature > 1.5
    assert ensemble.score(rows, labels).value < 0.6 * before
    assert ensemble.predict(rows).tolist() == plain.tolist()


def test_an_ensemble_is_a_member_and_is_judged_like_a_model() -> None:
    inner, outer = three(), Ensemble(classes=CLASSES)
    outer.add(inner.as_member("inner"))
    outer.add(saying("new", 2.0))
    wanted = (inner.predict_proba(X) + saying("new", 2.0).ask(X)) / 2
    np.testing.assert_allclose(outer.predict_proba(X), wanted, atol=1e-15)
    found = outer.answers(X, Y, ids=[f"r{i}" for i in range(40)])
    assert found.kind == "classification"
    assert found.ids[0] == "r0"
    accuracy = outer.score(X, Y, "accuracy")
    assert accuracy.value == np.mean(outer.predict(X) == np.array(Y))
    assert accuracy.low < accuracy.value < accuracy.high
    added = Ensemble(classes=CLASSES)
    added.add(inner)
    assert added.members[0].kind == "ensemble"


def test_regressions_live_likewise() -> None:
    ensemble = Ensemble(task="regression")
    ensemble.add(Member("near", "callable", lambda rows: rows[:, 0] + 0.1, "values"))
    ensemble.add(Member("far", "callable", lambda rows: rows[:, 0] - 5.0, "values"))
    np.testing.assert_allclose(ensemble.predict(X), X[:, 0] - 2.45)
    bank = ensemble.predictions(X, X[:, 0])
    ensemble.fit_combiner("greedy", bank)
    np.testing.assert_allclose(ensemble.predict(X), X[:, 0] + 0.1, atol=1e-12)
    assert ensemble.score(X, X[:, 0]).value == pytest.approx(0.1)
    with refused("bad-argument", "`calibrate`"):
        ensemble.fit_combiner("greedy", bank, calibrate="temperature")
    assert isinstance(ensemble.predict(X), np.ndarray)
    with pytest.raises(UsageError):
        ensemble.fairness(bank, ["g"] * 40)


def counted(member: Member, rows_asked: dict[str, int]) -> Member:
    """The member, with the number of rows that it is asked about added up."""

    def ask(rows: Any) -> Array:
        rows_asked[member.name] = rows_asked.get(member.name, 0) + len(rows)
        return member.ask(rows)  # type: ignore[no-any-return]

    return replace(member, ask=ask)


def test_a_cascade_asks_dear_members_only_about_rows_still_open() -> None:
    asked: dict[str, int] = {}
    ensemble = Ensemble(classes=CLASSES)
    for member in (saying("dear", 1.5, cost=50.0), saying("cheap", 1.2, cost=1.0, tilt=0.4)):
        ensemble.add(counted(member, asked))
    bank = banked(ensemble, 300)
    ensemble.fit_combiner(Cascade(target_cost=20.0), bank)
    asked.clear()
    rows, _ = task(300, seed=8)
    found = ensemble.predict_proba(rows)
    assert asked["cheap"] == 300
    assert 0 < asked["dear"] < 200
    everyone = applied(ensemble.state.fitted, ensemble.predictions(rows))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, everyone)
    cost = ensemble.leaderboard(bank, combiners=[])["ensemble"].us_per_row
    assert cost is not None
    assert 1.0 < cost <= 20.0
    explained = ensemble.explain(rows[:20])
    np.testing.assert_allclose(explained.contributions.sum(axis=1) + explained.base, found[:20], atol=1e-12)


def test_of_one_that_leaves_the_others_keep_their_shares() -> None:
    ensemble = three()
    ensemble.fit_combiner("weighted", banked(ensemble))
    ensemble.add(saying("new", 2.0), weight=0.5)
    before = ensemble.state.fitted.weights  # type: ignore[union-attr]
    assert before is not None
    ensemble.remove("bad")  # the bank knows nothing of `new`: there is nothing to fit on
    wanted = before[[0, 1, 3]] / before[[0, 1, 3]].sum()
    np.testing.assert_allclose(ensemble.state.fitted.weights, wanted)  # type: ignore[union-attr, arg-type]
    assert "keep their shares in proportion" in ensemble.state.notes[-1]


def test_rows_that_lack_what_a_member_reads_are_answered_by_the_others() -> None:
    by_word = Member(
        "words",
        "callable",
        lambda texts: np.array([[0.8, 0.1, 0.1] if "a" in text else [0.1, 0.1, 0.8] for text in texts]),
        "probabilities",
        CLASSES,
        reads="text",
    )
    even = Member("even", "callable", lambda xs: np.full((len(xs), 3), 1 / 3), "probabilities", CLASSES, reads="x")
    ensemble = Ensemble(classes=CLASSES)
    ensemble.add(by_word)
    ensemble.add(even)
    found = ensemble.predict_proba({"text": ["a", None, "z"], "x": [1.0, 2.0, 3.0]})
    np.testing.assert_allclose(found[1], 1 / 3)
    np.testing.assert_allclose(found[0], [(0.8 + 1 / 3) / 2, (0.1 + 1 / 3) / 2, (0.1 + 1 / 3) / 2])
    with refused("no-member", "row 1"):
        ensemble.predict({"text": ["a", None, "z"], "x": [1.0, None, 3.0]})


def test_combiners_that_look_at_rows_get_their_numbers() -> None:
    seen: list[int] = []

    def features(rows: Any) -> Array:
        seen.append(len(rows["x"]))
        return np.asarray(rows["x"], np.float64)[:, None]

    left = Member("left", "callable", lambda x: sure(x, 0, 1), "probabilities", ("n", "p"), reads="x")
    right = Member("right", "callable", lambda x: sure(x, 1, 0), "probabilities", ("n", "p"), reads="x")

    def sure(x: Any, below: int, above: int) -> Array:
        return np.eye(2)[np.where(np.asarray(x) < 0, below, above)] * 0.8 + 0.1

    ensemble = Ensemble(classes=("n", "p"), features=features)
    ensemble.add(left)
    ensemble.add(right)
    x = np.linspace(-1, 1, 80)
    truth = np.where(x < 0, "n", "p")
    ensemble.fit_combiner("knora-e", ensemble.predictions({"x": x}, truth))
    seen.clear()
    assert ensemble.predict({"x": np.array([-0.55, 0.55])}).tolist() == ["n", "p"]
    assert seen == [2]
    wrong = Ensemble(classes=("n", "p"), features=lambda rows: np.zeros(3))
    wrong.add(left)
    with refused("bad-data", "[N, D] for 80 rows", "[3]"):
        wrong.predictions({"x": x}, truth)


def test_members_without_probabilities_wait_for_a_combiner_that_takes_them() -> None:
    ensemble = Ensemble(classes=CLASSES)
    ensemble.add(Member("ranked", "callable", lambda rows: 3.0 * rows, "scores", CLASSES))
    with refused("no-member", "nobody answers yet", "`fit_combiner`"):
        ensemble.predict(X)
    good = saying("good", 1.5)
    ensemble.add(good)
    np.testing.assert_array_equal(ensemble.predict_proba(X), good.ask(X))
    assert "ranked do not count" in ensemble.state.notes[0]
    ensemble.fit_combiner("rank-mean", banked(ensemble))
    assert ensemble.answer(X).asked == ("ranked", "good")
    board = ensemble.leaderboard(banked(ensemble, 60), combiners=["soft"])
    assert list(board["ranked"].scores) == ["accuracy"]
    assert "ranked" in board.left_out["soft"]


def test_a_stack_of_embeddings_goes_on_without_a_member_that_fails() -> None:
    broken: list[int] = []

    def vectors(rows: Any) -> Any:
        if broken:
            raise OSError("the model is gone")
        return np.asarray(rows)[:, :2]

    def even(rows: Any) -> Any:
        return vectors(rows).shape and np.full((len(rows), 2), 0.5)

    draw = np.random.default_rng(0)
    rows, right = draw.normal(size=(40, 3)), np.arange(40) % 2
    ens = Ensemble(classes=[0, 1], on_error="mask")
    ens.add(Member.callable(even, name="a", classes=[0, 1], embed=vectors))
    ens.add(Member.callable(lambda X: np.full((len(X), 2), 0.5), name="b", classes=[0, 1], embed=lambda X: X[:, 1:]))
    bank = ens.predictions(rows, right, embed=["a", "b"])
    ens.fit_combiner(Stack(on="embeddings", folds=2, fewest=2), bank)
    broken.append(1)
    found = ens.answer(rows)
    assert set(found.failed) == {"a"}
    np.testing.assert_allclose(found.P.sum(axis=1), 1.0)
