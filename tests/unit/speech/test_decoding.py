"""Prefix beam search held to every alignment written out; what is refused; greedy decoding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.errors import CuveeError, InputError, UsageError
from cuvee.speech import Bigram, ctc_decode, greedy_decode, score_of_words
from tests.reference import speech_formulas as slow

LM = Bigram.trained(["a b", "b a", "ab b", "a", "bb a b"])
LABELS = ["-", "a", " ", "b"]
WIDE = 10**6


def drawn(seed: int, frames: int, symbols: int = 4, *, sharp: float = 1.0) -> np.ndarray:
    """Probabilities of symbols, some of them 0."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.full(symbols, sharp), frames)
    P[rng.random(P.shape) < 0.15] = 0.0
    P[P.sum(axis=1) == 0, 0] = 1.0
    return P / P.sum(axis=1, keepdims=True)


def logs(P: Any) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(P, np.float64))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(0, 5),
    blank=st.integers(0, 3),
    lm_weight=st.sampled_from([0.0, 0.5, 1.7]),
    word_bonus=st.sampled_from([0.0, 1.5, -2.0]),
)
def test_a_wide_beam_finds_what_all_alignments_sum_to(
    seed: int, frames: int, blank: int, lm_weight: float, word_bonus: float
) -> None:
    P, labels = drawn(seed, frames), [LABELS[(i - blank) % 4] for i in range(4)]
    assert labels[blank] == "-"
    found = ctc_decode(
        logs(P), labels, lm=LM, lm_weight=lm_weight, word_bonus=word_bonus, beam=WIDE, nbest=WIDE, blank=blank
    )
    expected = slow.fused(P.tolist(), labels, blank, lambda words: score_of_words(LM, words), lm_weight, word_bonus)
    assert len(found) == len(expected)
    assert {one.text: one.score for one in found} == pytest.approx(dict(expected), rel=1e-9, abs=1e-9)
    assert found[0].score == pytest.approx(expected[0][1], abs=1e-9)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), frames=st.integers(1, 5))
def test_probabilities_of_all_transcripts_sum_to_one(seed: int, frames: int) -> None:
    found = ctc_decode(logs(drawn(seed, frames)), LABELS, beam=WIDE, nbest=WIDE)
    assert math.fsum(math.exp(one.acoustic) for one in found) == pytest.approx(1)
    assert [one.language for one in found] == [0.0] * len(found)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), beam=st.integers(1, 30))
def test_a_narrow_beam_never_finds_more_than_there_is(seed: int, beam: int) -> None:
    logp = logs(drawn(seed, 6))
    exact = {one.text: one.acoustic for one in ctc_decode(logp, LABELS, beam=WIDE, nbest=WIDE)}
    found = ctc_decode(logp, LABELS, beam=beam, nbest=5)
    assert 1 <= len(found) <= min(beam, 5)
    for one in found:
        assert one.acoustic <= exact[one.text] + 1e-9


def test_alignments_are_summed_where_greedy_takes_the_best() -> None:
    """Graves's example: each frame favours the blank, all alignments together the letter."""
    logp = logs([[0.6, 0.4], [0.6, 0.4]])
    assert greedy_decode(logp, ["-", "a"]) == ""
    best, second = ctc_decode(logp, ["-", "a"], nbest=2)
    assert (best.text, second.text) == ("a", "")
    assert math.exp(best.acoustic) == pytest.approx(0.64)  # .4·.4 + .4·.6 + .6·.4
    assert math.exp(second.acoustic) == pytest.approx(0.36)


def test_a_repeated_letter_needs_a_blank_between() -> None:
    sure = {symbol: [1.0 if s == symbol else 0.0 for s in "-ab"] for symbol in "-ab"}
    for path, text in (("aa", "a"), ("a-a", "aa"), ("aab-bb", "abb"), ("-a--", "a")):
        logp = logs([sure[s] for s in path])
        assert ctc_decode(logp, list("-ab"))[0].text == text
        assert greedy_decode(logp, list("-ab")) == text


def test_the_blank_may_stand_anywhere() -> None:
    P = drawn(3, 6, 3)
    first = ctc_decode(logs(P), ["-", "a", "b"], nbest=9, beam=WIDE)
    last = ctc_decode(logs(P[:, [1, 2, 0]]), ["a", "b", "-"], nbest=9, beam=WIDE, blank=2)
    assert [one.text for one in first] == [one.text for one in last]
    assert [one.score for one in first] == pytest.approx([one.score for one in last])


def test_greedy_decoding_leaves_the_blank_out_wherever_it_stands() -> None:
    P = np.eye(3)[[0, 2, 0, 1]]
    assert greedy_decode(logs(P), ["a", "b", "-"], blank=2) == "aab"


def test_what_cannot_be_is_no_transcript() -> None:
    sure = logs(np.eye(2)[[1, 0, 1]])
    assert [one.text for one in ctc_decode(sure, ["-", "a"], nbest=9)] == ["aa"]


