"""Every threshold, in one table, with where it comes from.

"Measured" means: on the prepared pairs of benchmarks/pairs.py, whose figures are in benchmarks/results/preflight.md.
Limits stand well between what good and bad pairs show there, and are no constants of nature.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from cuvee.preflight.facts import Level

Sense = Literal[">=", "<", ">", "=="]
_HOLDS: Final[Mapping[Sense, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on a figure, and where it comes from."""

    sense: Sense
    limit: float
    source: str

    def holds(self, value: float | None) -> bool:
        """Whether a figure is beyond it; one that is not there never is."""
        return value is not None and _HOLDS[self.sense](value, self.limit)

    def __str__(self) -> str:
        return f"{self.sense} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Rule:
    """When a figure becomes a reason.

    Attributes:
        name: of the rule.
        of: what has the figure: a `model`, a `pair` or a `barrier` (classes of `facts`).
        figure: name of its attribute.
        at: the limit.
        level: what it does to the verdict.
        says: what is said, with `{a}` and `{b}`, or `{model}`, and `{value}`.
        unless: rules that say the same and more, about the same models.
    """

    name: str
    of: Literal["model", "pair", "barrier"]
    figure: str
    at: Limit
    level: Level
    says: str
    unless: tuple[str, ...] = ()


STRANGE_COSINE: Final = Limit(
    "<",
    0.2,
    "matrices drawn independently have cosine 0 ± 1/√entries; measured: 0.0 for other initialisations, 0.5 and more "
    "for the farthest fine-tune",
)
"""Cosine of two models in a matrix, below which they have nothing in common there."""
BASE_COSINE: Final = Limit(
    ">=", 0.7, "a change as large as the weights and at right angles to them gives 1/√2; more is no fine-tuning"
)
"""Cosine of a model with its base, at least."""
BASE_TASK_COSINE: Final = Limit(
    "<",
    0.4,
    "seen from one of three equal fine-tunes the others stand at cosine 0.5, seen from their base at 0 to 0.3 "
    "(Ilharco et al. 2023, arXiv:2212.04089, fig. 5; small language models up to 0.3)",
)
"""Mean cosine of task vectors as seen from their base, below."""
BASE_LEAD: Final = Limit(
    ">=",
    0.05,
    "beside a fine-tune six times as far, the other one may be nearer to it than the base is (by 1.6 %, measured), or "
    "farther by 3 %; beside equal ones it is farther by a fifth and more",
)
"""How much farther from the others than the base another candidate is, as a share."""
OTHER_WORDS: Final = Limit(
    ">=", 0.1, "one token in ten that means another word leaves no text intact; fewer are added or special tokens"
)
"""Share of token numbers that stand for other words, from which on two vocabularies are two."""

