"""Weights that do to every model's inputs what its own weight does, against NumPy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cuvee.tensors import damp, solve


def problem(
    seed: int, models: int = 3, out: int = 4, width: int = 6, rows: int = 40
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and inputs of some models."""
    random = np.random.default_rng(seed)
    sizes = 10.0 ** random.uniform(-3, 3, width)
    return (
        [random.standard_normal((out, width)) for _ in range(models)],
        [random.standard_normal((rows, width)) * sizes for _ in range(models)],
    )


def grams_of(inputs: list[np.ndarray], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [torch.from_numpy(x.T @ x / len(x)).to(dtype) for x in inputs]


def tensors_of(arrays: list[np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def test_a_problem_small_enough_for_paper() -> None:
    """W·(3 + 1) = 2·3 + 6·1 in the first direction, W·(1 + 1) = 1·1 + 3·1 in the second."""
    grams = [torch.diag(torch.tensor([3.0, 1.0])), torch.eye(2)]
    found = solve([torch.tensor([[2.0, 1.0]]), torch.tensor([[6.0, 3.0]])], grams, [1.0, 1.0])
    torch.testing.assert_close(found, torch.tensor([[3.0, 2.0]], dtype=torch.float64))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_least_squares_solution_over_all_inputs(seed: int) -> None:
    """Stacked, weighted rows and what each model makes of them, solved by NumPy without a Gram matrix."""
    targets, inputs = problem(seed)
    weights = np.array([0.5, 2.0, 1.0])
    rows = np.concatenate([np.sqrt(w / len(x)) * x for w, x in zip(weights, inputs)])
    wanted = np.concatenate([np.sqrt(w / len(x)) * x @ t.T for w, x, t in zip(weights, inputs, targets)])
    expected = np.linalg.lstsq(rows, wanted, rcond=None)[0].T
    found = solve(tensors_of(targets), grams_of(inputs), weights.tolist())
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-8)


def test_it_is_the_formula_with_its_ridge() -> None:
    targets, inputs = problem(7)
    weights, ridge = [1.0, 2.0, 0.25], 0.1
    grams = [g.numpy() for g in grams_of(inputs)]
    steady = [w * (g + ridge * np.mean(np.diag(g)) * np.eye(len(g))) for w, g in zip(weights, grams)]
    expected = sum(t @ g for t, g in zip(targets, steady)) @ np.linalg.inv(sum(steady))
    found = solve(tensors_of(targets), grams_of(inputs), torch.tensor(weights), ridge)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e9])
def test_equal_targets_stay_whatever_the_inputs_and_their_scale(scale: float) -> None:
    targets, inputs = problem(3)
    same = torch.from_numpy(targets[0])
    found = solve([same] * 3, [g * scale for g in grams_of(inputs)], [1.0, 1.0, 1.0])
    torch.testing.assert_close(found, same, rtol=1e-6, atol=1e-8)


def test_equal_grams_give_the_weighted_mean() -> None:
    targets, inputs = problem(4)
    gram = grams_of(inputs)[0]
    found = solve(tensors_of(targets), [gram] * 3, [1.0, 2.0, 1.0])
    expected = (targets[0] + 2 * targets[1] + targets[2]) / 4
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fewer_rows_than_inputs_still_fit_the_rows(dtype: torch.dtype) -> None:
    """A singular sum: the result maps every row that was seen as the targets do, and is no larger than it must be."""
    targets, _ = problem(5)
    rows = np.random.default_rng(5).standard_normal((2, 6))
    grams = grams_of([rows] * 3, dtype)
    found = solve(tensors_of(targets), grams, [1.0, 1.0, 1.0]).numpy()
    mean = sum(targets) / 3
    tight = 1e-5 if dtype == torch.float32 else 1e-10
    np.testing.assert_allclose(found @ rows.T, mean @ rows.T, rtol=tight, atol=tight)
    assert np.linalg.norm(found) < 3 * np.linalg.norm(mean)


def test_an_input_that_is_always_nought_gets_nought_and_with_a_ridge_the_mean() -> None:
    grams = [torch.diag(torch.tensor([1.0, 0.0])), torch.diag(torch.tensor([3.0, 0.0]))]
    targets = [torch.tensor([[1.0, 5.0]]), torch.tensor([[5.0, 7.0]])]
    torch.testing.assert_close(solve(targets, grams, [1, 1]), torch.tensor([[4.0, 0.0]], dtype=torch.float64))
    ridged = solve(targets, grams, [3, 1], 1e-3)
    assert ridged[0, 1] == pytest.approx(6.0)  # both have a ridge of 1.5e-3 after their weights: 3 · 0.5 and 1 · 1.5


def test_very_different_sizes_of_inputs_are_no_singularity() -> None:
    gram = torch.diag(torch.tensor([1e12, 1.0, 1e-12]))
    found = solve([torch.ones(1, 3), 3 * torch.ones(1, 3)], [gram, gram], [1, 1])
    torch.testing.assert_close(found, 2 * torch.ones(1, 3, dtype=torch.float64))


def test_arguments_are_left_as_they_were() -> None:
    targets, inputs = problem(6)
    grams = grams_of(inputs)
    before = [g.clone() for g in grams]
    solve(tensors_of(targets), [damp(g, 0.5) for g in grams], [1, 1, 1], 0.1)
    for gram, kept in zip(grams, before):
        assert torch.equal(gram, kept)


def test_damping_leaves_the_diagonal() -> None:
    gram = torch.tensor([[4.0, 2.0, -1.0], [2.0, 3.0, 0.5], [-1.0, 0.5, 2.0]], dtype=torch.float64)
    expected = 0.25 * gram.numpy() + 0.75 * np.diag(np.diag(gram.numpy()))
    np.testing.assert_allclose(damp(gram, 0.25).numpy(), expected, rtol=1e-15)
    assert torch.equal(damp(gram, 1.0), gram)
    assert torch.equal(damp(gram, 0.0), torch.diag(gram.diagonal()))
