"""The pieces that a tokenizer splits the text of a token into which it does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

Split = Callable[[str], Sequence[int]]
"""Numbers of the tokens that a tokenizer makes of a text, without special ones."""


def pieces_of(
    text: bytes, spelled: Mapping[int, bytes], numbers: Mapping[bytes, int], split: Split | None
) -> tuple[int, ...]:
    """Numbers of the tokens whose bytes, one after the other, are a text; none where there is no such row of them.

    What the tokenizer itself makes of the text counts, if it is the text: many put a blank before what they are given,
    and some drop blanks or write capitals small. Otherwise, the longest token that fits is taken again and again.

    Args:
        text: the bytes.
        spelled: what tokens stand for, by their numbers; special ones left out.
        numbers: the same the other way round.
        split: the tokenizer.
    """
    if split is not None and (decoded := _decoded(text)) is not None:
        for given in dict.fromkeys((decoded, decoded.removeprefix(" "))):
            found = tuple(split(given)) if given else ()
            if found and b"".join(spelled.get(one, b"\0?") for one in found) == text:
                return found
    return tuple(_longest_first(text, numbers))


def _decoded(text: bytes) -> str | None:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:  # a part of a letter: only tokens of single bytes can make it up
        return None


def _longest_first(text: bytes, numbers: Mapping[bytes, int]) -> Iterator[int]:
    found: list[int] = []
    at = 0
    while at < len(text):
        length = next((n for n in range(len(text) - at, 0, -1) if text[at : at + n] in numbers), 0)
        if not length:
            return
        found.append(numbers[text[at : at + length]])
        at += length
    yield from found
