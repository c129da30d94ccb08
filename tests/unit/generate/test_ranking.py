"""Candidates compared in pairs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from cuvee.errors import CheckFailed, InputError, UsageError
from cuvee.generate import PairRanker, likelihood_scorer
from cuvee.generate.ranking import SCORES, bradley_terry
from tests.support.writing import byte_level, causal

WORTH = {"a": 1.0, "b": 3.0, "c": 0.5, "d": 2.0}


def fair(_prompt: str, a: str, b: str) -> float:
    return WORTH[a] / (WORTH[a] + WORTH[b])


@pytest.mark.parametrize("aggregate", SCORES)
def test_every_aggregate_finds_the_order_that_is_there(aggregate: Any) -> None:
    found = PairRanker(fair, aggregate).rank("?", list("abcd"))
    assert [found.candidates[i] for i in found.order] == list("bdac")
    assert (found.best, found.top(2), found.tied) == ("b", ("b", "d"), ())


def test_copeland_and_means_are_what_they_say() -> None:
    assert PairRanker(fair).rank("?", list("abcd")).scores == (1, 3, 0, 2)
    slow = [sum(fair("", one, other) for other in "abcd" if other != one) / 3 for one in "abcd"]
    assert PairRanker(fair, "mean").rank("?", list("abcd")).scores == pytest.approx(slow)


def test_strengths_are_the_likeliest() -> None:
    """No step in any direction makes the preferences, and the half wins and losses against 1, likelier."""
    q = PairRanker(fair).rank("?", list("abcd")).preferences

    def log_likelihood(beta: Any) -> float:
        pairs = sum(q[i, j] * -math.log1p(math.exp(beta[j] - beta[i])) for i in range(4) for j in range(4) if i != j)
        return pairs - sum(0.5 * math.log1p(math.exp(-b)) + 0.5 * math.log1p(math.exp(b)) for b in beta)

    found = bradley_terry(q)
    rng = np.random.default_rng(0)
    best = log_likelihood(found)
    assert all(log_likelihood(found + 1e-3 * rng.normal(size=4)) < best for _ in range(50))


def test_bradley_terry_of_an_unbeaten_candidate_is_finite() -> None:
    found = PairRanker(lambda _p, a, b: float(a < b), "bradley-terry").rank("?", ["a", "b"])
    assert found.scores[0] == pytest.approx(-found.scores[1])
    assert math.isfinite(found.scores[0])


def test_a_scorer_that_favours_the_first_place_favours_nobody() -> None:
    found = PairRanker(lambda *_: 0.9).rank("?", ["x", "y", "z"])
    assert found.first_favoured == pytest.approx(0.8)
    assert (found.tied, found.order) == (((0, 1, 2),), (0, 1, 2))
    assert np.allclose(found.preferences, 0.5)


def test_both_orders_of_every_pair_are_asked() -> None:
    asked: list[tuple[str, str]] = []

    def scorer(_prompt: str, a: str, b: str) -> float:
        asked.append((a, b))
        return 0.5

    PairRanker(scorer).rank("?", ["x", "y", "z"])
    assert sorted(asked) == sorted((a, b) for a in "xyz" for b in "xyz" if a != b)


def test_ties_go_by_the_rule() -> None:
    """x beats y, y beats z, z beats x: Copeland ties, the mean tells."""
    table = {("x", "y"): 0.6, ("y", "z"): 0.7, ("z", "x"): 0.9}

    def scorer(_prompt: str, a: str, b: str) -> float:
        return table.get((a, b), 1 - table.get((b, a), 0))

    order = {rule: PairRanker(scorer, ties=rule).rank("?", list("xyz")).order for rule in ("first", "mean")}  # type: ignore[arg-type]
    assert order == {"first": (0, 1, 2), "mean": (2, 1, 0)}
    with pytest.raises(CheckFailed, match="candidates 0, 1, 2 are equal, with 1 each") as caught:
        PairRanker(scorer, ties="error").rank("?", list("xyz"))
    assert caught.value.code == "check-failed"


def test_one_candidate_is_the_best() -> None:
    for aggregate in SCORES:
        assert PairRanker(fair, aggregate).rank("?", ["a"]).best == "a"  # type: ignore[arg-type]


def test_a_writer_is_given_the_best() -> None:
    ranking = PairRanker(fair).rank("tell", list("abcd"))
    assert ranking.fuse(lambda prompt, best: f"{prompt}: {', '.join(best)}") == "tell: b, d, a"
    assert ranking.fuse(lambda _prompt, best: best[0], top=1) == "b"
    with pytest.raises(InputError, match="must give a text") as caught:
        ranking.fuse(lambda _prompt, _best: 3)  # type: ignore[arg-type, return-value]
    assert caught.value.code == "bad-output"
    with pytest.raises(InputError, match="ZeroDivisionError"):
        ranking.fuse(lambda _prompt, _best: str(1 / 0))


@pytest.mark.parametrize("value", [math.nan, 1.5, -0.1, math.inf])
def test_preferences_are_from_0_to_1(value: float) -> None:
    with pytest.raises(InputError, match="from 0 to 1") as caught:
        PairRanker(lambda *_: value).rank("?", ["a", "b"])
    assert caught.value.code == "bad-output"


def test_what_cannot_be_ranked_is_refused() -> None:
    def broken(*_: Any) -> float:
        raise RuntimeError("out of order")

    with pytest.raises(InputError, match="out of order"):
        PairRanker(broken).rank("?", ["a", "b"])
    for candidates in ([], "ab", ["a", 1]):
        with pytest.raises(UsageError, match="`candidates`"):
            PairRanker(fair).rank("?", candidates)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as caught:
        PairRanker(3, "elo", "coin")  # type: ignore[arg-type]
    assert len(caught.value.faults) == 3


def test_a_language_model_prefers_what_it_finds_likelier_per_byte() -> None:
    model, tokenizer = causal("llama", len(byte_level())), byte_level()

    def slow(prompt: str, text: str) -> float:
        ids, before = tokenizer(prompt + text)["input_ids"], len(tokenizer(prompt)["input_ids"])
        with torch.no_grad():
            logs = model(torch.tensor([[0, *ids]])).logits[0].double().log_softmax(-1)
        return sum(float(logs[i, ids[i]]) for i in range(before, len(ids))) / len(text.encode())

    score = likelihood_scorer(model, tokenizer, sharpness=2.0)
    a, b = " sat on the mat", " ran"
    expected = 1 / (1 + math.exp(-2.0 * (slow("the cat", a) - slow("the cat", b))))
    assert score("the cat", a, b) == pytest.approx(expected, rel=1e-4)
    assert score("the cat", a, b) + score("the cat", b, a) == pytest.approx(1)
    with pytest.raises(InputError, match="must not be empty"):
        PairRanker(score).rank("the cat", ["", "x"])


@pytest.mark.parametrize("top", [0, -1, 1.5])
def test_a_writer_is_given_one_candidate_or_more(top: object) -> None:
    ranking = PairRanker(lambda prompt, a, b: 0.5).rank("", ["a", "b"])
    with pytest.raises(UsageError, match="`top`"):
        ranking.fuse(lambda prompt, best: "", top=top)  # type: ignore[arg-type]
