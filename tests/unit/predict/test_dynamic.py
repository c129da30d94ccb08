"""Dynamic selection as a combiner: what it keeps, what it refuses, that it is the same when restored."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cuvee.errors import InputError, UsageError
from cuvee.predict.combiners import COMBINERS, FITTED, Batch, Dynamic
from cuvee.predict.combiners.design import batch_of
from tests.support.noisy_banks import noisy_bank, noisy_values

NAMES = ("knora-e", "knora-u", "ola", "des-p")


def two_halves(rows=80):
    """Two members, one right where the first feature is above zero, the other where it is below; the third never."""
    draw = np.random.default_rng(0)
    features = draw.uniform(-1, 1, (rows, 2)) * [1, 1e6]
    bank = noisy_bank(3, rows, 2, 0)
    right = np.stack([features[:, 0] > 0, features[:, 0] <= 0, np.zeros(rows, bool)])
    named = np.where(right, bank.truth, 1 - bank.truth)
    return replace(bank, P=np.eye(2)[named] * 0.8 + 0.1, features=features)


@pytest.mark.parametrize("name", ["knora-e", "ola", "des-p"])
def test_who_is_right_nearby_speaks(name):
    """The second feature, a million times as wide, says nothing; it does not drown the first."""
    bank = two_halves(400)
    accuracy = (COMBINERS.get(name)().fit(bank).apply(batch_of(bank)).argmax(axis=1) == bank.truth).mean()
    assert accuracy > 0.9
    assert (bank.P.mean(axis=0).argmax(axis=1) == bank.truth).mean() == 0


def test_where_all_agree_their_mean_is_the_answer_and_nothing_is_looked_for():
    bank = noisy_bank(3, 40, 3, 1, features=2)
    same = replace(bank, P=np.broadcast_to(bank.P[:1], bank.P.shape) * 0.7 + 0.1)
    found = Dynamic().fit(same)
    assert found.shares_of(batch_of(same)).tolist() == np.ones((3, 40)).tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("features", [0, 3])
def test_told_and_restored_it_is_the_same(name, features):
    bank = noisy_bank(4, 50, 3, 2, features=features, masked=0.2)
    found = COMBINERS.get(name)(k=3).fit(bank)
    said, arrays = found.told()
    again = FITTED.get(found.kind).restored(json.loads(json.dumps(said, allow_nan=False)), arrays)
    np.testing.assert_array_equal(again.apply(batch_of(bank)), found.apply(batch_of(bank)))
    assert again.needs == found.needs == (("features",) if features else ())
    assert again.about == found.about


@pytest.mark.parametrize("name", NAMES)
def test_settings_make_it_again(name):
    combiner = COMBINERS.get(name)(k=3)
    assert combiner.rule == name == combiner.name
    assert COMBINERS.get(name)(**combiner.settings()) == combiner
    assert Dynamic(rule=name, k=3).fit(noisy_bank()).rule == name


def test_rows_come_out_the_same_whatever_stands_beside_them():
    bank = noisy_bank(4, 60, 3, 4, features=2)
    found = Dynamic().fit(bank)
    whole = found.apply(batch_of(bank))
    np.testing.assert_array_equal(found.apply(batch_of(bank.rows([7, 3]))), whole[[7, 3]])


def test_a_constant_feature_does_no_harm():
    bank = noisy_bank(3, 40, 3, 5, features=2)
    flat = replace(bank, features=np.concatenate([bank.features, np.full((40, 1), 0.1)], axis=1))
    np.testing.assert_array_equal(Dynamic().fit(flat).apply(batch_of(flat)), Dynamic().fit(bank).apply(batch_of(bank)))


def refused(bank, error, code, words, **given):
    with pytest.raises(error, match=words) as told:
        Dynamic(**given).fit(bank)
    assert told.value.code == code


def test_banks_that_do_not_do_are_refused():
    bank = noisy_bank(3, 20, 3, 6, features=2)
    refused(noisy_values(), UsageError, "bad-argument", "never quite right")
    refused(replace(bank, truth=None), InputError, "missing-label", "right answer")
    refused(replace(bank, provenance=("in-sample",) * 3), InputError, "in-sample", "m0, m1, m2 saw them")
    refused(replace(bank, probable=(True, True, False)), InputError, "wrong-member", "'m2' gives scores")
    refused(bank, InputError, "too-few-rows", "k = 21 rows to be near to; the bank has 20", k=21)
    hole = bank.features.copy()
    hole[4, 1] = np.nan
    refused(replace(bank, features=hole), InputError, "bad-data", "those of row 4 are not")


def test_settings_that_mean_nothing_are_all_told():
    with pytest.raises(UsageError) as told:
        Dynamic(rule="knora", k=0)
    assert [fault.subject for fault in told.value.faults] == ["k", "rule"]
    with pytest.raises(UsageError, match="a rule of its own"):
        COMBINERS.get("ola")(rule="des-p")


def test_rows_without_features_or_with_others_are_refused():
    bank = noisy_bank(3, 20, 3, 6, features=2)
    found = Dynamic().fit(bank)
    with pytest.raises(UsageError, match="none were given"):
        found.apply(Batch(bank.P, bank.mask))
    with pytest.raises(InputError, match="by 2 numbers at the fit; these have 3"):
        found.apply(Batch(bank.P, bank.mask, np.zeros((20, 3))))
    mask = bank.mask.copy()
    mask[:, 2] = False
    with pytest.raises(InputError, match="row 2 has none"):
        found.apply(Batch(bank.P, mask, bank.features))
