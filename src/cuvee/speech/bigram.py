"""A small language model: word bigrams with absolute discounting, trained from text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cuvee.errors import Fault, InputError, UsageError

EDGE: Final = ""
"""What stands before the first word and after the last; no word is empty."""


@dataclass(frozen=True, eq=False)
class Bigram:
    """How probable a word is after another; a `Scorer` whose state is the last word.

        P(w | v) = max(c(v w) − D, 0) / c(v) + D · N(v) / c(v) · P(w)
        P(w)     = (c(w) + 1) / (Σ c + V + 1)        of the V words and the end that are known; the 1 is of all others

    c counts the training text, N(v) is the number of different words that follow v. After a word that was never seen
    P(w | v) = P(w). All words that are not known together have the probability of one that was never counted,
    1 / (Σ c + V + 1): the probabilities of known words, the end and "unknown" sum to one after every word.

    Attributes:
        pairs: (v, w) → c(v w).
        words: w → c(w), the end among them.
        before: v → c(v).
        kinds: v → N(v).
        total: Σ c.
        discount: D, (0, 1).

    Source:
        Ney, Essen and Kneser 1994, On structuring probabilistic dependences in stochastic language modelling, eq. 26;
        the unigram smoothed by adding one (Laplace).
    """

    pairs: Mapping[tuple[str, str], int]
    words: Mapping[str, int]
    before: Mapping[str, int]
    kinds: Mapping[str, int]
    total: int
    discount: float = 0.75

    @classmethod
    def trained(cls, texts: Sequence[str], *, discount: float = 0.75) -> Bigram:
        """Count texts.

        Args:
            texts: words separated by spaces.
            discount: D, (0, 1).

        Raises:
            UsageError: `bad-argument`.
            InputError: `too-few-rows`: no text has a word.

        Example:
            >>> lm = Bigram.trained(["a b", "a b"], discount=0.5)
            >>> round(math.exp(lm.word("a", "b")[1]), 4)  # 1.5 / 2 + 0.5 · 1 / 2 · 3 / 10
            0.825
        """
        if not 0 < discount < 1:
            message = f"`discount` must be above 0 and below 1; found {discount!r}"
            raise UsageError(Fault("bad-argument", message, subject="discount"))
        if isinstance(texts, str):
            message = f"`texts` must be a list of texts; found {texts!r:.80}"
            raise UsageError(Fault("bad-argument", message, subject="texts", hint="write [text] for one"))
        lines = [[EDGE, *text.split(), EDGE] for text in texts]
        pairs = Counter(pair for line in lines for pair in pairwise(line))
        if not any(len(line) > 2 for line in lines):
            message = f"a language model needs words to count; found none in {len(lines):,} texts"
            raise InputError(Fault("too-few-rows", message, subject="texts"))
        words, before = Counter[str](), Counter[str]()
        for (first, second), count in pairs.items():
            words[second] += count
            before[first] += count
        return cls(pairs, words, before, Counter(first for first, _ in pairs), words.total(), discount)

    def start(self) -> str:
        """Before the first word."""
        return EDGE

    def word(self, state: str, word: str) -> tuple[str, float]:
        """The word is the next state; the logarithm of its probability after the last."""
        return word, math.log(self.probability(state, word))

    def end(self, state: str) -> float:
        """The logarithm of the probability of the end after the last word."""
        return math.log(self.probability(state, EDGE))

    def probability(self, before: str, word: str) -> float:
        """P(word | before), > 0; `""` stands for the edge of a text."""
        alone = (self.words.get(word, 0) + 1) / (self.total + len(self.words) + 1)
        count = self.before.get(before, 0)
        if not count:
            return alone
        seen = max(self.pairs.get((before, word), 0) - self.discount, 0.0)
        return (seen + self.discount * self.kinds[before] * alone) / count
