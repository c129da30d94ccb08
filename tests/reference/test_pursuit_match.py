"""Matching pursuit in torch against the one in plain Python floats."""

from __future__ import annotations

import pytest
import torch

from cuvee import tensors
from tests.reference import pursuit_formulas as slow


def draw(seed: int, rows: int, atoms: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=rng).double(), torch.randn(atoms, width, generator=rng).double()


@pytest.mark.parametrize(("atoms", "width", "k"), [(12, 5, 3), (6, 8, 6), (9, 4, 9), (3, 7, 5), (1, 3, 2)])
def test_atoms_and_weights_are_those_of_the_formula(atoms: int, width: int, k: int) -> None:
    targets, known = draw(atoms, 6, atoms, width)
    found = tensors.pursue(targets, known, k=k)
    for row, target in enumerate(targets):
        chosen, weights = slow.pursue(target.tolist(), known.tolist(), k)
        count = len(chosen)
        assert found.atoms[row, :count].tolist() == chosen
        assert found.weights[row, :count].tolist() == pytest.approx(weights, rel=1e-7, abs=1e-9)
        assert not found.weights[row, count:].any()
        rest = slow.rest_of(target.tolist(), [known[i].tolist() for i in chosen], weights)
        assert float(found.left[row]) == pytest.approx(slow.length(rest) / slow.length(target.tolist()), abs=1e-7)


def test_the_formula_by_hand() -> None:
    assert slow.pursue([3.0, 4.0], [[1.0, 0.0], [0.0, 1.0]], 1) == ([1], [4.0])
    assert slow.pursue([3.0, 4.0], [[10.0, 0.0], [0.0, 1.0]], 2) == ([1, 0], [4.0, 0.3])
    assert slow.pursue([2.0, 2.0], [[1.0, 0.0], [1.0, 1.0]], 2) == ([1], [2.0])
