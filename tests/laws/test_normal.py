"""Normal draws are functions of position, and are close to N(0, 1)."""

from __future__ import annotations

import torch

from cuvee.mixtures.gates import random_rows
from cuvee.mixtures.model import Expert, Mixture
from cuvee.tensors.random import normal, random_words, stream_key
from cuvee.types import ModelRef

KEY = stream_key(1, "noise", "x")


def test_a_piece_is_that_piece_of_the_whole() -> None:
    whole = normal(KEY, 0, 1000)
    assert torch.equal(torch.cat([normal(KEY, 0, 7), normal(KEY, 7, 512), normal(KEY, 512, 1000)]), whole)


def test_an_entry_is_the_sum_of_twelve_parts() -> None:
    words = [int(word) for word in random_words(KEY, 15, 18)]
    parts = [(word >> shift) & 0xFFFF for word in words for shift in (0, 16, 32, 48)]
    assert normal(KEY, 5, 6).item() == sum((part + 0.5) / 2**16 for part in parts) - 6


def test_moments() -> None:
    drawn = normal(KEY, 0, 1 << 20).double()
    assert abs(drawn.mean()) < 0.004
    assert abs(drawn.var() - 1) < 0.006
    assert abs((drawn**4).mean() - 2.9) < 0.05
    assert drawn.abs().max() < 6
    assert not torch.equal(normal(stream_key(2, "noise", "x"), 0, 9), normal(KEY, 0, 9))


def test_random_routers() -> None:
    """N(0, 1), or uniform between ±1/√width; other rows for every layer and expert, the same for the same seed."""
    experts = tuple(Expert(ModelRef(name)) for name in "bcd")
    mixture = Mixture(ModelRef("a"), experts, gate_mode="random", gate_scale=0.5)
    rows = random_rows(mixture, 0, 4096)
    assert rows.shape == (3, 4096)
    assert torch.allclose(rows.std(1), torch.full((3,), 0.5), rtol=0.05)
    assert torch.equal(rows, random_rows(mixture, 0, 4096))
    assert not torch.equal(rows, random_rows(mixture, 1, 4096))
    assert not torch.equal(rows[0], rows[1])
    even = random_rows(Mixture(ModelRef("a"), experts, gate_mode="uniform_random"), 0, 4096)
    assert even.abs().max() <= 1 / 64
    assert torch.allclose(even.std(1), torch.full((3,), 1 / 64 / 3**0.5), rtol=0.05)
