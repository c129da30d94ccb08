"""Many answers, one taken."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cuvee.errors import CheckFailed, InputError, UsageError
from cuvee.generate import Sampled, TokenEnsemble, answers
from cuvee.generate.voting import Sample
from tests.support.writing import byte_level, causal


def sampled(*texts: str, logs: tuple[float, ...] = ()) -> Sampled:
    own = tuple(Sample(text, *logs[i : i + 1]) for i, text in enumerate(texts))
    return Sampled(("6 · 7?",), (own,))


def test_the_answer_of_most_is_taken() -> None:
    (vote,) = sampled("6 by 7 is 42", "41 or 42", "43", "I do not know").vote(r"\d+")
    assert (vote.answer, vote.agreement, vote.unread, vote.tied) == ("42", 0.5, 1, False)
    assert vote.votes == {"42": 2, "43": 1}
    assert vote.sample == Sample("6 by 7 is 42", pytest.approx(float("nan"), nan_ok=True))


def test_a_group_of_a_pattern_is_the_answer() -> None:
    assert sampled("x = 4, y = 5").vote(re.compile(r"x = (\d)"))[0].answer == "4"


def test_a_function_may_read_answers() -> None:
    (vote,) = sampled("0.50", "1/2", ".5", "x").vote(lambda text: None if text == "x" else (eval(text),))
    assert (vote.answer, vote.agreement, vote.unread) == ((0.5,), 0.75, 1)


def test_whole_texts_are_answers_without_an_extractor() -> None:
    (vote,) = sampled(" yes\n", "yes", "no", "  ").vote()
    assert (vote.answer, vote.votes, vote.unread) == ("yes", {"yes": 2, "no": 1}, 1)


def test_nothing_to_read_is_no_answer() -> None:
    (vote,) = sampled("a", "b").vote(r"\d")
    assert (vote.answer, vote.agreement, vote.unread, vote.sample) == (None, 0.0, 2, None)


def test_ties_are_broken_by_the_rule_that_was_named() -> None:
    tie = sampled("1", "2", "2", "1", logs=(-1.0, -0.5, -0.7, -2.0))
    assert [tie.vote(ties=rule)[0].answer for rule in ("first", "log-prob")] == ["1", "2"]  # type: ignore[arg-type]
    assert tie.vote()[0].tied
    with pytest.raises(CheckFailed, match="'1' and '2' have 2 votes each") as caught:
        tie.vote(ties="error")
    assert caught.value.code == "check-failed"
    assert sampled("1", "2", "2").vote(ties="error")[0].answer == "2"


def test_an_ensemble_is_sampled_and_its_log_probabilities_known() -> None:
    model = TokenEnsemble([(causal("llama", len(byte_level())), byte_level())])
    found = answers(["the cat", "one"], model, n=3, max_new_tokens=4, seed=2)
    direct = model.generate(["the cat", "one"], n=3, max_new_tokens=4, seed=2, temperature=0.7)
    assert [s.text for own in found.samples for s in own] == list(direct.texts)
    assert found.samples[1][0].mean_log == direct[3].mean_log
    assert len(found.vote(ties="log-prob")) == 2
    pair = answers(["the cat", "one"], (model.members[0].model, byte_level()), n=3, max_new_tokens=4, seed=2)
    assert pair.samples == found.samples


def test_several_models_answer_each_so_many_times() -> None:
    def a(prompts: Any, n: int, seed: int) -> list[list[str]]:
        return [[f"{seed}"] * n for _ in prompts]

    def b(prompts: Any, n: int, seed: int) -> list[list[str]]:
        return [["x"] * n for _ in prompts]

    found = answers(["p"], [a, b], n=2, seed=7)
    assert [s.text for s in found.samples[0]] == ["7", "7", "x", "x"]


@pytest.mark.parametrize("texts", [[], [["a"]], [["a", "b", "c"]], ["ab"], [["a", 1]]])
def test_a_function_must_give_n_texts_for_each_prompt(texts: Any) -> None:
    with pytest.raises(InputError) as caught:
        answers(["p"], lambda *_: texts, n=2)
    assert caught.value.code == "bad-output"


def test_what_fails_is_named() -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("out of order")

    with pytest.raises(InputError, match="out of order") as caught:
        answers(["p"], broken)
    assert caught.value.code == "member-failed"
    with pytest.raises(InputError, match="`extract` failed on 'a'"):
        sampled("a").vote(broken)
    with pytest.raises(InputError, match="unhashable"):
        sampled("a").vote(lambda _text: [1])  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("given", "word"),
    [({"extract": "("}, "regular expression"), ({"extract": 3}, "pattern or a function"), ({"ties": "last"}, "`ties`")],
)
def test_votes_are_checked(given: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        sampled("a").vote(**given)


def test_log_probabilities_of_functions_are_not_made_up() -> None:
    with pytest.raises(UsageError, match="log-prob"):
        sampled("1", "2").vote(ties="log-prob")
    with pytest.raises(UsageError, match="`n`"):
        answers(["p"], lambda *_: [[]], n=0)


def test_an_empty_match_is_no_answer() -> None:
    """`\\d*` matches nothing at every end."""
    (vote,) = sampled("so 42", "none").vote(r"\d*")
    assert (vote.answer, vote.unread) == ("42", 1)


def test_no_number_is_no_answer() -> None:
    (vote,) = sampled("nan", "nan", "1").vote(float)
    assert (vote.answer, vote.agreement, vote.unread) == (1.0, pytest.approx(1 / 3), 2)


def test_models_that_answer_the_same_prompts_draw_by_numbers_of_their_own() -> None:
    pair = (causal("llama", len(byte_level())), byte_level())
    (row,) = answers(["the cat"], [pair, pair], n=2, max_new_tokens=4, temperature=1.0).samples
    assert len({one.text for one in row}) > 2
    assert row[:2] == answers(["the cat"], pair, n=2, max_new_tokens=4, temperature=1.0).samples[0]
