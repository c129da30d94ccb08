"""What tokens stand for: the bytes that a tokenizer makes of each."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cuvee.tokens.vocabulary import Vocabulary

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def _byte_level() -> dict[str, int]:
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    found, n = {chr(b): b for b in kept}, 0
    for b in range(256):
        if b not in kept:
            found[chr(256 + n)] = b
            n += 1
    return found


LETTERS = _byte_level()


def spellings(vocabulary: Vocabulary) -> Mapping[str, bytes]:
    """The bytes of every token."""
    text = str(vocabulary.data.get("decoder")) + str(vocabulary.data.get("pre_tokenizer"))
    own = {t.content for t in vocabulary.added}
    found = {}
    for token in vocabulary.ids:
        if token in own:
            found[token] = token.encode()
        elif "ByteLevel" in text and all(c in LETTERS for c in token):
            found[token] = bytes(LETTERS[c] for c in token)
        elif vocabulary.kind == "wordpiece":
            found[token] = token[2:].encode() if token.startswith("##") else b" " + token.encode()
        elif match := _BYTE.fullmatch(token):
            found[token] = bytes([int(match[1], 16)])
        else:
            found[token] = token.replace("▁", " ").encode()
    return found
