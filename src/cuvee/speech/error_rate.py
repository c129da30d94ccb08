"""Word error rate: how many words must be changed, per word of the right text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cuvee.errors import Fault, InputError, UsageError


@dataclass(frozen=True, slots=True)
class Errors:
    """Words that differ.

    Attributes:
        edits: the fewest words to be replaced, put in or taken out.
        words: of the right texts.
    """

    edits: int
    words: int

    @property
    def rate(self) -> float:
        """The word error rate; more than 1 where more is put in than there is."""
        return self.edits / self.words


def word_errors(found: Sequence[str], right: Sequence[str]) -> Errors:
    """Errors over all texts together: `Σ edits / Σ words`, not the mean of rates.

    Args:
        found: transcripts.
        right: the right text of each.

    Raises:
        UsageError: `bad-argument`: a text where a list of texts should be.
        InputError: `rows-differ`: not as many; `too-few-rows`: no word in any right text.

    Example:
        >>> word_errors(["the cat sat", ""], ["the hat sat down", "yes"]).rate
        0.6
    """
    if isinstance(found, str) or isinstance(right, str):
        message = "`found` and `right` must be lists of texts; one is a text, whose letters would be compared"
        raise UsageError(Fault("bad-argument", message, subject="found", hint="write [text] for one"))
    if len(found) != len(right):
        message = f"there must be a right text for each of {len(found):,} transcripts; found {len(right):,}"
        raise InputError(Fault("rows-differ", message))
    words = sum(len(text.split()) for text in right)
    if not words:
        raise InputError(
            Fault("too-few-rows", f"a word error rate needs words; the {len(right):,} right texts have none")
        )
    return Errors(sum(edits(one.split(), other.split()) for one, other in zip(found, right)), words)


def edits(found: Sequence[str], right: Sequence[str]) -> int:
    """The fewest replacements, insertions and deletions that make one of the other (Levenshtein)."""
    row = list(range(len(right) + 1))
    for i, one in enumerate(found, 1):
        corner, row[0] = row[0], i
        for j, other in enumerate(right, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (one != other))
    return row[-1]
