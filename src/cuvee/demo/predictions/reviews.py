"""Reviews made up by a small grammar: some plain, some that take it back.

Half of them are of one opinion, told in rare words that a count of words learns from few examples. The other half sets
a clause against another and turns words round ("although the plot was good, the ending was never charming"), which only
a reader of the order of words can tell. So two readers are wrong about different reviews, and that is what stacking and
cascades live on. Three in a hundred labels are wrong, as in life.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product
from typing import Final

LABELS: Final = ("negative", "positive")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PARTS: Final = {
    "film": ("plot", "acting", "music", "ending"),
    "book": ("plot", "style", "hero", "ending"),
    "meal": ("soup", "fish", "service", "price"),
    "hotel": ("room", "staff", "view", "breakfast"),
    "phone": ("screen", "battery", "camera", "case"),
    "concert": ("singer", "sound", "hall", "band"),
    "course": ("teacher", "pace", "exercises", "material"),
    "museum": ("guide", "hall", "pictures", "café"),
}
_COMMON: Final = {
    True: _words("good great lovely superb charming brilliant pleasant fine wonderful solid fresh clever warm"),
    False: _words("bad awful dull poor boring terrible weak nasty dreadful stale clumsy cold dim"),
}
_ENDS: Final = ("ing", "ed", "y", "ful")
_STEMS: Final = {
    True: _words("spark glow shin gleam cheer thrill dazzl bless rous sooth charm"),
    False: _words("gloom rott muck drear grubb scow bungl spoil wreck moan grim"),
}
_RARE: Final = {good: tuple(map("".join, product(stems, _ENDS))) for good, stems in _STEMS.items()}
_TURNS: Final = ("not", "never", "hardly")
_ASIDES: Final = ("", "", "in my view", "for once", "as people say", "that evening", "to be honest")
_DEGREES: Final = ("", "", "really", "very", "quite", "rather")
WRONG: Final = 0.03
"""Share of labels that are wrong."""


@dataclass(frozen=True, slots=True)
class Review:
    """A text and its label."""

    text: str
    label: str


def reviews(n: int, seed: int) -> tuple[Review, ...]:
    """That many reviews, no two of the same text.

    Args:
        n: how many.
        seed: of the draw; the same seed gives the same reviews.

    Example:
        >>> reviews(2, seed=1) == reviews(3, seed=1)[:2]
        True
    """
    rng = random.Random(f"reviews {seed}")
    found: dict[str, Review] = {}
    while len(found) < n:
        one = _review(rng)
        found.setdefault(one.text, one)
    return tuple(found.values())


def _review(rng: random.Random) -> Review:
    topic, good = rng.choice(tuple(PARTS)), rng.random() < 0.5
    told = _plain(rng, topic, good) if rng.random() < 0.5 else _against(rng, topic, good)
    head = rng.choice(("", f"about the {topic} : ", f"we tried this {topic} . "))
    label = good != (rng.random() < WRONG)
    return Review(f"{head}{told} .", LABELS[label])


def _plain(rng: random.Random, topic: str, good: bool) -> str:
    """One to three clauses of one opinion, half of their words rare."""
    pools = (_COMMON[good], _RARE[good])
    return " and ".join(_clause(rng, topic, rng.choice(rng.choice(pools))) for _ in range(rng.choice((1, 2, 3))))


def _against(rng: random.Random, topic: str, good: bool) -> str:
    """Two clauses, of which the main one counts."""
    other, main = _turned(rng, topic, not good), _turned(rng, topic, good)
    return rng.choice((f"{other} , but {main}", f"although {other} , {main}", f"{main} , even if {other}"))


def _turned(rng: random.Random, topic: str, good: bool) -> str:
    """A clause that may say the opposite of its word."""
    turn = rng.choice(_TURNS) if rng.random() < 0.4 else ""
    return _clause(rng, topic, rng.choice(_COMMON[good == (turn == "")]), turn)


def _clause(rng: random.Random, topic: str, word: str, turn: str = "") -> str:
    said = ("the", rng.choice(PARTS[topic]), "was", turn, rng.choice(_ASIDES), rng.choice(_DEGREES), word)
    return " ".join(part for part in said if part)
