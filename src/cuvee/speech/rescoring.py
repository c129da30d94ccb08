"""n-best rescoring: transcripts that were found without a language model ordered anew by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from cuvee.errors import Fault, refuse
from cuvee.speech.beam import Hypothesis, weight_faults
from cuvee.speech.scorer import Scorer, score_of_words

Per = Literal["text", "word", "character"]
"""What the language model's logarithm is taken of: the whole text, or the mean per word or character of it (the end of
the text counted as one). A sum over more words is lower whatever they are; a mean can be compared between texts of
different length, and between language models that cut texts into other tokens."""

PER: Final[tuple[Per, ...]] = ("text", "word", "character")


def rescore(
    nbest: Sequence[Hypothesis],
    lm: Scorer[Any],
    *,
    lm_weight: float = 0.5,
    word_bonus: float = 0.0,
    per: Per = "text",
) -> tuple[Hypothesis, ...]:
    """Transcripts ordered by `acoustic + lm_weight · language / units + word_bonus · words`.

    Args:
        nbest: of `ctc_decode`; empty is empty again.
        lm: the language model.
        lm_weight: ≥ 0; with a mean instead of a sum it is as many times larger as there are units.
        word_bonus: added for each word.
        per: what the logarithm is divided by: nothing, words + 1 or characters + 1.

    Returns:
        The same transcripts, the best first, with their new scores; `language` is the sum, whatever `per` is.

    Raises:
        UsageError: `bad-argument`.
        InputError: `bad-output`: of the language model.
    """
    wrong = weight_faults(lm_weight, word_bonus)
    if per not in PER:
        wrong.append(Fault("bad-argument", f"`per` must be one of {', '.join(PER)}; found {per!r}", subject="per"))
    refuse(wrong)
    made = []
    for one in nbest:
        said = score_of_words(lm, one.text.split()) if lm_weight > 0 else 0.0
        score = one.acoustic + lm_weight * said / units_of(one.text, per) + word_bonus * one.words
        made.append(replace(one, score=score, language=said))
    return tuple(sorted(made, key=lambda one: -one.score))


def units_of(text: str, per: Per) -> int:
    """What a sum of logarithms is divided by."""
    return {"text": 1, "word": len(text.split()) + 1, "character": len(text) + 1}[per]
