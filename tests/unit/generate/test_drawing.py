"""Draws: from the right distribution, and the same whoever else is in the batch."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from scipy.stats import chisquare
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from cuvee.errors import UsageError
from cuvee.generate.drawing import Sampling, chosen, narrowed, uniform

LOGITS = torch.tensor([0.2, 1.5, -1.0, 0.9, 2.1, -3.0], dtype=torch.float64)


@cache
def counts(how: Sampling, draws: int) -> list[int]:
    found = [chosen(LOGITS.log_softmax(-1), how, ("prompt", sample), 0) for sample in range(draws)]
    return [found.count(token) for token in range(len(LOGITS))]


def test_draws_follow_the_distribution() -> None:
    how = Sampling(temperature=1.3, seed=5)
    expected = (LOGITS / 1.3).softmax(-1).tolist()
    found = counts(how, 2500)
    assert chisquare(found, [2500 * p for p in expected]).pvalue > 0.01


def test_draws_are_far_from_another_distribution() -> None:
    """The test above can fail: at temperature 1 the same counts are refused."""
    found = counts(Sampling(temperature=1.3, seed=5), 2500)
    assert chisquare(found, [2500 * p for p in LOGITS.softmax(-1).tolist()]).pvalue < 1e-6


@pytest.mark.parametrize("how", [Sampling(0.7), Sampling(1.0, 3), Sampling(1.5, None, 0.8), Sampling(0.9, 4, 0.5)])
def test_what_is_left_to_draw_from_is_what_transformers_leaves(how: Sampling) -> None:
    theirs = TemperatureLogitsWarper(how.temperature)(None, LOGITS[None])
    if how.top_k:
        theirs = TopKLogitsWarper(how.top_k)(None, theirs)
    if how.top_p:
        theirs = TopPLogitsWarper(how.top_p)(None, theirs)
    assert torch.allclose(narrowed(LOGITS, how).exp(), theirs[0].softmax(-1), atol=1e-12)


def test_a_draw_never_takes_what_was_left_out() -> None:
    assert counts(Sampling(2.0, top_k=2), 300)[:4] == [0, counts(Sampling(2.0, top_k=2), 300)[1], 0, 0]


def test_no_temperature_takes_the_first_of_the_likeliest() -> None:
    assert chosen(torch.tensor([0.1, 0.4, 0.4, 0.1]).log(), Sampling(), ("", 0), 0) == 1


def test_numbers_are_even_and_depend_on_everything() -> None:
    found = [uniform(0, ("a", sample), place) for sample in range(40) for place in range(50)]
    assert len(set(found)) == 2000
    assert chisquare(torch.histc(torch.tensor(found), 20, 0, 1).tolist()).pvalue > 0.01
    assert uniform(0, ("a", 0), 0) == uniform(0, ("a", 0), 0)
    assert len({uniform(0, ("a", 0), 0), uniform(1, ("a", 0), 0), uniform(0, ("b", 0), 0)}) == 3


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 1.5}, "top_p"),
        ({"seed": 0.5}, "seed"),
    ],
)
def test_settings_of_draws_are_checked(given: dict[str, float], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Sampling(**given)  # type: ignore[arg-type]


def test_a_share_that_is_reached_but_for_rounding_is_reached() -> None:
    """0.9 and 0.1: what the second begins at is 0.9 less the last bit."""
    logs = torch.tensor([0.75, 0.25], dtype=torch.float64).log()
    kept = narrowed(logs, Sampling(temperature=0.5, top_p=0.9))
    assert torch.isfinite(kept).tolist() == [True, False]
