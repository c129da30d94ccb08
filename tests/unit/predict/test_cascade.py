"""Cascades as combiners: targets kept, asked lazily with the same result, bad input refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cuvee.errors import InputError, UsageError
from cuvee.judging.metrics import score_of
from cuvee.predict.combiners import COMBINERS, FITTED, Cascade
from cuvee.predict.combiners.design import batch_of
from tests.support.noisy_banks import noisy_bank, noisy_values
from tests.support.turns import in_turn

COSTS = {"m0": 50.0, "m1": 5.0, "m2": 500.0}
TURNS = ["m1", "m0", "m2"]


def graded(rows=200, seed=0, masked=0.0):
    """Three members, the dearer the better."""
    draw = np.random.default_rng(seed)
    bank = noisy_bank(3, rows, 3, seed, masked=masked)
    logits = draw.normal(size=(3, rows, 3))
    logits[:, np.arange(rows), bank.truth] += np.array([1.5, 0.8, 3.5])[:, None]
    P = np.exp(logits * 1.2)
    P /= P.sum(axis=2, keepdims=True)
    P[~bank.mask] = np.nan
    return replace(bank, P=P)


@pytest.mark.parametrize("how", ["top", "margin", "entropy"])
@pytest.mark.parametrize("masked", [0.0, 0.3])
def test_a_target_cost_is_kept_and_told(how, masked):
    bank = graded(masked=masked)
    found = Cascade(target_cost=260, costs=COSTS, confidence=how).fit(bank)
    assert found.about["us_per_row"] <= 260
    score = score_of(bank.answers_of(found.apply(batch_of(bank))), "log_loss").value
    assert found.about["fit_score"] == pytest.approx(score)
    free = Cascade(target_cost=1000, costs=COSTS, confidence=how).fit(bank)
    assert free.about["fit_score"] <= found.about["fit_score"]


def test_a_target_loss_is_reached_for_less_than_asking_everybody():
    bank = graded()
    found = Cascade(target_loss=0.9, metric="accuracy", costs=COSTS).fit(bank)
    assert found.about["fit_score"] >= 0.9
    assert found.about["us_per_row"] < 0.7 * 500
    assert sum(found.about["answered"].values()) == pytest.approx(1)


def test_without_a_target_it_is_as_good_as_the_dearest_member():
    bank = graded()
    found = Cascade(costs=COSTS).fit(bank)
    dearest = score_of(bank.answers_of(bank.P[2]), "log_loss").value
    assert found.about["fit_score"] <= dearest + 1e-9
    assert found.about["us_per_row"] <= 500


@pytest.mark.parametrize("masked", [0.0, 0.4])
def test_members_are_asked_only_about_rows_that_are_undecided_and_it_is_the_same(masked):
    """Laziness: the calls made are counted, and the answer is that of asking everybody."""
    bank = graded(masked=masked)
    found = Cascade(target_cost=200, costs=COSTS).fit(bank)
    asked = {}

    def ask(m, rows):
        asked[bank.members[m]] = rows
        return bank.P[m, rows], bank.mask[m, rows]

    lazy = in_turn(found, ask, len(bank), 3)
    np.testing.assert_array_equal(found.apply(lazy), found.apply(batch_of(bank)))
    assert list(asked) == [name for name in TURNS if name in found.used]
    spent = sum(COSTS[name] * bank.mask[bank.members.index(name), rows].sum() for name, rows in asked.items())
    assert spent / len(bank) == pytest.approx(found.about["us_per_row"])
    for name, share in found.about["reached"].items():
        assert bank.mask[bank.members.index(name), asked[name]].sum() / len(bank) == pytest.approx(share)
    if not masked:
        assert len(asked["m2"]) < len(bank) / 2


def test_no_rows_ask_nobody():
    found = Cascade(costs=COSTS).fit(graded())
    batch = in_turn(found, lambda m, rows: pytest.fail("asked"), 0, 3)
    assert batch.P.shape == (3, 0, 3)


def test_a_row_that_only_a_member_left_out_knows_is_refused():
    bank = graded()
    found = Cascade(target_cost=5, costs=COSTS).fit(bank)
    assert found.used == ("m1",)
    mask = bank.mask.copy()
    mask[1, 4] = False
    with pytest.raises(InputError, match="row 4 has none"):
        found.apply(replace(batch_of(bank), mask=mask))


def test_equal_costs_keep_the_order():
    bank = graded()
    found = Cascade(costs=dict.fromkeys(bank.members, 2.0), target_cost=6).fit(bank)
    assert list(found.order) == sorted(found.order)


def test_told_and_restored_it_is_the_same():
    bank = graded()
    found = Cascade(target_cost=200, costs=COSTS, confidence="margin").fit(bank)
    said, arrays = found.told()
    again = FITTED.get(found.kind).restored(json.loads(json.dumps(said, allow_nan=False)), arrays)
    np.testing.assert_array_equal(again.apply(batch_of(bank)), found.apply(batch_of(bank)))
    assert (again.order, again.used, again.about) == (found.order, found.used, found.about)
    combiner = Cascade(target_cost=200, costs=COSTS, confidence="margin")
    assert COMBINERS.get("cascade")(**combiner.settings()) == combiner


def test_costs_that_were_given_are_kept_when_others_are_told():
    assert Cascade(costs={"a": 1.0}).priced({"a": 5.0, "b": 2.0}).costs == {"a": 1.0, "b": 2.0}


def refused(bank, error, code, words, **given):
    with pytest.raises(error, match=words) as told:
        Cascade(**{"costs": COSTS, **given}).fit(bank)
    assert told.value.code == code


def test_targets_out_of_reach_name_what_is_in_reach():
    bank = graded()
    refused(bank, InputError, "over-budget", "least that can be kept to is 5 µs per row", target_cost=4)
    words = "accuracy should be 0.999; the best that thresholds reach is 0.9"
    refused(bank, InputError, "over-budget", words, target_loss=0.999, metric="accuracy")


def test_banks_that_do_not_do_are_refused():
    bank = graded()
    refused(noisy_values(3), UsageError, "bad-argument", "values of a regression do not say")
    refused(replace(bank, truth=None), InputError, "missing-label", "right answer")
    refused(replace(bank, provenance=("in-sample",) * 3), InputError, "in-sample", "m0, m1, m2 saw them")
    refused(replace(bank, probable=(True, True, False)), InputError, "wrong-member", "'m2' gives scores")
    refused(replace(bank, truth=np.zeros(200, int)), InputError, "too-few-rows", "all 200 rows are of 'c0'")
    refused(bank, UsageError, "bad-argument", "'m2' are not in `costs`", costs={"m0": 1.0, "m1": 2.0})
    refused(bank, UsageError, "bad-argument", "auc is no mean over rows", metric="auc")


def test_settings_that_mean_nothing_are_all_told():
    with pytest.raises(UsageError) as told:
        Cascade(confidence="tops", target_cost=0, target_loss=float("nan"), costs={"a": 0})
    subjects = [fault.subject for fault in told.value.faults]
    assert subjects == ["costs", "confidence", "target_cost", "target_loss", "target_loss"]
