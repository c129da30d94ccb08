"""The weight of a language model and the bonus of a word, chosen on a development set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from cuvee.errors import Fault, UsageError
from cuvee.speech.error_rate import Errors, word_errors

Decode = Callable[[float, float], Sequence[str]]
"""A weight and a bonus → the transcripts of the development set."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One point of the grid and its errors."""

    lm_weight: float
    word_bonus: float
    errors: Errors


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning found.

    Attributes:
        lm_weight: the best weight.
        word_bonus: the best bonus.
        errors: on the development set. It was chosen for them: the test set says what it is worth.
        trials: all points of the grid.
    """

    lm_weight: float
    word_bonus: float
    errors: Errors
    trials: tuple[Trial, ...]

    def grid(self) -> str:
        """The word error rates: a line for each weight, a column for each bonus, a star at what was chosen."""
        weights = list(dict.fromkeys(trial.lm_weight for trial in self.trials))
        bonuses = list(dict.fromkeys(trial.word_bonus for trial in self.trials))
        rates = {(trial.lm_weight, trial.word_bonus): trial.errors.rate for trial in self.trials}
        chosen = (self.lm_weight, self.word_bonus)
        lines = ["lm_weight \\ word_bonus" + "".join(f"{bonus:>8g} " for bonus in bonuses)]
        for weight in weights:
            cells = (f"{rates[weight, b]:8.3f}{'*' if (weight, b) == chosen else ' '}" for b in bonuses)
            lines.append(f"{weight:>22g}" + "".join(cells))
        return "\n".join(lines)


def tune(
    decode: Decode,
    right: Sequence[str],
    *,
    lm_weights: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5),
    word_bonuses: Sequence[float] = (0.0, 1.0, 2.0, 3.0, 4.0),
    progress: Callable[[int, int], None] | None = None,
) -> Tuned:
    """Try every weight with every bonus.

    Of points with as few errors the smallest weight is taken, then the bonus nearest to 0: what leans least on the
    language model.

    Args:
        decode: weight and bonus → transcripts, of fusion or of rescoring.
        right: the right text of each.
        lm_weights: weights that are tried.
        word_bonuses: bonuses that are tried.
        progress: told how many points were tried, and how many there are.

    Raises:
        UsageError: `bad-argument`: there is nothing to try.
        InputError: as `word_errors`.
    """
    points = list(product(lm_weights, word_bonuses))
    if not points:
        raise UsageError(Fault("bad-argument", "`lm_weights` and `word_bonuses` must each hold a number; one is empty"))
    trials = []
    for number, (weight, bonus) in enumerate(points, 1):
        trials.append(Trial(weight, bonus, word_errors(decode(weight, bonus), right)))
        if progress:
            progress(number, len(points))
    best = min(trials, key=lambda trial: (trial.errors.edits, trial.lm_weight, abs(trial.word_bonus)))
    return Tuned(best.lm_weight, best.word_bonus, best.errors, tuple(trials))
