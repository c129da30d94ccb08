"""Tokens as bytes, and which token of one vocabulary is which of another."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from cuvee.errors import InputError
from cuvee.generate.aligning import paired
from cuvee.generate.vocabulary import Vocabulary, vocabulary_of
from tests.support.writing import TEXTS, byte_level, permuted, pieces, wrapped


def word_pieces(decoder: object) -> object:
    words = ["<s>", "</s>", "<pad>", "[UNK]", "the", "cat", "##s", "##ly", ".", "mat"]
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoder  # type: ignore[assignment]
    return wrapped(made, unk_token="[UNK]")


@pytest.mark.parametrize("make", [byte_level, pieces])
@pytest.mark.parametrize("text", [*TEXTS, "日本 £\n\tx"])
def test_the_bytes_of_tokens_are_the_text(make: object, text: str) -> None:
    tokenizer = make()  # type: ignore[operator]
    words = vocabulary_of(tokenizer, "it")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert b"".join(words.written[i] or b"" for i in ids).decode().removeprefix(" ") == text


def test_marks_come_from_the_tokenizer() -> None:
    words = vocabulary_of(word_pieces(decoders.WordPiece()), "it")
    assert [words.written[i] for i in (4, 6, 8)] == [b" the", b"s", b" ."]
    other = vocabulary_of(word_pieces(decoders.WordPiece(prefix="@@")), "it")
    assert other.written[6] == b" ##s"


def test_llamas_decoder_is_read_step_by_step() -> None:
    """A mark replaced, bytes written out, the first space of a text taken away: as old Llamas declare it."""
    words = ["<s>", "</s>", "<pad>", "<unk>", "▁the", "▁", "cat", *(f"<0x{byte:02X}>" for byte in range(256))]
    made = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, [], byte_fallback=True, unk_token="<unk>"))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    made.decoder = decoders.Sequence(steps)
    found = vocabulary_of(wrapped(made, unk_token="<unk>"), "it")
    assert found.written[4:8] == (b" the", b" ", b"cat", b"\x00")
    assert found.by_bytes["é".encode()[:1]] == (7 + 0xC3,)


def test_special_tokens_write_nothing() -> None:
    words = vocabulary_of(byte_level(), "it", ends=(7,))
    assert words.special == {0: "<s>", 1: "</s>", 2: "<pad>"}
    assert [words.written[i] for i in range(3)] == [None] * 3
    assert words.ends == (1, 7)


def test_a_decoder_that_is_not_known_is_refused() -> None:
    with pytest.raises(InputError, match="CTC") as caught:
        vocabulary_of(word_pieces(decoders.CTC()), "model 2")
    assert caught.value.code == "no-vocabulary-map"


def test_a_decoder_that_does_otherwise_than_it_says_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = word_pieces(decoders.WordPiece())
    monkeypatch.setattr(tokenizer, "batch_decode", lambda pairs, **_: ["other"] * len(pairs))
    with pytest.raises(InputError, match="it decodes 'other'"):
        vocabulary_of(tokenizer, "model 2")


def test_the_same_vocabulary_is_identical_and_a_permuted_one_is_mapped() -> None:
    first = vocabulary_of(byte_level(), "a")
    assert paired(first, vocabulary_of(byte_level(), "b")).relation == "identical"
    other, order = permuted(byte_level())
    found = paired(first, vocabulary_of(other, "b"))
    assert (found.relation, list(found.index)) == ("permuted", order)


def test_other_tokens_are_another_vocabulary() -> None:
    found = paired(vocabulary_of(byte_level(), "a"), vocabulary_of(pieces(), "b"))
    assert found.relation == "different"
    assert found.why == "b',' is one token in one and 2 tokens in the other"
    assert paired(vocabulary_of(byte_level(), "a"), vocabulary_of(byte_level(300), "b")).relation == "different"


def test_the_same_size_is_not_the_same_vocabulary() -> None:
    """Same number of tokens, one of them another: told from bytes."""
    one = Vocabulary((b"a", b"b"), ("a", "b"), {})
    two = Vocabulary((b"a", b"c"), ("a", "c"), {})
    assert paired(one, two).relation == "different"


def test_tokens_that_write_the_same_bytes_go_together_as_they_stand() -> None:
    """A byte and a letter of the same: `<0x41>` goes with `<0x41>`, not with `A`."""
    one = Vocabulary((b"A", b"A"), ("A", "<0x41>"), {})
    two = Vocabulary((b"A", b"A"), ("<0x41>", "A"), {})
    assert paired(one, two).index == (1, 0)


def test_marks_of_spaces_do_not_matter() -> None:
    one = Vocabulary((b" the", b"x"), ("Ġthe", "x"), {})
    two = Vocabulary((b"x", b" the"), ("x", "▁the"), {})
    assert paired(one, two).index == (1, 0)


def test_special_tokens_go_together_by_content() -> None:
    one = Vocabulary((b"a", None, None), ("a", "<s>", "<x>"), {1: "<s>", 2: "<x>"})
    two = Vocabulary((b"a", None, None), ("a", "<y>", "<s>"), {1: "<y>", 2: "<s>"})
    found = paired(one, two)
    assert (found.relation, found.index, found.only_theirs) == ("permuted", (0, 2, -1), (1,))


def test_the_first_piece_is_the_longest_token_that_a_text_begins_with() -> None:
    words = Vocabulary((b"t", b"th", b"the"), ("t", "th", "the"), {})
    assert [words.first_part(text) for text in (b"then", b"that", b"to", b"x")] == [2, 1, 0, None]
