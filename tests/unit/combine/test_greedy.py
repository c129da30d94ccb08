"""Greedy selection by hand: ties, the best beginning, rows that must be covered, budgets."""

from __future__ import annotations

import numpy as np
import pytest

from cuvee.combine import greedy_selection, selection_within
from cuvee.combine.budgeted import full_sets
from cuvee.errors import InputError


def distance(target):
    """How far the mean is from a target, by row."""
    return lambda mean: float(np.abs(mean[:, 0] - np.asarray(target)).sum())


def values(*members):
    P = np.array(members, dtype=float)[:, :, None]
    return P, ~np.isnan(P[:, :, 0])


def test_by_hand():
    """Target 0 of 4, −2, 1: take 1 (loss 1); with −2: −.5 (loss .5); then 1 again: 0 (loss 0)."""
    found = greedy_selection(*values([4], [-2], [1]), distance([0]), rounds=5)
    assert found.picks[:3] == (2, 1, 2)
    assert found.losses[:3] == (1.0, 0.5, 0.0)
    assert found.kept == 3
    np.testing.assert_allclose(found.weights(3), [0, 1 / 3, 2 / 3])


def test_later_rounds_that_do_not_better_it_are_dropped():
    found = greedy_selection(*values([0], [5]), distance([0]), rounds=6)
    assert len(found.picks) == 6
    assert found.kept == 1


def test_of_equal_ones_the_member_that_is_in_already_is_taken():
    found = greedy_selection(*values([1], [1], [3]), distance([0]), rounds=4)
    assert found.picks == (0, 0, 0, 0)


def test_of_equal_new_ones_the_cheaper_is_taken_then_the_first():
    P, mask = values([1], [1], [1])
    assert greedy_selection(P, mask, distance([0]), rounds=2, costs=[2, 1, 1]).picks == (1, 1)
    assert greedy_selection(P, mask, distance([0]), rounds=2).picks == (0, 0)


def test_losses_that_agree_in_the_digits_are_equal():
    P, mask = values([1.0], [1.0 - 1e-9])
    assert greedy_selection(P, mask, distance([0]), rounds=1).picks == (0,)
    assert greedy_selection(P, mask, distance([0]), rounds=1, digits=12).picks == (1,)


def test_a_beginning_of_the_best_ones():
    P, mask = values([3], [1], [2])
    assert greedy_selection(P, mask, distance([0]), rounds=3, first=2).picks == (1, 2, 1)
    assert greedy_selection(P, mask, distance([0]), rounds=3).picks == (1, 1, 1)


def test_rows_that_only_another_member_predicts_bring_it_in():
    nan = float("nan")
    P, mask = values([0, nan], [9, 9], [nan, 4])
    found = greedy_selection(P, mask, distance([0, 0]), rounds=1)
    assert found.picks == (0, 2)  # 0 is best, and of those who predict row 1 the third is better than the second


def test_a_row_that_nobody_predicts_is_an_error():
    nan = float("nan")
    with pytest.raises(InputError, match="row 1 has none") as told:
        greedy_selection(*values([0, nan], [9, nan]), distance([0, 0]))
    assert told.value.code == "no-member"


def test_a_member_that_the_budget_does_not_reach_is_out():
    P, mask = values([0], [5], [6])
    found = selection_within(P, mask, distance([0]), [9.0, 2.0, 2.0], 4.0)
    assert set(found.picks) == {1}


def test_two_good_cheap_ones_are_found_where_the_best_shuts_them_out():
    """The best alone, 0.5, costs all; −1 and 1 together are exact and cost no more."""
    P, mask = values([0.5], [1], [-1])
    found = selection_within(P, mask, distance([0]), [4.0, 2.0, 2.0], 4.0)
    assert set(found.picks[: found.kept]) == {1, 2}
    assert found.loss == 0


def test_with_many_members_worth_by_cost_is_looked_at():
    """20 members: one dear and best, the others cheap; ten of them average to 0."""
    each = [float(v) for v in (0.4, *[(-1) ** i * (1 + i // 2) for i in range(19)])]
    P, mask = values(*[[v] for v in each])
    costs = [10.0] + [1.0] * 19
    found = selection_within(P, mask, distance([0]), costs, 10.0)
    assert found.loss == 0
    assert 0 not in found.picks[: found.kept]
    assert sum(costs[m] for m in set(found.picks[: found.kept])) <= 10


def test_full_sets_are_those_that_nobody_can_join():
    assert list(full_sets([0, 1, 2], [1.0, 1.0, 2.0], 2.0)) == [(2,), (0, 1)]
    assert list(full_sets([0, 1], [1.0, 1.0], 5.0)) == [(0, 1)]
