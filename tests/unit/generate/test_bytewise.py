"""Distributions of the next byte, against sums over every sequence of tokens."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models

from cuvee.generate import TokenEnsemble, bytewise
from cuvee.generate.bytewise import END, Covering, Spelling
from cuvee.generate.members import LanguageModel
from tests.support.writing import PROMPTS, byte_level, causal, pieces, wrapped

WORDS = ("a", "b", "ab", "ba", "aab", "bb")
IDS = {word: 3 + i for i, word in enumerate(WORDS)}
PROMPT = (3, 4)


@cache
def tiny(seed: int = 0) -> LanguageModel:
    """Six tokens that overlap in every way, and an end."""
    made = Tokenizer(models.BPE({"<s>": 0, "</s>": 1, "<pad>": 2, **IDS}, []))
    made.decoder = decoders.Fuse()
    return LanguageModel("tiny", causal("gpt2", 3 + len(WORDS), seed), wrapped(made))


@cache
def following(ids: tuple[int, ...]) -> dict[int, float]:
    """p(t | ids) of what may be written, in plain floats."""
    with torch.no_grad():
        logits = tiny().model(torch.tensor([ids])).logits[0, -1].double().tolist()
    may = [1, *IDS.values()]
    total = math.fsum(math.exp(logits[i]) for i in may)
    return {i: math.exp(logits[i]) / total for i in may}


def whole(text: str, ids: tuple[int, ...] = PROMPT) -> float:
    """The probability of a text that ends: over all of its tokenisations."""
    if not text:
        return following(ids)[1]
    return math.fsum(
        following(ids)[number] * whole(text[len(word) :], (*ids, number))
        for word, number in IDS.items()
        if text.startswith(word)
    )


def beginning(text: str, ids: tuple[int, ...] = PROMPT) -> float:
    """The probability of all texts that begin so: over all token sequences that cover it."""
    if not text:
        return 1.0
    return math.fsum(
        following(ids)[number] * (1.0 if word.startswith(text) else beginning(text[len(word) :], (*ids, number)))
        for word, number in IDS.items()
        if word.startswith(text) or text.startswith(word)
    )


def covering(text: str) -> Covering:
    made = Covering(Spelling(tiny()), PROMPT, 1.0)
    for byte in text.encode():
        made.write(byte)
    return made


@pytest.mark.parametrize("text", ["", "a", "b", "ab", "aab", "abab", "babba", "bbbb"])
def test_the_next_byte_is_as_likely_as_all_that_begins_so(text: str) -> None:
    found = covering(text).logs().exp()
    for letter in "ab":
        assert float(found[ord(letter)]) == pytest.approx(beginning(text + letter) / beginning(text), rel=1e-5)
    assert float(found[END]) == pytest.approx(whole(text) / beginning(text), rel=1e-5)
    assert float(found.sum()) == pytest.approx(1)
    assert int((found > 0).sum()) == 3


def test_bytes_and_the_end_multiply_to_the_probability_of_a_text() -> None:
    text, log, made = "aabba", 0.0, covering("")
    for byte in text.encode():
        log += float(made.logs()[byte])
        made.write(byte)
    assert math.exp(log + float(made.logs()[END])) == pytest.approx(whole(text), rel=1e-5)
    assert made.dropped == 0


def test_what_is_not_followed_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytewise, "HEADS", 2)
    made = covering("abab")
    assert 0 < made.dropped < 1
    found = float(made.logs()[ord("a")].exp())
    assert found != pytest.approx(beginning("ababa") / beginning("abab"), rel=1e-6)


def test_a_permuted_copy_says_the_same_bytes() -> None:
    from tests.support.writing import permuted, reordered

    model, tokenizer = causal("llama", len(byte_level())), byte_level()
    other, order = permuted(tokenizer)
    logs = [
        Covering(Spelling(LanguageModel("it", one, own)), own("the cat")["input_ids"], 1.0).logs()
        for one, own in ((model, tokenizer), (reordered(model, order), other))
    ]
    assert torch.allclose(logs[0].exp(), logs[1].exp(), atol=1e-9)


def test_only_bytes_that_all_models_can_write_are_written() -> None:
    large = (causal("llama", len(byte_level())), byte_level())
    both = TokenEnsemble([large, (tiny().model, tiny().tokenizer)], align="byte")
    found = both.generate(["ab"], max_new_tokens=12)[0]
    assert set(found.text) <= {"a", "b"}
    assert (len(found) == 12) == (found.reason == "length")


def test_models_of_any_vocabularies_write_by_bytes() -> None:
    pairs: list[tuple[Any, Any]] = [
        (causal("llama", len(byte_level())), byte_level()),
        (causal("gpt2", len(pieces()), 1), pieces()),
    ]
    both = TokenEnsemble(pairs, align="byte")
    found = both.generate(PROMPTS[:2], max_new_tokens=5)
    assert found.align == "byte"
    assert all(len(piece) <= 1 for one in found for piece in one.pieces)
    logs = [Covering(Spelling(m), m.tokenizer(PROMPTS[0])["input_ids"], 1.0).logs().exp() for m in both.members]
    mean = (logs[0] + logs[1]) / 2
    assert found[0].pieces[0] == bytes([int(mean.argmax())])
    assert math.exp(found[0].logs[0]) == pytest.approx(float(mean.max()), rel=1e-9)
    assert "".join(both.stream(PROMPTS[0], max_new_tokens=5)) == found.texts[0]
