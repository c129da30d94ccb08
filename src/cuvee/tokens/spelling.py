"""What tokens stand for: the bytes that a tokenizer makes of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from cuvee.tokens.vocabulary import Vocabulary

_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")


def _byte_level() -> dict[str, int]:
    """The letters that GPT-2 writes bytes with: printable ones as they are, the others from 256 on."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    found, n = {chr(b): b for b in kept}, 0
    for b in range(256):
        if b not in kept:
            found[chr(256 + n)] = b
            n += 1
    return found


LETTERS: Final = _byte_level()


def spellings(vocabulary: Vocabulary) -> Mapping[str, bytes]:
    """The bytes that every token stands for in the middle of a text.

    Byte-level tokens are letters for bytes; `▁` is a blank and `<0x0A>` a byte; a WordPiece that does not go on with a
    word begins one, after a blank. Added tokens stand for themselves.
    """
    said = f"{vocabulary.data.get('decoder')}{vocabulary.data.get('pre_tokenizer')}"
    own = {token.content for token in vocabulary.added}
    prefix = str(vocabulary.data["model"].get("continuing_subword_prefix") or "##")

    def spelled(token: str) -> bytes:
        if token in own:
            return _utf8(token)
        if "ByteLevel" in said:
            return bytes(LETTERS[c] for c in token) if all(c in LETTERS for c in token) else _utf8(token)
        if vocabulary.kind == "wordpiece":
            return _utf8(token.removeprefix(prefix)) if token.startswith(prefix) else b" " + _utf8(token)
        if match := _BYTE.fullmatch(token):
            return bytes([int(match[1], 16)])
        return _utf8(token.replace("▁", " "))

    return {token: spelled(token) for token in vocabulary.ids}


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
