"""What every token of a vocabulary writes, as bytes: the only thing in which tokens of two models can be compared.

How a token stands in a vocabulary is the tokenizer's own affair: `Ġthe`, `▁the`, `the` with `##` before what goes on.
So tokens are read with the decoder that the tokenizer itself declares, its marks included, and the outcome is held
against what the tokenizer decodes. No mark is known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from cuvee.errors import Fault, InputError, listed

_TRIED: Final = 512
"""Most tokens that are held against the tokenizer's own decoding."""

_BYTE: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>\Z")
"""How the decoder `ByteFallback` of the tokenizers library writes a byte."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of a tokenizer.

    Attributes:
        written: id → the bytes that the token writes behind other text; `None` for a token that writes nothing: a
            special one, or a number that no token has.
        surface: id → how it stands in the vocabulary; `None` where no token has the number.
        special: ids of special tokens → their content.
        ends: ids that end a text, the tokenizer's own first.
    """

    written: tuple[bytes | None, ...]
    surface: tuple[str | None, ...]
    special: Mapping[int, str]
    ends: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.written)

    @cached_property
    def by_bytes(self) -> Mapping[bytes, tuple[int, ...]]:
        """Bytes → the tokens that write them: more than one where a byte stands beside a letter of the same."""
        found: dict[bytes, tuple[int, ...]] = {}
        for number, text in enumerate(self.written):
            if text:
                found[text] = (*found.get(text, ()), number)
        return found

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest token."""
        return max(map(len, self.by_bytes), default=0)

    def first_part(self, text: bytes) -> int | None:
        """The longest token that a text begins with; `None` where the vocabulary has none."""
        for size in range(min(self.longest, len(text)), 0, -1):
            if found := self.by_bytes.get(text[:size]):
                return found[0]
        return None


def vocabulary_of(tokenizer: Any, label: str, ends: Sequence[int] = ()) -> Vocabulary:
    """The tokens of a tokenizer of transformers.

    Args:
        tokenizer: with a decoder of the tokenizers library behind it.
        label: what its model is called in messages.
        ends: ids that end a text, besides the tokenizer's own; those that no token has are never written.

    Raises:
        InputError: `no-vocabulary-map`: it does not say how it decodes, or decodes otherwise than it says.
    """
    surface = _surface(tokenizer)
    added = getattr(tokenizer, "added_tokens_decoder", {})
    special = {number: str(token) for number, token in added.items() if token.special}
    for number in tokenizer.all_special_ids:
        special.setdefault(number, surface[number] or "")
    reading = _reading(tokenizer, label)
    written = tuple(
        None if token is None or number in special else reading(token) for number, token in enumerate(surface)
    )
    own = tokenizer.eos_token_id
    known = {number for number, token in enumerate(surface) if token is not None}
    all_ends = tuple(end for end in dict.fromkeys([*([] if own is None else [int(own)]), *ends]) if end in known)
    made = Vocabulary(written, surface, special, all_ends)
    _hold_against(tokenizer, made, label)
    return made


def _surface(tokenizer: Any) -> tuple[str | None, ...]:
    known = tokenizer.get_vocab()
    found: list[str | None] = [None] * (max(known.values(), default=-1) + 1)
    for token, number in known.items():
        found[number] = token
    return tuple(found)


def _reading(tokenizer: Any, label: str) -> Callable[[str], bytes]:
    """What its declared decoder makes of one token that stands behind others."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        message = (
            f"{label}: {type(tokenizer).__name__} does not say how it decodes, so its tokens are not known as bytes"
        )
        hint = "save it as a fast tokenizer, with a tokenizer.json"
        raise InputError(Fault("no-vocabulary-map", message, subject=label, hint=hint))
    declared = json.loads(backend.to_str())["decoder"]
    steps = _steps(declared)
    if lacking := sorted({step["type"] for step in steps} - _DECODERS.keys()):
        message = f"{label}: the decoder {listed(lacking)} of its tokenizer is not one whose tokens are known as bytes"
        hint = f"known: {', '.join(name for name in _DECODERS if name != 'none')}"
        raise InputError(Fault("no-vocabulary-map", message, subject=label, hint=hint))

    def read(token: str) -> bytes:
        text: str | bytes = token
        for step in steps:
            if isinstance(text, str):
                text = _DECODERS[step["type"]](text, step)
        return text.encode("utf-8") if isinstance(text, str) else text

    return read