RULES: Final = (
    Rule(
        "non-finite",
        "model",
        "nonfinite",
        Limit(">", 0, "`cuvee merge` refuses NaN and infinity unless told otherwise"),
        "stops",
        "{model} holds NaN or infinity: {value:.0f} entries of the sample",
    ),
    Rule(
        "permuted",
        "pair",
        "fall",
        Limit(
            ">=",
            0.5,
            "pairing units in another order removes half of what pairing at random leaves; measured: above 0.9 for "
            "permuted copies, about 0 for other initialisations (Ainsworth et al. 2023, arXiv:2209.04836)",
        ),
        "stops",
        "{a} and {b} look like one model with its units in another order: paired anew, they agree ({value:.2f} of what "
        "there is to gain over chance); their units must be put in one order first",
    ),
    Rule(
        "strangers",
        "pair",
        "strange",
        Limit(
            ">=",
            0.1,
            "a tenth of the matrices is more than a new head; halfway between models of different initialisation the "
            "loss is near that of guessing (Frankle et al. 2020, arXiv:1912.05671; measured)",
        ),
        "stops",
        "{a} and {b} have nothing in common in {value:.0%} of their matrices: other initialisations, or other training "
        "from early on",
        ("permuted",),
    ),
    Rule(
        "strange-parts",
        "pair",
        "strange",
        Limit(">", 0, "a matrix at cosine 0 has been made anew in one of the models, a head for one"),
        "care",
        "{a} and {b} have nothing in common in some matrices, {value:.1%} of their entries: new heads perhaps",
        ("permuted", "strangers"),
    ),
    Rule(
        "farther",
        "model",
        "task_norm",
        Limit(
            ">=",
            1.0,
            "the task vector is as large as the weights: the base is no longer what is changed (measured: the merge "
            "then loses more than the mean of its ends)",
        ),
        "stops",
        "{model} is {value:.2f} of the base's norm away from the base: as far as another model",
    ),
    Rule(
        "pruned",
        "model",
        "zeros",
        Limit(
            ">=",
            0.05,
            "trained matrices hold no exact zeros, low-precision ones a few; pruning starts at a tenth",
        ),
        "care",
        "{model} is pruned: {value:.0%} of its matrices' entries are exactly zero; a merge fills them",
    ),
    Rule(
        "far",
        "model",
        "task_norm",
        Limit(
            ">=",
            0.3,
            "usual fine-tunes move by 0.03 to 0.16 (measured; low-rank ones most); one at 0.4 has forgotten what it "
            "was not tuned on, and its merge shows that",
        ),
        "care",
        "{model} is fine-tuned far: its task vector has {value:.2f} of the base's norm",
        ("farther", "pruned"),
    ),
    Rule(
        "apart",
        "pair",
        "distance_alone",
        Limit(">=", 0.4, "without a base: two fine-tunes that each move by 0.3 are 0.4 apart"),
        "care",
        "{a} and {b} are far apart: {value:.2f} of the norm",
        ("permuted", "strangers"),
    ),
    Rule(
        "opposed",
        "pair",
        "task_cosine",
        Limit(
            "<", -0.1, "task vectors of different tasks stand at right angles or nearer (Ilharco et al. 2023, fig. 5)"
        ),
        "care",
        "the task vectors of {a} and {b} point against each other (cosine {value:.2f}): one takes from the other",
    ),
    Rule(
        "same",
        "pair",
        "equal",
        Limit("==", 1, "no entry of the sample differs"),
        "note",
        "{a} and {b} hold the same weights in every entry read: a merge of the two is either of them",
    ),
    Rule(
        "alike",
        "pair",
        "task_cosine",
        Limit(">=", 0.8, "nearly one direction: one run, or one task trained twice (a soup)"),
        "note",
        "{a} and {b} changed the base in nearly the same way (cosine {value:.2f})",
        ("same",),
    ),
    Rule(
        "signs",
        "pair",
        "sign_conflict",
        Limit(">=", 0.25, "random signs give 0.5; TIES is for this (Yadav et al. 2023, arXiv:2306.01708, sec. 3)"),
        "note",
        "{a} and {b} pull {value:.0%} of the entries that both changed in opposite directions",
    ),
    Rule(
        "shared-directions",
        "pair",
        "shared_directions",
        Limit(
            ">=", 0.5, "half of the leading directions in common: interference (Gargiulo et al. 2025, arXiv:2412.00081)"
        ),
        "note",
        "the task vectors of {a} and {b} use the same leading directions (overlap {value:.2f})",
        ("same", "alike"),
    ),
    Rule(
        "low-rank",
        "model",
        "rank",
        Limit(
            "<",
            0.1,
            "a tenth of a matrix' directions holds 90 % of the change; full fine-tunes: 0.2 and more (measured)",
        ),
        "note",
        "{model} is a low-rank fine-tune: {value:.1%} of the directions hold 90 % of its change",
    ),
    Rule(
        "frozen",
        "model",
        "unchanged",
        Limit(">", 0, "a tensor without one changed entry in the sample was not trained"),
        "note",
        "{model} has {value:.0%} of its tensors unchanged from the base",
    ),
    Rule(
        "barrier",
        "barrier",
        "sure",
        Limit(
            ">=",
            0.1,
            "a tenth more loss than the ends' mean, sure by two standard errors; 2 % is counted as noise",
        ),
        "stops",
        "halfway between {a} and {b} the loss is higher than at the ends by {value:.0%} of their mean at least",
    ),
    Rule(
        "low-barrier",
        "barrier",
        "sure",
        Limit(">=", 0.02, "2 % is what Frankle et al. 2020 (arXiv:1912.05671, sec. 3) count as noise"),
        "care",
        "halfway between {a} and {b} the loss is higher than at the ends by {value:.1%} of their mean at least",
        ("barrier",),
    ),
    Rule(
        "no-barrier",
        "barrier",
        "sure",
        Limit("<", 0.02, "2 % is what Frankle et al. 2020 (arXiv:1912.05671, sec. 3) count as noise"),
        "note",
        "no barrier is seen between {a} and {b}",
    ),
)
"""All rules, in the order in which `unless` needs them: what says more comes first."""
