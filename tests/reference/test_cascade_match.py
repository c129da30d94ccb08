"""Cascades equal their slow reference: who answers, and thresholds that no other is better than."""

from __future__ import annotations

import numpy as np
import pytest

from cuvee.combine.cascade import cascade, confidence
from cuvee.combine.thresholds import Stakes, fitted_thresholds, shared_threshold
from tests.reference import cascade_formulas as ref
from tests.support.noisy_banks import noisy_bank

HOW = ("top", "margin", "entropy")


def stakes_of(bank, how, costs, limited, limit):
    right = bank.P[:, np.arange(len(bank)), bank.truth]
    sure = np.where(bank.mask, confidence(np.where(bank.mask[:, :, None], bank.P, 0.0), how), -np.inf)
    losses = np.where(bank.mask, -np.log(np.where(bank.mask, right, 1.0)), 0.0)
    return Stakes(sure, bank.mask, losses, np.array(costs), limited, limit)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("masked", [0.0, 0.4])
def test_who_answers(how, masked):
    bank = noisy_bank(4, 40, 3, 3, masked=masked)
    taus = [0.5, 0.6, 0.4]
    found = cascade(bank.P, bank.mask, np.array(taus), how)
    P, mask = bank.P.tolist(), bank.mask.tolist()
    want = [P[ref.who(P, mask, taus, how, n)[0]][n] for n in range(40)]
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("limited", "limit"), [("cost", 4.0), ("cost", 1.0), ("loss", 0.9), ("loss", 5.0)])
@pytest.mark.parametrize("masked", [0.0, 0.3])
def test_of_two_members_no_threshold_is_better(how, limited, limit, masked):
    bank, costs = noisy_bank(2, 30, 3, 5, masked=masked), [1.0, 6.0]
    if masked:
        limit += 3
    stakes = stakes_of(bank, how, costs, limited, limit)
    over, small, _ = stakes.value(fitted_thresholds(stakes))
    want = ref.best(bank.P.tolist(), bank.mask.tolist(), how, bank.truth.tolist(), costs, limited, limit)
    assert over == 0
    assert small == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("limited", "limit"), [("cost", 3.5), ("loss", 1.2)])
def test_of_three_the_shared_one_is_exact_and_single_ones_are_no_worse(seed, limited, limit):
    bank, costs = noisy_bank(3, 12, 3, seed, masked=0.1), [1.0, 3.0, 6.0]
    given = (bank.P.tolist(), bank.mask.tolist(), "top", bank.truth.tolist(), costs, limited, limit)
    stakes = stakes_of(bank, "top", costs, limited, limit)
    shared = stakes.value(np.full(2, shared_threshold(stakes)))
    single = stakes.value(fitted_thresholds(stakes))
    one = ref.best(*given, shared=True)
    assert (shared[0] > 0) == np.isinf(one)
    if np.isfinite(one):
        assert shared[1] == pytest.approx(one, rel=1e-12)
        assert ref.best(*given) <= single[1] + 1e-12 <= one + 1e-9
    assert single <= shared
