"""Text piece by piece."""

from __future__ import annotations

import random

import pytest

from cuvee.generate.streaming import Stream
from cuvee.generate.union import split_letters

TEXT = "naïve café € 🎉 the END of it"


def cut(text: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    places = sorted(rng.sample(range(1, len(text)), 9))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@pytest.mark.parametrize("seed", range(20))
def test_pieces_are_whole_letters_and_together_the_text(seed: int) -> None:
    stream = Stream()
    shown = [stream.add(piece) for piece in cut(TEXT.encode(), seed)] + [stream.finish()]
    assert "".join(shown) == TEXT
    assert not any("\ufffd" in piece for piece in shown)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_of_a_stop_string_is_shown(seed: int) -> None:
    stream = Stream(["END", "ENDING"])
    shown = [stream.add(piece) for piece in cut(TEXT.encode(), seed)] + [stream.finish()]
    assert "".join(shown) == TEXT[: TEXT.index("END")]
    assert stream.stopped


def test_the_first_of_several_stops_counts() -> None:
    stream = Stream(["two", "one"])
    assert stream.add(b"zero one two") + stream.finish() == "zero "


def test_what_only_looked_like_a_stop_is_shown_at_last() -> None:
    stream = Stream(["END"])
    assert [stream.add(b"an EN"), stream.add(b"E"), stream.finish()] == ["an ", "EN", "E"]


def test_half_a_letter_at_the_end_is_shown_as_one_that_cannot_be_read() -> None:
    stream = Stream()
    assert stream.add("é".encode()[:1]) == ""
    assert stream.finish() == "\ufffd"


@pytest.mark.parametrize("letter", ["é", "€", "🎉"])
def test_half_letters_are_told_from_whole_ones(letter: str) -> None:
    whole = letter.encode()
    for size in range(len(whole)):
        assert split_letters(b"n" + whole[:size]) == ("n", whole[:size])
    assert split_letters(b"n" + whole) == (f"n{letter}", b"")
    assert split_letters(whole[1:])[1] == b""  # bytes that cannot become a letter
