"""The bigram model, rescoring, word errors and tuning."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.errors import InputError, UsageError
from cuvee.speech import Bigram, Hypothesis, ctc_decode, rescore, score_of_words, tune, word_errors
from tests.reference import speech_formulas as slow

TEXTS = ["the cat sat", "the dog sat", "the cat ran", "a dog"]


def test_a_bigram_by_hand() -> None:
    lm = Bigram.trained(TEXTS, discount=0.75)
    # 15 counted with 4 ends, 7 kinds with the end: P(cat) = 3/23; "the" 3 times, before 2 kinds of words
    assert lm.probability("the", "cat") == pytest.approx((2 - 0.75) / 3 + 0.75 * 2 / 3 * 3 / 23)
    assert lm.probability("the", "the") == pytest.approx(0.75 * 2 / 3 * 4 / 23)
    assert lm.probability("the", "yak") == pytest.approx(0.75 * 2 / 3 * 1 / 23)
    assert lm.probability("yak", "cat") == pytest.approx(3 / 23)
    assert lm.probability("ran", "") == pytest.approx((1 - 0.75) / 1 + 0.75 * 5 / 23)


@settings(max_examples=20, deadline=None)
@given(
    texts=st.lists(st.lists(st.sampled_from("abcd"), max_size=5).map(" ".join), min_size=1, max_size=6),
    discount=st.floats(0.05, 0.95),
    before=st.sampled_from(["", "a", "b", "zzz"]),
)
def test_probabilities_after_a_word_sum_to_one(texts: list[str], discount: float, before: str) -> None:
    if not any(texts):
        return
    lm = Bigram.trained(texts, discount=discount)
    known = [lm.probability(before, word) for word in lm.words]
    assert min(known) > 0
    assert math.fsum(known) + lm.probability(before, "never seen") == pytest.approx(1)


def test_a_text_is_the_product_of_its_words_and_its_end() -> None:
    lm = Bigram.trained(TEXTS)
    parts = [lm.probability(v, w) for v, w in (("", "a"), ("a", "cat"), ("cat", ""))]
    assert score_of_words(lm, ["a", "cat"]) == pytest.approx(math.log(math.prod(parts)))


def test_what_no_language_model_is_trained_from() -> None:
    for texts in ([], ["", "  "]):
        with pytest.raises(InputError, match="needs words") as caught:
            Bigram.trained(texts)
        assert caught.value.code == "too-few-rows"
    for discount in (0.0, 1.0, math.nan):
        with pytest.raises(UsageError, match="`discount`"):
            Bigram.trained(TEXTS, discount=discount)


class Costly:
    """Every word costs 2, the end 1."""

    def start(self) -> int:
        return 0

    def word(self, state: int, word: str) -> tuple[int, float]:
        return 0, -2.0

    def end(self, state: int) -> float:
        return -1.0


LISTED = [Hypothesis("a b c", -1.0, -1.0, words=3), Hypothesis("abc", -2.0, -2.0, words=1)]


def test_rescoring_by_hand() -> None:
    found = rescore(LISTED, Costly(), lm_weight=0.5)
    assert [(one.text, one.score, one.language) for one in found] == [("abc", -3.5, -3.0), ("a b c", -4.5, -7.0)]
    bonus = rescore(LISTED, Costly(), lm_weight=0.5, word_bonus=1.0)
    assert [(one.text, one.score) for one in bonus] == [("a b c", -1.5), ("abc", -2.5)]
    assert rescore([], Costly()) == ()


def test_a_mean_does_not_favour_the_text_with_fewer_tokens() -> None:
    words = {one.text: one.score for one in rescore(LISTED, Costly(), lm_weight=1.0, per="word")}
    assert words == {"a b c": -1 - 7 / 4, "abc": -2 - 3 / 2}
    letters = {one.text: one.score for one in rescore(LISTED, Costly(), lm_weight=1.0, per="character")}
    assert letters == {"a b c": -1 - 7 / 6, "abc": -2 - 3 / 4}


@pytest.mark.parametrize("per", ["text", "word", "character"])
def test_without_weight_rescoring_keeps_the_acoustic_order(per: Any) -> None:
    assert [one.text for one in rescore(LISTED, Costly(), lm_weight=0.0, per=per)] == ["a b c", "abc"]


def test_a_language_model_without_weight_is_not_asked() -> None:
    class Forbidding(Costly):
        def word(self, state: int, word: str) -> tuple[int, float]:
            return 0, -math.inf

    assert [one.score for one in rescore(LISTED, Forbidding(), lm_weight=0.0)] == [-1.0, -2.0]
    assert [one.score for one in rescore(LISTED, Forbidding())] == [-math.inf, -math.inf]


def test_rescoring_all_transcripts_is_fusion() -> None:
    """With every transcript in the list nothing is lost by asking the language model afterwards."""
    import numpy as np

    lm = Bigram.trained(["a b", "b a", "ab"])
    logp = np.log(np.random.default_rng(0).dirichlet(np.ones(4), 5))
    labels = ["-", "a", " ", "b"]
    given = {"lm_weight": 0.8, "word_bonus": 0.7}
    fused = ctc_decode(logp, labels, lm=lm, beam=10**6, nbest=10**6, **given)  # type: ignore[arg-type]
    after = rescore(ctc_decode(logp, labels, beam=10**6, nbest=10**6), lm, **given)
    assert {one.text: one.score for one in after} == pytest.approx({one.text: one.score for one in fused})
    assert after[0].text == fused[0].text


def test_settings_of_rescoring_are_checked() -> None:
    with pytest.raises(UsageError, match="`per` must be one of text, word, character; found 'byte'"):
        rescore(LISTED, Costly(), per="byte")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="`lm_weight`"):
        rescore(LISTED, Costly(), lm_weight=-0.1)


WORDS = st.lists(st.sampled_from("abc"), max_size=6)


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_word_errors_are_edit_distances(pairs: list[tuple[list[str], list[str]]]) -> None:
    if not any(right for _, right in pairs):
        return
    found = word_errors([" ".join(one) for one, _ in pairs], [" ".join(right) for _, right in pairs])
    assert found.edits == sum(slow.distance(tuple(one), tuple(right)) for one, right in pairs)
    assert found.words == sum(len(right) for _, right in pairs)
    assert found.rate == found.edits / found.words


def test_words_that_are_counted_together() -> None:
    assert word_errors(["a b", "c"], ["a b", "d"]).rate == pytest.approx(1 / 3)
    assert word_errors(["a b c"], ["a"]).rate == 2.0


def test_word_errors_need_words_and_pairs() -> None:
    with pytest.raises(InputError, match="each of 2 transcripts; found 1") as caught:
        word_errors(["a", "b"], ["a"])
    assert caught.value.code == "rows-differ"
    with pytest.raises(InputError, match="needs words") as caught:
        word_errors(["a"], [" "])
    assert caught.value.code == "too-few-rows"


def test_tuning_takes_the_point_with_the_fewest_errors() -> None:
    right = ["a b", "c d"]
    said = {(0.5, 1.0): ["a b", "c d"], (1.0, 1.0): ["a b", "c d"], (0.5, 2.0): ["a b", "c d"]}
    told: list[tuple[int, int]] = []
    found = tune(
        lambda weight, bonus: said.get((weight, bonus), ["a", "c x"]),
        right,
        lm_weights=[0.0, 0.5, 1.0],
        word_bonuses=[2.0, 1.0],
        progress=lambda done, of: told.append((done, of)),
    )
    assert (found.lm_weight, found.word_bonus, found.errors.rate) == (0.5, 1.0, 0.0)
    assert len(found.trials) == 6
    assert told[-1] == (6, 6)
    assert found.grid().splitlines() == [
        "lm_weight \\ word_bonus       2        1 ",
        "                     0   0.500    0.500 ",
        "                   0.5   0.000    0.000*",
        "                     1   0.500    0.000 ",
    ]


def test_tuning_needs_something_to_try() -> None:
    with pytest.raises(UsageError, match="one is empty"):
        tune(lambda weight, bonus: ["a"], ["a"], lm_weights=[])


def test_a_text_is_not_a_list_of_texts() -> None:
    with pytest.raises(UsageError, match="lists of texts"):
        word_errors("ab", "ab")
    with pytest.raises(UsageError, match="must be a list of texts"):
        Bigram.trained("the cat")
