"""The tracks: what each measures, in which tier, over which seeds, and what is claimed of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final


@dataclass(frozen=True)
class Track:
    """A track, whose modules are imported when it is used.

    Attributes:
        title: heading on the page.
        module: where `measured` is.
        claims_in: where `CLAIMS` is.
        tier: 0 for every change, 1 before a release, 2 for a night.
        seeds: those measured if none are named.
        minutes: on one idle core, roughly, for one seed.
        about: what was trained and merged, for the page.
    """

    title: str
    module: str
    claims_in: str
    tier: int
    seeds: tuple[int, ...]
    minutes: float
    about: str

    def measure(self) -> Callable[..., dict[str, Any]]:
        return import_module(f"benchmarks.claims.{self.module}").measured  # type: ignore[no-any-return]

    def claims(self) -> tuple[Any, ...]:
        return import_module(f"benchmarks.claims.{self.claims_in}").CLAIMS  # type: ignore[no-any-return]


TRACKS: Final[Mapping[str, Track]] = {
    "digits": Track(
        "Digits: one initialisation and two",
        "digits",
        "digits",
        0,
        (0, 1, 2, 3, 4),
        0.2,
        "Perceptrons 64-w-w-10 on scikit-learn's digits, two halves of 300 images, 500 for tests. A seed is that of "
        "the split and of the initialisation. Averages are `linear`, SLERP is `slerp` tensor by tensor.",
    ),
    "glyphs": Track(
        "Glyph CLIP: eight distorted tasks",
        "glyph_clip",
        "glyph_claims",
        1,
        (0, 1, 2),
        4.0,
        "An encoder of 85,000 parameters with fixed class embeddings, pre-trained on 400 classes, one expert for each "
        "of eight tasks of ten unseen classes. A seed is that of everything: base, pictures, batches. Subsets of 2, 4 "
        "and 6 experts: three each, the same for all seeds.",
    ),
    "soups": Track(
        "Soups: fourteen fine-tunes of one base",
        "soups",
        "soups",
        1,
        (0, 1, 2, 3, 4),
        2.5,
        "Fourteen runs with random rates, lengths, decay, smoothing, mixup and augmentation, from one base and one "
        "head, on 600 pictures of 20 classes. A seed is a sweep on classes of its own; the base is one. Shifted: the "
        "mean over five shifts.",
    ),
    "language": Track(
        "String skills: language models",
        "language_merges",
        "language_claims",
        2,
        (0, 1, 2),
        15.0,
        "Llama-type models of 93,000 (S) and 337,000 (M) parameters, pre-trained on twenty skills in other forms than "
        "the one asked for (pt), and taught that form on eight other skills besides (it); gentle experts for eight "
        "held-in skills, 100 steps each but 300 for `close`; four skills held out. No input of a test is in any "
        "training. A seed is that of everything. Held-in scores are divided by the "
        "expert's, held-out ones are raw. Five subsets each of 2, 4 and 6 experts, the same everywhere; settings are "
        "tuned for 8 experts only.",
    ),
}
