"""What a language model must be able to do to be asked word by word."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Protocol, TypeVar

from cuvee.errors import Fault, InputError

State = TypeVar("State", bound=Hashable)


class Scorer(Protocol[State]):
    """A language model; its state is what it remembers of the words so far."""

    def start(self) -> State:
        """The state before the first word."""
        ...

    def word(self, state: State, word: str) -> tuple[State, float]:
        """The state after a word, and the logarithm of the word's probability, ≤ 0; −∞ forbids it."""
        ...

    def end(self, state: State) -> float:
        """The logarithm of the probability that no word follows."""
        ...


def score_of_words(lm: Scorer[State], words: Sequence[str]) -> float:
    """The logarithm of the probability of a text, its end included.

    Raises:
        InputError: `bad-output`: the language model gives NaN or +∞.
    """
    state, total = lm.start(), 0.0
    for word in words:
        state, value = lm.word(state, word)
        total += checked_score(value, word)
    return total + checked_score(lm.end(state), "")


def checked_score(value: float, word: str) -> float:
    """The score of a word, if it is one.

    Raises:
        InputError: `bad-output`: it is NaN or +∞.
    """
    if math.isnan(value) or value == math.inf:
        of = f"of the word {word!r}" if word else "of the end"
        message = f"a language model must give logarithms of probabilities; that {of} is {value}"
        raise InputError(Fault("bad-output", message, subject="lm"))
    return value
