"""Prefixes of transcripts as a tree: what each spells, and what a language model says of its complete words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cuvee.speech.scorer import Scorer, checked_score

ROOT: Final = 0
"""The empty prefix."""


class Prefixes:
    """Prefixes by number; a prefix is made once, however often the search comes to it.

    Args:
        labels: the symbols.
        space: the symbol between words.
        lm: the language model; `None` for none.
    """

    def __init__(self, labels: Sequence[str], space: str, lm: Scorer[Any] | None) -> None:
        self._labels, self._space, self._lm = labels, space, lm
        self._child: dict[tuple[int, int], int] = {}
        self.last: list[int] = [-1]  # the symbol that a prefix ends with
        self.words: list[int] = [0]  # its complete words, those with something in them
        self.language: list[float] = [0.0]  # logarithm of their probability
        self._text: list[str] = [""]  # complete words with a space after each
        self._open: list[str] = [""]  # what is spelt of the word that is not complete
        self._state: list[Any] = [lm.start() if lm else None]

    def child(self, node: int, symbol: int) -> int:
        """The prefix with one more symbol."""
        found = self._child.get((node, symbol))
        if found is None:
            found = self._child[node, symbol] = len(self.last)
            self.last.append(symbol)
            label = self._labels[symbol]
            if label == self._space:
                self._complete(node)
            else:
                self._append(self._state[node], self.words[node], self.language[node], self._text[node])
                self._open.append(self._open[node] + label)
        return found

    def _complete(self, node: int) -> None:
        word, state, said = self._open[node], self._state[node], self.language[node]
        if word and self._lm:
            state, value = self._lm.word(state, word)
            said += checked_score(value, word)
        self._append(state, self.words[node] + bool(word), said, self._text[node] + (word + " " if word else ""))
        self._open.append("")

    def _append(self, state: Any, words: int, language: float, text: str) -> None:
        self._state.append(state)
        self.words.append(words)
        self.language.append(language)
        self._text.append(text)

    def ended(self, node: int) -> tuple[str, int, float]:
        """The prefix as a whole transcript: its text, its number of words and what the language model says of it."""
        word, state, said = self._open[node], self._state[node], self.language[node]
        if self._lm:
            if word:
                state, value = self._lm.word(state, word)
                said += checked_score(value, word)
            said += checked_score(self._lm.end(state), "")
        return (self._text[node] + word).rstrip(" "), self.words[node] + bool(word), said
