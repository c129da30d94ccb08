"""Leaderboard, cost against score, budgets, drift: what is asked of an ensemble beside predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.errors import CuveeError, InputError, UsageError
from cuvee.predict import Bank, Cost, Ensemble, Member, Stack, meta_learners
from cuvee.predict.applying import applied
from cuvee.predict.budgets import UNITS, checked_limits, within
from cuvee.predict.combiners import COMBINERS, Soft
from cuvee.predict.drift import shift_of
from cuvee.predict.honest import estimated
from cuvee.predict.judged import gain_of
from cuvee.predict.nested import crossed, folds_of
from cuvee.predict.pareto import non_dominated
from tests.support.live_ensembles import CLASSES, Array, banked, saying, task, three


def noise_bank(n: int = 120, members: int = 12, seed: int = 0) -> tuple[Ensemble, Bank]:
    """An ensemble of members that say anything, and right answers that have nothing to do with the rows."""
    generator = np.random.default_rng(seed)
    ensemble = Ensemble(classes=("no", "yes"))
    said = {}
    for number in range(members):
        p = generator.uniform(0.05, 0.95, size=n)
        said[f"m{number}"] = np.stack([1 - p, p], axis=1)
        ensemble.add(Member(f"m{number}", "callable", said[f"m{number}"].__getitem__, "probabilities", ("no", "yes")))
    truth = generator.integers(2, size=n)
    bank = ensemble.predictions(np.arange(n), [("no", "yes")[k] for k in truth])
    return ensemble, bank


def test_on_pure_noise_the_nested_score_is_below_that_of_the_fit() -> None:
    ensemble, bank = noise_bank()
    ensemble.fit_combiner("greedy", bank)
    fit = gain_of(applied(ensemble.state.fitted, bank), bank, "accuracy")  # type: ignore[arg-type]
    row = ensemble.leaderboard(bank, combiners=["greedy"], metrics=["accuracy"])
    assert fit > 0.58
    assert row["greedy"].scores["accuracy"].value < fit - 0.05
    assert row["ensemble"].scores["accuracy"].value == row["greedy"].scores["accuracy"].value
    assert row["greedy"].estimate == "nested"


def test_the_nested_estimate_never_fits_on_the_row_it_predicts() -> None:
    _, bank = noise_bank(50, 2)
    met: dict[str, set[str]] = {}

    def fit(rows: Bank) -> Callable[[Bank], Array]:
        def apply(other: Bank) -> Array:
            met.update({name: set(rows.ids) for name in other.ids})
            return np.asarray(other.P[0])

        return apply

    np.testing.assert_array_equal(crossed(fit, bank), bank.P[0])
    assert set(met) == set(bank.ids)
    assert all(name not in others and len(others) == 40 for name, others in met.items())


def test_folds_have_their_share_of_every_class() -> None:
    _, bank = noise_bank(103, 2)
    fold = folds_of(bank, 5)
    assert bank.truth is not None
    for label in (0, 1):
        counts = np.bincount(fold[bank.truth == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.bincount(fold).max() - np.bincount(fold).min() <= 1
    assert np.array_equal(fold, folds_of(bank, 5))
    assert not np.array_equal(fold, folds_of(bank, 5, seed=1))


def test_the_board_is_ordered_honest_and_compared() -> None:
    ensemble = three()
    bank = banked(ensemble, 150)
    seen = replace(bank, provenance=("hold-out", "in-sample", "hold-out"))
    ensemble.fit_combiner("soft", bank)
    board = ensemble.leaderboard(seen, combiners=["soft", "greedy"])
    assert "in-sample" in board.left_out["greedy"] or "trained on" in board.left_out["greedy"]
    assert board["tilted"].estimate == "in-sample"
    assert not board["tilted"].is_honest
    assert board["soft"].estimate == "in-sample"
    assert board.best is not None
    assert board.best.name == "good"
    assert board["good"].against is None
    assert board["bad"].against is not None
    assert board["bad"].against.verdict == "worse"
    assert [one.is_honest for one in board.standings] == sorted((o.is_honest for o in board.standings), reverse=True)
    values = [one.scores["log_loss"].value for one in board.standings if one.is_honest]
    assert values == sorted(values)
    assert "tilted had been trained" in board.notes[0]
    assert board["soft"].us_per_row == 15.0
    row = board.as_rows()[0]
    assert row["best"] is True
    assert row["log_loss_low"] < row["log_loss"] < row["log_loss_high"]


def test_rows_that_nobody_predicted_are_counted_out() -> None:
    ensemble = three()
    bank = banked(ensemble, 60)
    mask = bank.mask.copy()
    mask[:, :10] = False
    mask[0, 10:15] = False
    gaps = replace(bank, P=np.where(mask[:, :, None], bank.P, np.nan), mask=mask)
    board = ensemble.leaderboard(gaps, combiners=["soft"])
    assert board.notes == ("10 of 60 rows are left out: no member predicted them",)
    assert board["good"].rows == 45
    assert "45 of 50 rows" in board["good"].notes[0]
    assert board["soft"].rows == 50


def test_judging_needs_right_answers() -> None:
    ensemble = three()
    bank = replace(banked(ensemble, 30), truth=None)
    for ask in (ensemble.leaderboard, ensemble.pareto, ensemble.importance):
        with pytest.raises(InputError) as told:
            ask(bank)
        assert told.value.code == "missing-label"
    with pytest.raises(UsageError):
        ensemble.leaderboard(banked(ensemble, 30), metrics=["acuracy"])


POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25)


@given(POINTS)
@settings(max_examples=200, deadline=None)
def test_the_front_is_the_one_of_the_definition(points: list[tuple[int, int]]) -> None:
    costs, gains = (np.array(one, dtype=float) for one in zip(*points))
    wanted = [
        not any(c <= costs[i] and g >= gains[i] and (c < costs[i] or g > gains[i]) for c, g in points)
        for i in range(len(points))
    ]
    assert non_dominated(costs, gains).tolist() == wanted


def test_cost_against_score() -> None:
    ensemble = three()
    bank = banked(ensemble, 120)
    ensemble.fit_combiner("greedy", bank)
    front = ensemble.pareto(bank)
    costs = [point.cost for point in front.points]
    assert costs == sorted(costs)
    assert {point.kind for point in front.points} == {"member", "vote", "combiner", "in turn", "ensemble"}
    assert {p.members for p in front.points if p.kind == "vote"} == {
        ("good", "tilted"),
        ("good", "bad"),
        ("tilted", "bad"),
        ("good", "tilted", "bad"),
    }
    turn = next(p for p in front.points if p.name == "bad, then good for 50%")
    assert turn.cost == 1.0 + 0.5 * 10.0
    best = front.within(4.5)
    assert best.cost <= 4.5
    assert best.score.value == min(p.score.value for p in front.points if p.cost <= 4.5)
    assert ensemble.pareto(bank, budget={"nbytes": 4000}).chosen.cost <= 4000
    assert front.as_rows()[0]["us_per_row"] == 1.0


def test_a_cheap_member_sends_on_the_rows_it_is_least_sure_of() -> None:
    ensemble = three()
    bank = banked(ensemble, 100)
    point = next(p for p in ensemble.pareto(bank, metric="accuracy").points if p.name == "bad, then good for 30%")
    cheap, dear = bank.P[2], bank.P[0]
    sent = np.argsort(cheap.max(axis=1), kind="stable")[:30]
    said = cheap.argmax(axis=1)
    said[sent] = dear.argmax(axis=1)[sent]
    assert point.score.value == np.mean(said == bank.truth)


def test_an_impossible_budget_names_the_cheapest() -> None:
    ensemble = three()
    bank = banked(ensemble, 60)
    for ask in (
        lambda: ensemble.pareto(bank, budget={"us_per_row": 0.5}),
        lambda: ensemble.fit_combiner("greedy", bank, budget={"us_per_row": 0.5}),
        lambda: ensemble.fit_combiner("soft", bank, budget={"us_per_row": 0.5}),
        lambda: ensemble.fit_combiner("soft", bank, budget={"nbytes": 10}),
    ):
        with pytest.raises(CuveeError) as told:
            ask()
        assert told.value.code == "over-budget"
        assert "'bad'" in str(told.value)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({}, "name a limit"),
        ({"ms": 3}, "found 'ms'"),
        ({"us_per_row": 0}, "above 0"),
        ({"us_per_row": float("nan")}, "above 0"),
    ],
)
def test_budgets_that_are_none(budget: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        checked_limits(budget)
    assert set(UNITS) == {"us_per_row", "nbytes", "memory"}


def test_a_cost_that_was_not_measured_is_no_cost() -> None:
    ensemble = three()
    ensemble.add(saying("unknown", 1.0))
    bank = banked(ensemble, 60)
    for ask in (ensemble.pareto, lambda b: ensemble.fit_combiner("soft", b, budget={"us_per_row": 20.0})):
        with pytest.raises(UsageError, match="not measured") as told:
            ask(bank)
        assert told.value.code == "bad-argument"
    assert ensemble.leaderboard(bank, combiners=["soft"])["soft"].us_per_row is None


@pytest.mark.parametrize("limit", [1.0, 4.0, 5.0, 10.0, 11.0, 13.9, 14.0, 15.0])
def test_a_vote_within_a_budget_is_the_best_of_all_sets(limit: float) -> None:
    ensemble = three()
    bank = banked(ensemble, 120)
    prices = {"good": 10.0, "tilted": 4.0, "bad": 1.0}
    sets = [[n for i, n in enumerate(prices) if number >> i & 1] for number in range(1, 8)]
    fitting = [names for names in sets if sum(prices[name] for name in names) <= limit]
    worth = {tuple(names): gain_of(bank.only(names).P.mean(axis=0), bank) for names in fitting}
    found = within(Soft(), bank, ensemble.members, {"us_per_row": limit})
    alone = [name for name, price in prices.items() if price <= limit]
    if alone in fitting:  # all who could be asked fit in together: a vote leaves nobody out
        assert found.used == tuple(alone)
    else:
        assert found.used == max(worth, key=lambda names: worth[names])


def test_greedy_selection_keeps_to_a_budget_and_goes_on_to() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble), budget={"us_per_row": 6.0})
    assert ensemble.state.fitted is not None
    assert set(ensemble.state.fitted.used) <= {"tilted", "bad"}
    ensemble.remove("bad")
    assert ensemble.state.fitted.used == ("tilted",)


def test_many_members_within_a_budget_join_one_by_one() -> None:
    ensemble = Ensemble(classes=CLASSES)
    for number in range(14):
        ensemble.add(saying(f"m{number}", 0.5 + 0.1 * number, cost=1.0 + number, tilt=0.1 * (number % 3)))
    bank = banked(ensemble, 100)
    ensemble.fit_combiner("soft", bank, budget={"us_per_row": 20.0})
    assert ensemble.state.fitted is not None
    used = ensemble.state.fitted.used
    assert sum(1.0 + int(name[1:]) for name in used) <= 20.0
    cheapest = gain_of(bank.only(["m0"]).P[0], bank)
    assert gain_of(applied(ensemble.state.fitted, bank), bank) > cheapest


def test_estimates_say_how_they_came_about() -> None:
    ensemble = three()
    bank = banked(ensemble, 60)
    assert estimated(ensemble.state, bank).how == "direct"
    ensemble.fit_combiner("greedy", bank)
    assert estimated(ensemble.state, bank).how == "nested"
    assert estimated(ensemble.state, banked(ensemble, 60, prefix="other")).how == "direct"
    assert estimated(ensemble.state, banked(ensemble, 60, seed=5)).how == "direct"  # the same numbers, other rows
    few = estimated(ensemble.state, bank.rows(range(8)))
    assert few.how == "fit"
    assert not few.is_honest
    assert "too few for folds" in few.notes[0]


def test_an_update_tells_what_drifted_and_refits_only_the_combiner() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble))
    members = ensemble.members
    rows, labels = task(120, seed=21)
    moved = [{"a": "b", "b": "c", "c": "a"}[label] for label in labels]
    report = ensemble.update(rows, moved)
    assert report.version == ensemble.state.number == 5
    assert (report.new_rows, report.kept_rows) == (120, 200)
    assert report.did == "greedy fitted again on 120 new rows and 200 old ones"
    assert [one.name for one in report.drift] == ["good", "tilted", "bad", "ensemble"]
    good = report.drift[0]
    assert good.is_alarming
    assert good.before is not None
    assert good.after is not None
    assert good.after.value > good.before.value
    assert good.change.low > 0
    assert good.p_value == 0.001
    assert good.shift_p_value > 0.05  # the rows are as they were: only the right answers are others
    assert report.effect is not None
    assert report.effect.value > 0
    assert report.before != report.after
    assert ensemble.members == members
    assert ensemble.state.bank is not None
    assert len(ensemble.state.bank) == 320
    assert report.as_rows()[0]["alarm"] is True


def test_without_drift_nothing_alarms() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble))
    report = ensemble.update(*task(150, seed=33))
    assert not any(one.is_alarming for one in report.drift)
    assert all(one.psi < 0.1 for one in report.drift)


def test_rows_that_moved_are_a_shift_of_what_is_said() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble))
    rows, labels = task(100, seed=5)
    report = ensemble.update(rows + np.array([2.0, 0.0, 0.0]), labels)
    assert report.drift[0].shift_p_value == 0.001
    assert report.drift[0].psi > 0.25


def test_old_rows_are_forgotten_by_window_and_decay() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble))
    report = ensemble.update(*task(50, seed=2), window=80)
    assert report.kept_rows == 30
    assert ensemble.state.bank is not None
    assert len(ensemble.state.bank) == 80
    assert ensemble.state.bank.ids[:30] == tuple(f"row{i}" for i in range(170, 200))
    before = len(ensemble.state.bank)
    report = ensemble.update(*task(50, seed=3), decay=0.5)
    assert 0.3 * before < report.kept_rows < 0.7 * before
    assert len(ensemble.state.bank) == report.kept_rows + 50
    report = ensemble.update(*task(50, seed=4), window=20)
    assert (report.kept_rows, len(ensemble.state.bank)) == (0, 20)


def test_updates_that_cannot_be() -> None:
    ensemble = three()
    ensemble.fit_combiner("greedy", banked(ensemble))
    rows, labels = task(10, seed=2)
    with pytest.raises(UsageError) as told:
        ensemble.update(rows, labels, decay=1.5, window=0)
    assert len(told.value.faults) == 2
    with pytest.raises(InputError) as wrong:
        ensemble.update(rows, labels, ids=[f"row{i}" for i in range(10)])
    assert wrong.value.code == "rows-differ"
    with pytest.raises(InputError) as foreign:
        ensemble.update(rows, [*labels[:-1], "z"])
    assert foreign.value.code == "bad-data"
    assert len(ensemble.history) == 5


def test_an_update_of_a_vote_only_keeps_the_rows() -> None:
    ensemble = three()
    report = ensemble.update(*task(40, seed=2))
    assert report.did == "soft: there is nothing to fit; 40 new rows and 0 old ones are kept"
    assert report.effect is None
    assert report.drift[0].before is None
    assert not report.drift[0].is_alarming
    ensemble.fit_combiner("greedy")
    assert ensemble.state.bank is not None
    assert len(ensemble.state.bank) == 40


def test_the_shift_of_counts_by_hand() -> None:
    """Both 20 of 40 in total: expected 10 each. χ² = 4 · 25/10 = 10. PSI of shares (15.5, 5.5)/21 and the reverse."""
    chi, p_value, psi = shift_of(np.array([15, 5]), np.array([5, 15]))
    assert chi == pytest.approx(10.0)
    assert psi == pytest.approx(2 * (10 / 21) * np.log(15.5 / 5.5))
    assert 0.001 <= p_value <= 0.02
    assert shift_of(np.array([15, 5]), np.array([30, 10]))[1] > 0.5


def test_the_p_value_of_a_change_is_fair_when_nothing_changed() -> None:
    low = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(60, [0.5, 0.3, 0.2], size=2)
        low += shift_of(drawn[0], drawn[1], seed)[1] < 0.1
    assert low <= 13  # of 60, 6 are expected: more than 13 in fewer than 1 of 300 cases


def test_every_combiner_without_settings_can_be_tried() -> None:
    ensemble = three()
    board = ensemble.leaderboard(banked(ensemble, 60), combiners=[n for n in COMBINERS if n not in ("stack",)])
    assert {one.name for one in board.standings} | set(board.left_out) >= set(COMBINERS) - {"stack"}


def test_values_are_asked_about_likewise() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(100, 2))
    truth = rows[:, 0] + 0.3 * generator.normal(size=100)
    ensemble = Ensemble(task="regression")
    for name, shift, price in (("near", 0.1, 5.0), ("far", 2.0, 1.0)):
        asked = Member(name, "callable", lambda X, by=shift: X[:, 0] + by, "values", cost=Cost(price, 100))
        ensemble.add(asked)
    bank = ensemble.predictions(rows, truth)
    ensemble.fit_combiner("greedy", bank)
    board = ensemble.leaderboard(bank, combiners=["soft", "median"])
    assert board.metric == "rmse"
    assert board["near"].scores["mae"].value < board["far"].scores["mae"].value
    assert {point.kind for point in ensemble.pareto(bank).points} == {"member", "vote", "combiner", "ensemble"}
    found = ensemble.importance(bank, "shapley", metric="rmse")
    assert sum(one.value for one in found.members.values()) == pytest.approx(found.whole - found.nothing, abs=1e-9)
    ensemble.fit_combiner("median", bank)
    told = ensemble.explain(rows[:5])
    np.testing.assert_allclose(told.base, truth.mean())
    np.testing.assert_allclose(told.contributions.sum(axis=1) + told.base, told.output)
    report = ensemble.update(rows + 3.0, truth + 5.0, ids=[f"new{i}" for i in range(100)])
    assert report.drift[0].metric == "rmse"
    assert report.drift[0].is_alarming
    assert report.drift[0].psi > 0.25


def test_folds_of_a_leaderboard_do_not_ask_stacks_what_they_are_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Stack, "_worth", lambda self, bank, fit: asked.append(len(bank)) or {})
    monkeypatch.setattr(meta_learners, "STRENGTHS", (1.0,))
    ensemble = three()
    bank = banked(ensemble, 150)
    ensemble.fit_combiner("stack", bank)
    assert asked == [150]
    row = ensemble.leaderboard(bank, combiners=["stack"])
    assert asked == [150]
    assert row["stack"].scores == row["ensemble"].scores


def test_a_leaderboard_tells_how_far_it_is_fold_by_fold() -> None:
    ensemble, told = three(), []
    bank = banked(ensemble, 60)
    ensemble.leaderboard(bank, combiners=["soft", "weighted"], folds=3, progress=lambda *step: told.append(step))
    assert told[:2] == [(0, 9, "soft"), (3, 9, "weighted")]
    assert told[2:5] == [(4, 9, "weighted"), (5, 9, "weighted"), (6, 9, "weighted")]
    assert told[-2:] == [(6, 9, "ensemble"), (9, 9, "ensemble")]