def _steps(declared: Any) -> list[Mapping[str, Any]]:
    if declared is None:  # then the library joins tokens with spaces
        return [{"type": "none"}]
    return [part for one in declared["decoders"] for part in _steps(one)] if "decoders" in declared else [declared]


def _byte_level(token: str, _step: Mapping[str, Any]) -> str | bytes:
    """Letters that stand for bytes; a token with any other letter is text as it is, as the library has it."""
    found = [_BYTES.get(letter) for letter in token]
    return token if None in found else bytes(byte for byte in found if byte is not None)


def _replaced(token: str, step: Mapping[str, Any]) -> str:
    pattern = step["pattern"]
    if "String" in pattern:
        return token.replace(pattern["String"], step["content"])
    return re.sub(pattern["Regex"], lambda _found: str(step["content"]), token)


def _byte_fallback(token: str, _step: Mapping[str, Any]) -> str | bytes:
    found = _BYTE.match(token)
    return bytes([int(found[1], 16)]) if found else token


def _word_piece(token: str, step: Mapping[str, Any]) -> str:
    return token.removeprefix(step["prefix"]) if token.startswith(step["prefix"]) else f" {token}"


def _letters() -> dict[str, int]:
    """The letter of every byte in byte-level vocabularies: itself where it prints, else the next from 256 on."""
    printing = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printing]
    return {chr(byte): byte for byte in printing} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTES: Final = _letters()
_DECODERS: Final[Mapping[str, Callable[[str, Mapping[str, Any]], str | bytes]]] = {
    "ByteLevel": _byte_level,
    "Replace": _replaced,
    "ByteFallback": _byte_fallback,
    "Metaspace": lambda token, step: token.replace(step["replacement"], " "),
    "WordPiece": _word_piece,
    "BPEDecoder": lambda token, step: token.replace(step["suffix"], " "),
    "none": lambda token, _step: f" {token}",
    "Fuse": lambda token, _step: token,  # joins tokens: nothing that one of them would show
    "Strip": lambda token, _step: token,  # takes spaces from where a text begins and ends
}


def _hold_against(tokenizer: Any, made: Vocabulary, label: str) -> None:
    """Tokens in pairs, decoded by the tokenizer and by us; spaces at the ends of a text are the tokenizer's affair.

    Raises:
        InputError: `no-vocabulary-map`.
    """
    plain = [number for number, text in enumerate(made.written) if text and not _is_partial(text)]
    if not plain:
        return
    step = max(1, len(plain) // _TRIED)
    pairs = [(plain[0], number) for number in plain[::step]]
    decoded = tokenizer.batch_decode([list(pair) for pair in pairs], clean_up_tokenization_spaces=False)
    for pair, theirs in zip(pairs, decoded, strict=True):
        ours = b"".join(made.written[number] or b"" for number in pair).decode("utf-8", "replace")
        if "".join(ours.split()) != "".join(theirs.split()):
            message = (
                f"{label}: tokens {pair[0]} and {pair[1]} should write {ours!r} by the decoder that its tokenizer "
                f"declares; it decodes {theirs!r}"
            )
            hint = "the tokenizer changes text while it decodes, so that its tokens have no bytes of their own"
            raise InputError(Fault("no-vocabulary-map", message, subject=label, hint=hint))


def _is_partial(text: bytes) -> bool:
    """Whether bytes are no text by themselves: a part of a letter."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False
