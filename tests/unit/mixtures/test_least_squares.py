"""Routers fitted by least squares, held against an ordinary solver of the stacked problem."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cuvee.mixtures.least_squares import RIDGE, Group, fitted, groups_of, silent_rows, target


def states(seed: int, tokens: int, width: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(tokens, width, generator=torch.Generator().manual_seed(seed)) + shift


def solved(groups: list[Group]) -> np.ndarray:
    """The same by the definition: every state a row of weight 1/√tokens, and a row of √λ for each direction."""
    rows = [states.double().numpy() / np.sqrt(len(states)) for states, _ in groups]
    wanted = [np.tile(target.numpy(), (len(states), 1)) / np.sqrt(len(states)) for states, target in groups]
    stacked = np.concatenate(rows)
    width = stacked.shape[1]
    ridge = RIDGE * (stacked**2).sum() / width
    x = np.concatenate([stacked, np.sqrt(ridge) * np.eye(width)])
    y = np.concatenate([*wanted, np.zeros((width, len(groups[0][1])))])
    return np.linalg.lstsq(x, y, rcond=None)[0].T


@pytest.mark.parametrize(("seed", "tokens", "width"), [(0, 4, 9), (1, 40, 5), (2, 1, 3)])
def test_rows_are_the_solution_of_the_stacked_problem(seed: int, tokens: int, width: int) -> None:
    prompts = [
        ([{0: states(seed + 10 * i, tokens + i, width, i)}, {0: states(seed + 10 * i + 1, 2, width, i)}], [])
        for i in range(3)
    ]
    prompts[1][1].append({0: states(seed + 99, 5, width)})
    groups = list(groups_of(prompts, 0))
    assert [len(one) for one, _ in groups] == [tokens + 2, tokens + 3, 5, tokens + 4]
    rows = fitted(groups)
    assert rows.shape == (3, width)
    np.testing.assert_allclose(rows.numpy(), solved(groups), rtol=0, atol=1e-10)


def test_targets_are_shares_without_their_mean() -> None:
    assert target(1, 4, positive=True).tolist() == [-0.25, 0.75, -0.25, -0.25]
    torch.testing.assert_close(target(1, 4, positive=False), torch.tensor([1, -3, 1, 1]).double() / 12)
    assert target(0, 1, positive=True).tolist() == [1.0]
    assert target(0, 1, positive=False).tolist() == [0.0]


def test_an_expert_with_many_prompts_weighs_no_more_than_one_with_few() -> None:
    one, other = states(3, 6, 8, 1), states(4, 6, 8)
    few = fitted([(one, target(0, 2, positive=True)), (other, target(1, 2, positive=True))])
    many = fitted([(one.repeat(50, 1), target(0, 2, positive=True)), (other, target(1, 2, positive=True))])
    torch.testing.assert_close(few, many, rtol=0, atol=1e-12)


def test_the_fit_turns_to_what_tells_groups_apart() -> None:
    common = torch.zeros(200, 3)
    common[:, 0] = 100 * states(5, 200, 1).flatten()  # loud, and the same in both
    one, other = common.clone(), common.clone()
    one[:, 1], other[:, 2] = 1, 1
    groups = [(one, target(0, 2, positive=True)), (other, target(1, 2, positive=True))]
    answers = [states.double() @ fitted(groups).T for states, _ in groups]
    assert bool((answers[0][:, 0] > answers[0][:, 1]).all())
    assert bool((answers[1][:, 1] > answers[1][:, 0]).all())


def test_rows_of_prompts_that_are_the_same_are_silent() -> None:
    same = states(6, 5, 4)
    groups = [(same, target(i, 3, positive=True)) for i in range(3)]
    assert silent_rows(fitted(groups), groups) == [0, 1, 2]
    groups[2] = (states(7, 5, 4), groups[2][1])
    assert silent_rows(fitted(groups), groups) == []
