"""The objectives against sums written out in plain floats."""

from __future__ import annotations

import math

import pytest
import torch

from cuvee.coefficients.objectives import Batch, cross_entropy, divergence, entropy, padded
from cuvee.coefficients.rows import Example

LOGITS = [[0.0, 1.0, -2.0], [3.0, 0.5, 0.5]]
WANTED = [[1.0, 1.0, 0.0], [-1.0, 2.0, 0.0]]


def softmax(row: list[float]) -> list[float]:
    total = math.fsum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def test_entropy_of_classes() -> None:
    expected = math.fsum(-p * math.log(p) for row in LOGITS for p in softmax(row)) / 2
    batch = padded([Example((1,)), Example((1,))], 0)
    assert entropy(torch.tensor(LOGITS), batch).item() == pytest.approx(expected, rel=1e-6)


def test_entropy_lies_between_nothing_and_that_of_a_uniform_guess() -> None:
    batch = padded([Example((1,))], 0)
    assert entropy(torch.zeros(1, 5), batch).item() == pytest.approx(math.log(5))
    assert entropy(torch.tensor([[1e4, 0.0, 0.0]]), batch).item() == 0.0


def test_cross_entropy_of_classes() -> None:
    expected = -(math.log(softmax(LOGITS[0])[2]) + math.log(softmax(LOGITS[1])[0])) / 2
    batch = padded([Example((1,), 2), Example((1,), 0)], 0)
    assert cross_entropy(torch.tensor(LOGITS), batch).item() == pytest.approx(expected, rel=1e-6)


def test_divergence_from_an_expert() -> None:
    pairs = [(q, p) for row, aim in zip(LOGITS, WANTED) for q, p in zip(softmax(aim), softmax(row))]
    expected = math.fsum(q * (math.log(q) - math.log(p)) for q, p in pairs) / 2
    batch = padded([Example((1,)), Example((1,))], 0)
    found = divergence(torch.tensor(LOGITS), torch.tensor(WANTED), batch).item()
    assert found == pytest.approx(expected, rel=1e-6)
    assert divergence(torch.tensor(LOGITS), torch.tensor(LOGITS), batch).item() == pytest.approx(0.0, abs=1e-7)


def test_tokens_are_counted_and_padding_is_not() -> None:
    batch = padded([Example((4, 2, 1)), Example((3,))], 0)
    assert batch.ids.tolist() == [[4, 2, 1], [3, 0, 0]]
    assert batch.mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    seen = [(0, 0), (0, 1), (0, 2), (1, 0)]
    rows = [softmax(logits[i, j].tolist()) for i, j in seen]
    expected = math.fsum(-p * math.log(p) for row in rows for p in row) / 4
    assert entropy(logits, batch).item() == pytest.approx(expected, rel=1e-5)


def test_the_next_token_is_what_a_language_model_is_asked() -> None:
    batch = padded([Example((4, 2, 1)), Example((3, 1))], 0)
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))
    asked = [(0, 0, 2), (0, 1, 1), (1, 0, 1)]  # row, place, the token that comes next
    expected = -math.fsum(math.log(softmax(logits[i, j].tolist())[token]) for i, j, token in asked) / 3
    assert cross_entropy(logits, batch).item() == pytest.approx(expected, rel=1e-5)


def test_a_batch_has_labels_only_if_every_row_has() -> None:
    assert padded([Example((1,), 2), Example((1,))], 0).labels is None
    assert isinstance(padded([Example((1,), 2)], 0), Batch)
    assert padded([Example((1,), 2)], 0).labels.tolist() == [2]
