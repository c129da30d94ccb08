"""Units in another order are found in rows, in columns and in both, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cuvee.preflight import matching


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


A = drawn(0, 60, 40)
ROWS = torch.randperm(60, generator=torch.Generator().manual_seed(1))
COLUMNS = torch.randperm(40, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    "other", [A[ROWS], A[:, COLUMNS], A[ROWS][:, COLUMNS]], ids=["rows", "columns", "rows and columns"]
)
def test_a_permuted_copy_matches(other: Tensor) -> None:
    found = matching.match(A, other)
    assert found.matched == pytest.approx(1, abs=1e-5)
    assert found.fall == pytest.approx(1, abs=1e-4)
    assert found.norms < 1e-6
    assert abs(found.as_they_are) < 0.2


@pytest.mark.parametrize("other", [A[ROWS], A[:, COLUMNS]], ids=["rows", "columns"])
def test_a_permuted_fine_tune_matches(other: Tensor) -> None:
    found = matching.match(A, other + 0.3 * drawn(3, 60, 40))
    assert found.fall > 0.8


def test_rows_alone() -> None:
    assert matching.match(A, A[ROWS], rows_only=True).fall > 0.99
    assert matching.match(A, A[:, COLUMNS], rows_only=True).fall < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_matrices_in_no_relation_do_not(seed: int) -> None:
    found = matching.match(A, drawn(10 + seed, 60, 40))
    assert found.fall < 0.1
    assert found.by_chance > 0.1  # pairing anew gains something by chance, and that is taken off


def test_rows_without_a_partner_count_nothing() -> None:
    other = A[ROWS].clone()
    other[:30] = drawn(4, 30, 40)
    assert 0.45 < matching.match(A, other).matched < 0.6  # 0.67 if each took its nearest
