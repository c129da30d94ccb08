"""Greedy selection equals its slow reference: picks and losses, with masks, costs and budgets."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from cuvee.combine import greedy_selection, selection_within
from cuvee.combine.greedy import Running
from cuvee.predict.combiners.grounds import loss_of, metric_for
from tests.reference import selection_formulas as ref
from tests.support.noisy_banks import noisy_bank, noisy_values

FORMULAS = {"log_loss": ref.log_loss, "rmse": ref.rmse, "accuracy": ref.errors}


def problem(seed, metric, masked):
    bank = noisy_values(5, 24, seed, masked=masked) if metric == "rmse" else noisy_bank(5, 24, 3, seed, masked=masked)
    plain = partial(FORMULAS[metric], truth=bank.truth.tolist())
    return bank, loss_of(bank, metric_for(bank.task, metric)), plain


@pytest.mark.parametrize("metric", FORMULAS)
@pytest.mark.parametrize(("seed", "masked"), [(0, 0.0), (1, 0.0), (2, 0.3), (3, 0.6), (4, 0.75)])
def test_the_running_sum_selects_what_the_plain_form_selects(metric, seed, masked):
    bank, loss, plain = problem(seed, metric, masked)
    costs = [3.0, 2.0, 1.0, 2.0, 3.0]
    found = greedy_selection(bank.P, bank.mask, loss, rounds=9, costs=costs)
    picks, losses = ref.greedy(bank.P.tolist(), bank.mask.tolist(), plain, 9, costs)
    assert list(found.picks[: found.kept]) == picks
    assert found.losses[: found.kept] == pytest.approx(losses, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_with_few_members_no_set_within_the_budget_is_better(seed):
    bank, loss, plain = problem(seed, "log_loss", 0.0)
    costs, budget = [1.0, 2.0, 3.0, 4.0, 5.0], 6.0
    found = selection_within(bank.P, bank.mask, loss, costs, budget, rounds=6)
    best = ref.within(bank.P.tolist(), bank.mask.tolist(), plain, 6, costs, budget)
    assert sum(costs[m] for m in set(found.picks[: found.kept])) <= budget
    assert found.loss <= best + 1e-9


def test_the_sum_carried_along_is_the_mean_of_the_counts():
    bank = noisy_bank(4, 30, 3, 7, masked=0.4)
    seen = []
    run = Running(bank.P, bank.mask, lambda mean: seen.append(mean.copy()) or 1.0, None, 6)
    picks = [0, 2, 2, 1, 3, 0, 2]
    for m in picks:
        run.take(m)
    for t, mean in enumerate(seen):
        want = ref.mean_of(bank.P.tolist(), bank.mask.tolist(), picks[: t + 1])
        np.testing.assert_allclose(mean, want, rtol=1e-13)
