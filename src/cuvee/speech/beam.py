"""Prefix beam search: CTC scores summed over alignments, a language model asked at the end of each word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Any, Final

import numpy as np

from cuvee.errors import Fault, integer_faults, listed, refuse
from cuvee.speech.acoustic import frames_of
from cuvee.speech.prefixes import ROOT, Prefixes
from cuvee.speech.scorer import Scorer

_NEVER: Final = -math.inf
_SPACES: Final = (" ", "|", "▁", "<space>")
"""How symbols between words are written by one or another acoustic model."""
Alive = dict[int, tuple[float, float]]
"""A prefix → the logarithms of the probabilities of all its alignments that end with the blank, and that do not."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A transcript.

    Attributes:
        text: words with one space between them.
        score: what transcripts are ordered by.
        acoustic: logarithm of the probability of all its alignments.
        language: logarithm of its probability by the language model; 0 without one.
        words: how many words it has.
    """

    text: str
    score: float
    acoustic: float
    language: float = 0.0
    words: int = 0


def ctc_decode(
    logp: Any,
    labels: Sequence[str],
    *,
    lm: Scorer[Any] | None = None,
    lm_weight: float = 0.5,
    word_bonus: float = 0.0,
    beam: int = 16,
    nbest: int = 1,
    blank: int = 0,
    space: str = " ",
    least: float = _NEVER,
) -> tuple[Hypothesis, ...]:
    """The best transcripts of an utterance by acoustic scores, language model and number of words.

        score(y) = ln P_ctc(y | x) + lm_weight · ln P_lm(words of y) + word_bonus · (words of y)

    P_ctc sums the probabilities of all alignments that spell y. While the search goes on a prefix is judged by its
    complete words only. Without the bonus a language model, whose every word costs something, makes transcripts short.
    With a beam as wide as there are prefixes the result is exact.

    Args:
        logp: `[T, V]`, natural logarithms of probabilities: `log_softmax` of the logits. No frames: the empty text.
        labels: V symbols; one of them may be the space.
        lm: the language model; none without it.
        lm_weight: what its logarithms are multiplied by, ≥ 0; at 0 it is not asked.
        word_bonus: added for each word, any finite number.
        beam: prefixes that are kept after each frame, ≥ 1.
        nbest: most transcripts that are given, ≥ 1; there are no more than the beam holds.
        blank: the number of the blank.
        space: the symbol between words.
        least: symbols of a frame with a smaller logarithm are passed over, its best one never; none by default.

    Returns:
        Different transcripts, the best first; of equal ones that which was found first.

    Raises:
        UsageError: `bad-argument`.
        InputError: `bad-output`: of the acoustic or of the language model.

    Source:
        Hannun et al. 2014, arXiv:1408.2873, algorithm 1; shallow fusion: Gulcehre et al. 2015, arXiv:1503.03535. There
        the language model's factor is part of the two sums; here it is kept apart, as it belongs to the prefix.
    """
    refuse([*_faults(lm_weight, word_bonus, beam, nbest, least), *(_space_faults(labels, space) if lm else ())])
    frames = frames_of(logp, labels, blank)
    tree = Prefixes(labels, space, lm if lm_weight > 0 else None)

    def judged(entry: tuple[int, tuple[float, float]]) -> float:
        node, (ends_blank, ends_not) = entry
        return _plus(ends_blank, ends_not) + lm_weight * tree.language[node] + word_bonus * tree.words[node]

    alive: Alive = {ROOT: (0.0, _NEVER)}
    for frame in frames.tolist():
        alive = _advanced(alive, frame, tree, blank, least)
        if len(alive) > beam:
            alive = dict(nlargest(beam, alive.items(), key=judged))
    return _ordered(alive, tree, lm_weight, word_bonus)[:nbest]


def _advanced(alive: Alive, frame: list[float], tree: Prefixes, blank: int, least: float) -> Alive:
    """All prefixes after one more frame."""
    made: Alive = {}
    bound = min(least, max(frame))
    symbols = [(s, p) for s, p in enumerate(frame) if s != blank and p >= bound and p > _NEVER]
    for node, (ends_blank, ends_not) in alive.items():
        either, last = _plus(ends_blank, ends_not), tree.last[node]
        if frame[blank] > _NEVER and frame[blank] >= bound:
            _add(made, node, either + frame[blank], _NEVER)
        for symbol, p in symbols:
            if symbol != last:
                _add(made, tree.child(node, symbol), _NEVER, either + p)
                continue
            # the same symbol again goes on with the letter, unless a blank stood between
            if ends_not > _NEVER:
                _add(made, node, _NEVER, ends_not + p)
            if ends_blank > _NEVER:
                _add(made, tree.child(node, symbol), _NEVER, ends_blank + p)
    return made


def _add(made: Alive, node: int, ends_blank: float, ends_not: float) -> None:
    if (old := made.get(node)) is None:
        made[node] = (ends_blank, ends_not)
    else:
        made[node] = (_plus(old[0], ends_blank), _plus(old[1], ends_not))


def _plus(a: float, b: float) -> float:
    """ln(eᵃ + eᵇ), whatever is the larger."""
    if a < b:
        a, b = b, a
    return a if b == _NEVER else a + math.log1p(math.exp(b - a))


def _ordered(alive: Alive, tree: Prefixes, lm_weight: float, word_bonus: float) -> tuple[Hypothesis, ...]:
    """Whole transcripts, those that differ in spaces only counted together."""
    acoustic: dict[tuple[str, int, float], float] = {}
    for node, (ends_blank, ends_not) in alive.items():
        ended = tree.ended(node)
        acoustic[ended] = _plus(acoustic.get(ended, _NEVER), _plus(ends_blank, ends_not))
    found = [
        Hypothesis(text, heard + lm_weight * said + word_bonus * words, heard, said, words)
        for (text, words, said), heard in acoustic.items()
    ]
    return tuple(sorted(found, key=lambda one: -one.score))


def weight_faults(lm_weight: float, word_bonus: float) -> list[Fault]:
    """What is wrong with the weight of a language model, and with a bonus."""
    wrong = []
    if not (_is_finite(lm_weight) and lm_weight >= 0):
        message = f"`lm_weight` must be a finite number of 0 or more; found {lm_weight!r}"
        wrong.append(Fault("bad-argument", message, subject="lm_weight"))
    if not _is_finite(word_bonus):
        message = f"`word_bonus` must be a finite number; found {word_bonus!r}"
        wrong.append(Fault("bad-argument", message, subject="word_bonus"))
    return wrong


def _space_faults(labels: Sequence[str], space: str) -> list[Fault]:
    """Symbols of another space would become letters, and a text one long word that no language model knows."""
    others = [mark for mark in _SPACES if mark in labels]
    if space in labels or not others:
        return []
    message = f"`space` is {space!r}, which is none of the symbols; {listed(map(repr, others), between=' and ')} is"
    return [Fault("bad-argument", message, subject="space", hint=f"set space={others[0]!r}")]


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float | np.floating) and math.isfinite(value)


def _faults(lm_weight: float, word_bonus: float, beam: int, nbest: int, least: float) -> list[Fault]:
    wrong = weight_faults(lm_weight, word_bonus)
    wrong += integer_faults("beam", beam, least=1) + integer_faults("nbest", nbest, least=1)
    if not isinstance(least, int | float | np.floating) or math.isnan(least):
        wrong.append(Fault("bad-argument", f"`least` must be a number or −∞; found {least!r}", subject="least"))
    return wrong