def test_a_narrow_beam_judges_complete_words_by_the_language_model() -> None:
    lm = Bigram.trained(["b a", "b b"])
    logp = logs([[0, 0.6, 0, 0.4], [0, 0, 1, 0], [0, 0.5, 0, 0.5]])
    assert ctc_decode(logp, LABELS, beam=2)[0].text[0] == "a"
    assert ctc_decode(logp, LABELS, lm=lm, lm_weight=1.0, beam=2)[0].text[0] == "b"
    assert ctc_decode(logp, LABELS, lm=lm, lm_weight=1.0, beam=1)[0].text[0] == "a"  # it was gone by then
    assert len(ctc_decode(logp, LABELS, beam=3, nbest=9)) == 3


def test_a_narrow_beam_counts_the_bonus_of_complete_words() -> None:
    logp = logs([[0, 1, 0, 0], [0, 0, 0.4, 0.6], [0, 0.5, 0, 0.5]])
    assert ctc_decode(logp, LABELS, beam=1)[0].text.startswith("ab")
    assert ctc_decode(logp, LABELS, beam=1, word_bonus=2.0)[0].text.startswith("a ")


def test_no_frames_are_the_empty_text() -> None:
    (one,) = ctc_decode(np.zeros((0, 4)), LABELS, lm=LM, nbest=3)
    assert (one.text, one.words, one.acoustic) == ("", 0, 0.0)
    assert one.language == LM.end(LM.start())
    assert greedy_decode(np.zeros((0, 4)), LABELS) == ""


def test_long_utterances_do_not_underflow() -> None:
    P = np.full((5000, 4), 0.25)
    (one,) = ctc_decode(logs(P), LABELS, beam=4)
    assert math.isfinite(one.score)
    assert one.acoustic < -1000
    tiny = np.full((3, 2), -800.0)
    tiny[:, 1] = 0.0  # e⁻⁸⁰⁰ is no float
    found = {one.text: one.acoustic for one in ctc_decode(tiny, ["-", "a"], beam=WIDE, nbest=WIDE)}
    assert found == {"a": 0.0, "aa": -800.0, "": -2400.0}


def test_spaces_are_merged_and_cut_off() -> None:
    sure = {symbol: [1.0 if s == symbol else 0.0 for s in "-a b"] for symbol in "-a b"}
    logp = logs([sure[s] for s in " a - b  "])
    (one,) = ctc_decode(logp, LABELS, lm=LM, nbest=1)
    assert (one.text, one.words) == ("a b", 2)
    assert one.language == pytest.approx(score_of_words(LM, ["a", "b"]))
    assert greedy_decode(logp, LABELS) == "a b"


def test_another_symbol_may_be_the_space() -> None:
    sure = logs(np.eye(4)[[1, 2, 3]])
    labels = ["-", "a", "|", "b"]
    assert ctc_decode(sure, labels, space="|")[0].text == "a b"
    assert greedy_decode(sure, labels, space="|") == "a b"
    assert ctc_decode(sure, labels)[0].text == "a|b"


def test_the_language_model_is_asked_at_the_end_of_a_word() -> None:
    asked: list[tuple[str, str]] = []

    class Listening:
        def start(self) -> str:
            return "<s>"

        def word(self, state: str, word: str) -> tuple[str, float]:
            asked.append((state, word))
            return word, -1.0

        def end(self, state: str) -> float:
            asked.append((state, "</s>"))
            return -0.25

    (one,) = ctc_decode(logs(np.eye(4)[[1, 3, 2, 1]]), LABELS, lm=Listening(), lm_weight=2.0, word_bonus=0.5)
    assert (one.text, one.language, one.score) == ("ab a", -2.25, -3.5)
    assert asked == [("<s>", "ab"), ("ab", "a"), ("a", "</s>")]
    asked.clear()
    ctc_decode(logs(drawn(1, 5)), LABELS, lm=Listening(), lm_weight=0.0)
    assert asked == []


def test_a_forbidden_word_is_never_the_best() -> None:
    class No:
        def start(self) -> int:
            return 0

        def word(self, state: int, word: str) -> tuple[int, float]:
            return 0, -math.inf if word == "a" else -1.0

        def end(self, state: int) -> float:
            return 0.0

    found = ctc_decode(logs([[0.1, 0.8, 0.0, 0.1]]), LABELS, lm=No(), nbest=9)
    assert [one.text for one in found] == ["", "b", "a"]
    assert found[2].score == -math.inf


def test_symbols_that_are_passed_over() -> None:
    logp = logs([[0.5, 0.3, 0.0, 0.2], [0.1, 0.2, 0.1, 0.6]])
    texts = {one.text for one in ctc_decode(logp, LABELS, nbest=99, beam=WIDE, least=math.log(0.25))}
    assert texts == {"b", "ab"}
    assert len(ctc_decode(logp, LABELS, nbest=99, beam=WIDE)) > 4
    assert ctc_decode(logp, LABELS, least=1.0)[0].text == "b"  # the best symbol is never passed over


