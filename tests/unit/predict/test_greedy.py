"""The greedy combiner: what it is fitted on, what it refuses, what it tells."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cuvee.errors import InputError, UsageError
from cuvee.judging.metrics import score_of
from cuvee.predict.combiners import COMBINERS, FITTED, Batch, Greedy
from cuvee.predict.combiners.greedy import narrowed
from cuvee.predict.combiners.grounds import metric_for
from tests.support.noisy_banks import noisy_bank, noisy_values


def batch(bank):
    return Batch(bank.P, bank.mask)


def test_what_it_says_of_its_score_is_the_score_of_what_it_gives():
    bank = noisy_bank(5, 90, 3, 1)
    found = Greedy().fit(bank)
    score = score_of(bank.answers_of(found.apply(batch(bank))), "log_loss").value
    assert found.about["fit_score"] == pytest.approx(score, rel=1e-5)
    assert score < found.about["best_member_score"]
    assert found.about["best_member"] in bank.members


@pytest.mark.parametrize("metric", ["accuracy", "brier", "balanced_accuracy", "auc"])
def test_any_metric_of_the_judge(metric):
    bank = noisy_bank(4, 60, 3, 2)
    found = Greedy(metric=metric, rounds=5).fit(bank)
    score = score_of(bank.answers_of(found.apply(batch(bank))), metric).value
    assert found.about["fit_score"] == pytest.approx(score, abs=1e-5)


def test_log_loss_of_the_right_class_alone_selects_what_the_whole_rows_do():
    """`narrowed` skips the other classes; the judge's own loss on whole rows gives the same."""
    from cuvee.combine import greedy_selection
    from cuvee.predict.combiners.grounds import loss_of, metric_for

    bank = noisy_bank(6, 80, 4, 3, masked=0.2)
    whole = greedy_selection(bank.P, bank.mask, loss_of(bank, metric_for("classification", "log_loss")))
    np.testing.assert_array_equal(Greedy().fit(bank).share, whole.weights(6))


def test_a_regression_is_measured_by_the_root_of_the_mean_square():
    bank = noisy_values(5, 80, 1, masked=0.1)
    found = Greedy().fit(bank)
    assert found.about["metric"] == "rmse"
    score = score_of(bank.answers_of(found.apply(batch(bank))), "rmse").value
    assert found.about["fit_score"] == pytest.approx(score, rel=1e-5)


def test_junk_gets_exactly_nothing_and_is_not_asked():
    bank = noisy_bank(3, 120, 3, 4)
    P = np.concatenate([bank.P, np.full((1, 120, 3), 1 / 3), np.eye(3)[np.zeros(120, int)][None]])
    junk = replace(
        bank,
        members=(*bank.members, "uniform", "always-c0"),
        P=P,
        mask=np.ones((5, 120), bool),
        provenance=bank.provenance[:1] * 5,
        probable=(True,) * 5,
    )
    found = Greedy().fit(junk)
    assert found.share[3:].tolist() == [0, 0]
    assert set(found.used) <= set(bank.members)


def test_a_copy_of_a_member_does_not_come_in_beside_it():
    bank = noisy_bank(2, 60, 3, 5)
    P = np.concatenate([bank.P, bank.P + 1e-12])
    twice = replace(
        bank, members=("a", "b", "a2", "b2"), P=P, mask=np.ones((4, 60), bool), provenance=("hold-out",) * 4,
        probable=(True,) * 4,
    )  # fmt: skip
    assert set(Greedy().fit(twice).used) <= {"a", "b"}


def test_bags_average_the_weights_of_their_selections():
    bank = noisy_bank(6, 60, 3, 6)
    one, two = (Greedy(bags=4, seed=s).fit(bank).share for s in (0, 1))
    np.testing.assert_allclose(one.sum(), 1)
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(one, Greedy(bags=4, seed=0).fit(bank).share)
    single = [Greedy().fit(bank.only([f"m{i}" for i in bag])) for bag in Greedy(bags=4)._bags(6)]
    want = np.zeros(6)
    for found in single:
        for name, share in zip(found.members, found.share):
            want[int(name[1:])] += share / 4
    np.testing.assert_allclose(one, want)


def test_a_budget_is_kept_and_told():
    bank = noisy_bank(5, 90, 3, 7)
    costs = dict(zip(bank.members, (10.0, 20.0, 30.0, 40.0, 50.0)))
    found = Greedy(budget={"us_per_row": 60}, costs=costs).fit(bank)
    assert sum(costs[name] for name in found.used) == found.about["us_per_row"] <= 60
    assert found.about["fit_score"] >= Greedy().fit(bank).about["fit_score"]


def test_an_impossible_budget_is_an_error_that_says_what_would_be_possible():
    bank = noisy_bank(2, 60, 3)
    with pytest.raises(InputError, match=r"the cheapest, 'm1', costs 3 µs") as told:
        Greedy(budget={"us_per_row": 2}, costs={"m0": 4, "m1": 3}).fit(bank)
    assert told.value.code == "over-budget"
    assert "least budget that can be kept is 3" in str(told.value)


