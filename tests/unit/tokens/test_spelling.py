"""Tokens of all kinds spelled in bytes."""

from __future__ import annotations

from pathlib import Path

from cuvee.tokens.reading import read_folder
from cuvee.tokens.spelling import spellings
from tests.support.tokenizers import ENGLISH, byte_fallback, byte_level, save, unigram, wordpiece


def test_a_word_is_the_same_bytes_in_all_kinds(tmp_path: Path) -> None:
    for make, token in ((byte_level, "Ġthe"), (byte_fallback, "▁the"), (unigram, "▁the"), (wordpiece, "the")):
        found = read_folder(save(tmp_path / make.__name__, make(ENGLISH)), "a")
        assert spellings(found)[token] == b" the", make.__name__


def test_bytes_and_continued_words(tmp_path: Path) -> None:
    fallback = spellings(read_folder(save(tmp_path / "f", byte_fallback(ENGLISH)), "a"))
    assert fallback["<0x0A>"] == b"\n"
    assert fallback["<s>"] == b"<s>"
    level = spellings(read_folder(save(tmp_path / "l", byte_level(ENGLISH)), "a"))
    assert level["Ċ"] == b"\n"
    assert level["<|end|>"] == b"<|end|>"
    pieces = spellings(read_folder(save(tmp_path / "w", wordpiece(ENGLISH)), "a"))
    assert pieces["##e"] == b"e"


def test_every_letter_of_a_byte_is_its_own(tmp_path: Path) -> None:
    level = spellings(read_folder(save(tmp_path / "l", byte_level(ENGLISH)), "a"))
    assert {spelled for spelled in level.values() if len(spelled) == 1} == {bytes([byte]) for byte in range(256)}
