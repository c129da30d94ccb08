"""Tokens of one tokenizer found in another, and the pieces of those that are not: trained tokenizers of all kinds."""

from __future__ import annotations

import itertools
from functools import cache

import pytest

from cuvee.tokens.pairing import pair, specials_of
from cuvee.tokens.pieces import pieces_of
from cuvee.tokens.reading import vocabulary_of
from cuvee.tokens.spelling import spellings
from cuvee.tokens.vocabulary import Vocabulary
from tests.support import tokenizers as trained

KINDS = {
    "byte_level": trained.byte_level,
    "byte_fallback": trained.byte_fallback,
    "unigram": trained.unigram,
    "wordpiece": trained.wordpiece,
}


@cache
def vocabulary(kind: str, texts: tuple[str, ...] = trained.ENGLISH) -> Vocabulary:
    return vocabulary_of({"tokenizer.json": KINDS[kind](texts).to_str()}, kind)


@pytest.mark.parametrize(("new", "old"), list(itertools.product(KINDS, KINDS)))
def test_tokens_of_any_kind_are_found_in_any_other_by_their_bytes(new: str, old: str) -> None:
    a, b = vocabulary(new), vocabulary(old, trained.ENGLISH[:3])
    found = pair(a, b)
    spelled = {b.ids[token]: text for token, text in spellings(b).items()}
    texts = {a.ids[token]: text for token, text in spellings(a).items()}
    special = {a.ids[token] for token in specials_of(a)}
    ordinary = [number for number in found.same if number not in special]
    assert len(ordinary) > 15
    assert all(texts[number] == spelled[found.same[number]] for number in ordinary)
    known = {text for token, text in spellings(b).items() if token not in specials_of(b)}
    assert all(texts[number] not in known for number in found.alone if number not in special)
    every = [*found.same, *found.by_role, *found.alone, *found.gaps]
    assert sorted(every) == list(range(a.size))


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_is_found_in_itself(kind: str) -> None:
    own = vocabulary(kind)
    found = pair(own, own)
    assert dict(found.same) == {number: number for number in own.ids.values()}
    assert not found.by_role
    assert not found.alone


SPELLED = {1: b"a", 2: b"b", 3: b"ab", 4: b" ab", 5: b"\xc3", 6: b"\xa9", 7: b" "}
NUMBERS = {text: number for number, text in SPELLED.items()}


@pytest.mark.parametrize(
    ("text", "split", "found"),
    [
        (b"aab", lambda _: [1, 1, 2], (1, 1, 2)),
        (b" aab", lambda given: {"aab": [7, 1, 3]}.get(given, []), (7, 1, 3)),  # it puts a blank before what it gets
        (b"aab", lambda _: [4, 2], (1, 3)),  # not the text: the longest tokens that fit instead
        (b"abab", None, (3, 3)),
        ("é".encode(), None, (5, 6)),
        (b"\xa9", lambda _: [1], (6,)),  # a part of a letter: no tokenizer can be asked
        (b"abc", None, ()),
        (b"", lambda _: [1], ()),
    ],
)
def test_the_pieces_of_a_text(text: bytes, split: object, found: tuple[int, ...]) -> None:
    assert pieces_of(text, SPELLED, NUMBERS, split) == found  # type: ignore[arg-type]