def test_a_budget_needs_the_cost_of_every_member():
    with pytest.raises(UsageError, match="'m1' are not in `costs`"):
        Greedy(budget={"us_per_row": 2}, costs={"m0": 4}).fit(noisy_bank(2, 60, 3))


def test_costs_that_were_given_are_kept_when_others_are_told():
    assert Greedy(costs={"a": 1.0}).priced({"a": 5.0, "b": 2.0}).costs == {"a": 1.0, "b": 2.0}


def test_what_it_stands_on_is_told():
    bank = noisy_bank(3, 240, 2, 8)
    mask = bank.mask.copy()
    mask[:, :40] = False
    found = Greedy().fit(replace(bank, mask=mask))
    assert found.about["rows_left_out"] == 40
    assert found.about["rows"] == 200
    assert "few_rows" not in found.about
    assert Greedy().fit(bank.rows(range(10))).about["few_rows"] == {"c0": 5, "c1": 5}


def test_too_few_rows_of_a_class_are_left_where_nobody_predicted_some():
    bank = noisy_bank(3, 80, 2, 8)
    mask = bank.mask.copy()
    mask[:, ::2] = False  # the rows of the first class
    mask[:, :20:2] = True
    with pytest.raises(InputError, match=r"c0 has 10 \(30 rows that nobody predicted are left out\)") as told:
        Greedy().fit(replace(bank, mask=mask))
    assert told.value.code == "too-few-rows"


def refused(bank, code, words, combiner=None):
    with pytest.raises(InputError, match=words) as told:
        (combiner or Greedy()).fit(bank)
    assert told.value.code == code


def test_banks_that_would_deceive_are_refused():
    bank = noisy_bank(3, 60, 3)
    refused(replace(bank, truth=None), "missing-label", "the bank has none")
    seen = replace(bank, provenance=("in-sample", "hold-out", "in-sample"))
    refused(seen, "in-sample", "m0, m2 saw them")
    assert Greedy(allow_in_sample=True).fit(seen).about["in_sample"] == ["m0", "m2"]
    refused(replace(bank, truth=np.ones(60, int)), "too-few-rows", "all 60 rows are of 'c1'")
    refused(bank.rows([]), "too-few-rows", "the bank has none")
    refused(bank.only([]), "no-member", "at least one member")
    refused(replace(bank, probable=(True, False, True)), "wrong-member", "'m1' gives scores")


def test_settings_that_mean_nothing_are_all_told():
    with pytest.raises(UsageError) as told:
        Greedy(rounds=0, first=-1, fraction=0, budget={"ms": 1}, costs={"a": -1}, bags=True)
    assert [fault.subject for fault in told.value.faults] == [
        "rounds", "first", "bags", "fraction", "budget", "costs", "budget",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="cannot be kept where weights"):
        Greedy(budget={"us_per_row": 1}, bags=2)


def test_a_metric_of_another_kind_is_refused():
    with pytest.raises(UsageError, match="rmse"):
        Greedy(metric="rmse").fit(noisy_bank())
    with pytest.raises(UsageError, match="did you mean"):
        Greedy(metric="log_los").fit(noisy_bank())


def test_told_and_restored_it_is_the_same():
    bank = noisy_bank(4, 60, 3, 9, masked=0.2)
    found = Greedy(budget={"us_per_row": 9.0}, costs=dict.fromkeys(bank.members, 3.0)).fit(bank)
    said, arrays = found.told()
    again = FITTED.get(found.kind).restored(json.loads(json.dumps(said, allow_nan=False)), arrays)
    np.testing.assert_array_equal(again.apply(batch(bank)), found.apply(batch(bank)))
    assert again.used == found.used
    assert again.about == found.about


def test_settings_make_it_again():
    greedy = Greedy(budget={"us_per_row": 9.0}, costs={"a": 3.0}, rounds=7)
    assert COMBINERS.get("greedy")(**greedy.settings()) == greedy


def test_too_few_rows_are_told_with_whatever_is_told_besides():
    """With a budget that only the one of half of the rows keeps to, the other half has nobody."""
    bank = noisy_bank(2, 30, 3, 8)
    mask = bank.mask.copy()
    mask[0, ::2] = False
    costs = {"m0": 1.0, "m1": 9.0}
    found = Greedy(budget={"us_per_row": 5}, costs=costs).fit(replace(bank, mask=mask))
    assert found.used == ("m0",)
    few, alone = found.about["notes"]
    assert "c0 has 10, c1 has 10, c2 has 10" in few
    assert alone.startswith("15 rows of the fit have none")


def test_the_surprise_at_the_right_class_is_the_log_loss_of_the_judge_at_the_ends_too():
    P = np.array([[0.0, 1.0], [1.0, 0.0], [1e-5, 1 - 1e-5], [0.25, 0.75]])
    bank = replace(noisy_bank(1, 4, 2), P=P[None], truth=np.array([0, 0, 0, 1]))
    right, _, loss = narrowed(bank, metric_for("classification", "log_loss"))
    assert loss(right[0]) == score_of(bank.answers_of(P), "log_loss").value