def test_what_comes_out_is_the_same_every_time() -> None:
    logp = logs(np.full((6, 4), 0.25))
    first = ctc_decode(logp, LABELS, beam=5, nbest=5)
    assert first == ctc_decode(logp, LABELS, beam=5, nbest=5)


def refused(kind: type[CuveeError], code: str, call: Callable[[], object], *words: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert set(caught.value.codes) == {code}
    for word in words:
        assert word in str(caught.value)


GOOD = logs([[0.5, 0.2, 0.1, 0.2]])


@pytest.mark.parametrize("decode", [ctc_decode, greedy_decode])
@pytest.mark.parametrize(
    ("logp", "words"),
    [
        ([[0.5, 0.2, 0.1, 0.2]] * 2, ["must sum to one", "frame 0 sum to 5.197", "2 such frames", "log_softmax"]),
        ([[2.0, 1.0, 0.0, -1.0]], ["must sum to one"]),
        (np.vstack([GOOD, [[math.nan, 0.0, -1.0, -1.0]]]), ["frame 1 holds NaN (1 such frames)"]),
        (np.vstack([GOOD, [[math.inf, 0.0, -1.0, -1.0]]]), ["frame 1 sum to inf"]),
        (np.vstack([GOOD, [[-math.inf] * 4]]), ["frame 1 sum to 0"]),
        (GOOD[:, :3], ["[frames, 4]", "found [1, 3]"]),
        (GOOD[0], ["found [4]"]),
        (GOOD[None], ["found [1, 1, 4]"]),
        ([[0.0], [0.0, 1.0]], ["an array of numbers", "list"]),
        ("abc", ["an array of numbers", "str"]),
    ],
)
def test_what_are_no_acoustic_scores(decode: Any, logp: Any, words: list[str]) -> None:
    refused(InputError, "bad-output", lambda: decode(logp, LABELS), *words)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"beam": 0, "nbest": 0}, ["`beam`", "`nbest`"]),
        ({"beam": 2.5}, ["`beam`", "2.5"]),
        ({"lm_weight": -1}, ["`lm_weight`", "-1"]),
        ({"lm_weight": math.nan, "word_bonus": math.inf}, ["`lm_weight`", "`word_bonus`"]),
        ({"blank": 4}, ["`blank`", "4 symbols; found 4"]),
        ({"blank": -1}, ["`blank`"]),
        ({"least": math.nan}, ["`least`"]),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], words: list[str]) -> None:
    refused(UsageError, "bad-argument", lambda: ctc_decode(GOOD, LABELS, lm=LM, **settings), *words)


def test_nothing_heavy_is_imported() -> None:
    import subprocess
    import sys

    code = "import sys, cuvee.speech; print([m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_scores_may_be_a_tensor_without_gradients() -> None:
    import torch

    given = torch.log_softmax(torch.eye(4), dim=1)
    assert ctc_decode(given, LABELS) == ctc_decode(given.numpy(), LABELS)
    refused(InputError, "bad-output", lambda: ctc_decode(given.requires_grad_(), LABELS), "Tensor", "detach")


def test_symbols_must_differ() -> None:
    refused(UsageError, "bad-argument", lambda: ctc_decode(GOOD, ["-", "a", "a", "b"]), "'a' stands twice")


def test_a_language_model_that_gives_no_number_is_refused() -> None:
    class Broken:
        def start(self) -> int:
            return 0

        def word(self, state: int, word: str) -> tuple[int, float]:
            return 0, math.nan if word == "b" else 0.0

        def end(self, state: int) -> float:
            return math.inf

    sure = logs(np.eye(4))
    refused(InputError, "bad-output", lambda: ctc_decode(sure[[3, 2]], LABELS, lm=Broken()), "the word 'b' is nan")
    refused(InputError, "bad-output", lambda: ctc_decode(sure[[3]], LABELS, lm=Broken()), "the word 'b' is nan")
    refused(InputError, "bad-output", lambda: ctc_decode(sure[[1]], LABELS, lm=Broken()), "of the end is inf")


def test_a_language_model_needs_to_know_where_words_end() -> None:
    sure = np.log(np.full((2, 3), 1 / 3))
    lm = Bigram.trained(["a"])
    with pytest.raises(UsageError, match="none of the symbols"):
        ctc_decode(sure, ["-", "|", "a"], lm=lm)
    assert ctc_decode(sure, ["-", "|", "a"], lm=lm, space="|")[0].text == "a"
    assert ctc_decode(sure, ["-", "b", "a"], lm=lm)  # words of their own


@pytest.mark.parametrize("name", ["lm_weight", "word_bonus", "least"])
def test_numbers_are_numbers(name: str) -> None:
    with pytest.raises(UsageError, match=f"`{name}`"):
        ctc_decode(np.log(np.full((2, 2), 0.5)), ["-", "a"], **{name: "much"})  # type: ignore[arg-type]


def test_complex_numbers_are_no_scores() -> None:
    with pytest.raises(InputError, match="complex"):
        ctc_decode(np.log(np.full((2, 2), 0.5)).astype(complex), ["-", "a"])
