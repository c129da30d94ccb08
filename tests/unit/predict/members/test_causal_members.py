"""Causal language models as classifiers: likelihoods of what classes are called, each token looked up on its own."""

from __future__ import annotations

import numpy as np
import pytest
import transformers

from cuvee.errors import InputError, UsageError
from cuvee.families import pretrained
from cuvee.predict import Member, rows_of
from cuvee.predict.answers import ask
from cuvee.predict.members.causal import Wording, prompts
from cuvee.predict.noting import noted
from tests.support.calibration import LLAMA, TEXTS, make_tokenizer
from tests.support.judging import nats_by_hand
from tests.support.zoo import seeded

TOKENIZER = make_tokenizer()
TEMPLATE = "the wine {text} is"
WORDS = {"good": "dry", "bad": "sweet and pale wine"}


@pytest.fixture(scope="module")
def llama():
    return seeded(lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)), 0)


def by_hand(model, prompt: str, words: str) -> tuple[float, int]:
    """−log p of what a class is called behind a prompt, and its tokens."""
    before = TOKENIZER(prompt, add_special_tokens=False)["input_ids"]
    whole = TOKENIZER(f"{prompt} {words}", add_special_tokens=False)["input_ids"]
    assert whole[: len(before)] == before
    return nats_by_hand(model, [1, *whole], len(before) + 1), len(whole) - len(before)


@pytest.mark.parametrize("length", ["none", "tokens", "bytes"])
def test_likelihoods_as_looked_up_token_by_token(llama, length) -> None:
    member = Member.causal(llama, TOKENIZER, classes=WORDS, template=TEMPLATE, length=length)
    found = member.ask(list(TEXTS[:3]))
    for row, text in zip(found, TEXTS):
        for z, words in zip(row, WORDS.values()):
            nats, tokens = by_hand(llama, TEMPLATE.replace("{text}", text), words)
            size = {"none": 1, "tokens": tokens, "bytes": len(words.encode())}[length]
            assert z == pytest.approx(-nats / size, abs=1e-5)


def test_no_answer_depends_on_its_neighbours_and_probabilities_are_softmax(llama) -> None:
    member = Member.causal(llama, TOKENIZER, classes=WORDS, template=TEMPLATE)
    together = member.ask(list(TEXTS))
    assert together.std(axis=0).min() > 1e-4
    np.testing.assert_allclose(together, np.concatenate([member.ask([text]) for text in TEXTS]), atol=2e-6)
    found = ask(member, rows_of([*TEXTS, None]), ("good", "bad"), "classification")
    np.testing.assert_allclose(found.P[:-1, 0], 1 / (1 + np.exp(together[:, 1] - together[:, 0])), atol=1e-12)
    assert not found.mask[-1]


def test_columns_go_into_the_template_as_they_are(llama) -> None:
    member = Member.causal(
        llama, TOKENIZER, classes=("dry", "sweet"), template="{place}: {text}", reads=("text", "place")
    )
    rows = {"text": ["oak {place} {x}", "wine"], "place": ["north", "cellar"], "more": [1, 2]}
    found = ask(member, rows_of(rows), ("dry", "sweet"), "classification").P
    plain = Member.causal(llama, TOKENIZER, classes=("dry", "sweet"), template="{text}")
    expected = ask(plain, rows_of(["north: oak {place} {x}", "cellar: wine"]), ("dry", "sweet"), "classification").P
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_only_the_templates_own_fields_are_looked_at() -> None:
    wording = Wording("{text} {} {text.__class__} {text[0]}", ("a", "b"))
    assert prompts(wording, ["{oak}"], "m") == ["{oak} {} {text.__class__} {text[0]}"]


def test_long_prompts_lose_their_start_which_is_noted(llama) -> None:
    member = Member.causal(llama, TOKENIZER, classes=WORDS, template=TEMPLATE, name="m")
    with noted() as notes:
        long = member.ask(["of the north " * 30])
    assert notes == ["'m': prompts were cut at their start to 32 tokens"]
    assert np.isfinite(long).all()


def test_a_folder(tmp_path, llama) -> None:
    pretrained.save(llama, tmp_path / "lm")
    TOKENIZER.save_pretrained(str(tmp_path / "lm"))
    member = Member.causal(tmp_path / "lm", classes=WORDS, template=TEMPLATE)
    plain = Member.causal(llama, TOKENIZER, classes=WORDS, template=TEMPLATE)
    np.testing.assert_array_equal(member.ask(["oak"]), plain.ask(["oak"]))
    assert (member.name, member.kind, member.settings["words"]) == ("lm", "causal", ["dry", "sweet and pale wine"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"template": "the wine is"}, "`template` of 'm' should say where a column"),
        ({"length": "letters"}, "`length` should be one of none, tokens, bytes; found 'letters'"),
        ({"classes": ("a", "a")}, "'a' stands twice"),
        ({"classes": {"a": "x", "b": "x"}}, "should differ"),
        ({"classes": {"a": "x", "b": ""}}, "be something"),
    ],
)
def test_wordings_that_say_nothing(llama, more, words) -> None:
    with pytest.raises(UsageError) as caught:
        Member.causal(llama, TOKENIZER, **{"classes": WORDS, "template": TEMPLATE, "name": "m", **more})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("template", "reads", "rows", "words"),
    [
        ("{a} {b}", None, ["x"], "asks for a, b; the rows have one column"),
        ("{a}", None, {"b": ["x"]}, "asks for 'a'; the rows have b"),
        ("{text}", None, ["x"], "should come to less than 4 tokens"),
    ],
)
def test_rows_that_do_not_fit_the_template(llama, template, reads, rows, words) -> None:
    classes = ("dry", "sweet wine of the north and the cellar")
    member = Member.causal(llama, TOKENIZER, classes=classes, template=template, reads=reads, max_length=4)
    with pytest.raises(InputError, match=words) as caught:
        ask(member, rows_of(rows), classes, "classification")
    assert caught.value.code == "bad-data"


def test_what_is_no_causal_model(tmp_path, llama) -> None:
    bert = seeded(
        lambda: transformers.BertModel(
            transformers.BertConfig(
                hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=8
            )
        ),
        0,
    )
    for model, reader, code in (
        (bert, TOKENIZER, "wrong-member"),
        (llama, None, "no-tokenizer"),
        (tmp_path / "no", None, "model-missing"),
    ):
        with pytest.raises(InputError) as caught:
            Member.causal(model, reader, classes=WORDS, template=TEMPLATE, name="m")
        assert caught.value.code == code
