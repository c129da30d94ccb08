"""What tokens stand for: the bytes that their tokenizer's decoder makes of each, so that kinds can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cuvee.tokens.vocabulary import Vocabulary

BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")


def _byte_letters() -> dict[str, int]:
    """The letters that byte-level tokenizers write bytes with: printable ones as they are, others from U+0100 on."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in kept]
    return {chr(byte): byte for byte in kept} | {chr(256 + n): byte for n, byte in enumerate(moved)}


LETTERS: Final = _byte_letters()


def spellings(vocabulary: Vocabulary) -> Mapping[str, bytes]:
    """The bytes of every token; the same bytes are the same piece of text, whatever kind of tokenizer it is from.

    Added tokens stand as they are. `Ġ` of byte-level tokenizers and `▁` of SentencePiece's are a blank; a WordPiece
    token without `##` begins a word, and so has a blank before it; `<0x0A>` is one byte where there is byte fallback.
    """
    added = {token.content for token in vocabulary.added}
    spell = _speller(vocabulary)
    return {token: token.encode() if token in added else spell(token) for token in vocabulary.ids}


def _speller(vocabulary: Vocabulary) -> Any:
    """The function that spells the ordinary tokens of a tokenizer."""
    parts = list(components(vocabulary.data.get("decoder"))) + list(components(vocabulary.data.get("pre_tokenizer")))
    types = {part.get("type") for part in parts}
    if "ByteLevel" in types:
        return _byte_level
    model = vocabulary.data["model"]
    if vocabulary.kind == "wordpiece":
        prefix = str(model.get("continuing_subword_prefix", "##"))
        return lambda token: _of_word(token, prefix)
    fallback = bool(model.get("byte_fallback")) or "ByteFallback" in types
    blank = next((str(part["replacement"]) for part in parts if part.get("type") == "Metaspace"), "▁")
    suffix = str(model.get("end_of_word_suffix") or "")
    return lambda token: _of_sentence(token, blank, suffix, fallback)


def components(part: object) -> Iterator[Mapping[str, Any]]:
    """A normaliser, pre-tokenizer or decoder, and those in it if it is a sequence."""
    if not isinstance(part, dict):
        return
    yield part
    for key in ("pretokenizers", "decoders", "normalizers"):
        for inner in part.get(key) or ():
            yield from components(inner)


def _byte_level(token: str) -> bytes:
    if all(letter in LETTERS for letter in token):
        return bytes(LETTERS[letter] for letter in token)
    return token.encode()


def _of_word(token: str, prefix: str) -> bytes:
    return token[len(prefix) :].encode() if prefix and token.startswith(prefix) else b" " + token.encode()


def _of_sentence(token: str, blank: str, suffix: str, fallback: bool) -> bytes:
    if fallback and (match := BYTE.fullmatch(token)):
        return bytes([int(match[1], 16)])
    token = token.replace(blank, " ")
    return (token.removesuffix(suffix) + " " if suffix and token.endswith(suffix) else token).encode()
