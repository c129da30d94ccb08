"""What the demo's models learn: small jobs on strings of letters, told to the model as one instruction each.

A document is a row of word tokens. The base meets every skill in two "web text" forms, `reverse a b c > c b a` and
`a b c ; reverse > c b a`, some of them with a wrong answer; specialists and tests use the instruction form
`Q ? reverse a b c > A c b a`, which recombines delimiters the base has met but never in this order.

Which strings may be trained on, tuned on and tested on is decided by a hash of the string itself, so that no input of a
validation or test item is an input in anybody's training, whatever the seed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, Literal

Split = Literal["train", "validation", "test"]

LETTERS: Final = "abcdefghij"
LENGTHS: Final = (4, 5, 6)
WIDTH: Final = 20
"""Tokens of the longest document; shorter ones are padded on the right."""

PADDING_FORM: Final = 0.04
NOISE: Final = 0.15
"""Shares of web text: documents with the delimiters of the instruction form, and documents with a wrong answer."""


@dataclass(frozen=True, slots=True)
class Skill:
    """One job: its word, what it does in plain English, and the answer to a string of letters."""

    word: str
    meaning: str
    answer: Callable[[str], str]
    lengths: tuple[int, ...] = LENGTHS


@dataclass(frozen=True, slots=True)
class Document:
    """Token ids and the index of the first token of the answer; the answer runs to the end, `<eos>` included."""

    ids: tuple[int, ...]
    start: int


def _moved(step: int) -> Callable[[str], str]:
    """Every letter moved `step` places in the alphabet, round and round."""
    table = str.maketrans(LETTERS, LETTERS[step:] + LETTERS[:step])
    return lambda text: text.translate(table)


def _swapped(text: str) -> str:
    """Neighbours exchanged in pairs; the length must be even."""
    return "".join(text[i + 1] + text[i] for i in range(0, len(text), 2))


_SPECIAL: Final = (
    Skill("reverse", "the letters backwards", lambda x: x[::-1]),
    Skill("sort", "the letters in alphabetical order", lambda x: "".join(sorted(x))),
    Skill("next", "each letter replaced by the next one (j becomes a)", _moved(1)),
    Skill("swap", "neighbours exchanged in pairs", _swapped, (4, 6)),
    Skill("rotate", "the last letter moved to the front", lambda x: x[-1] + x[:-1]),
    Skill("ends", "the first and the last letter exchanged", lambda x: x[-1] + x[1:-1] + x[0]),
    Skill("double", "each letter written twice", lambda x: "".join(c + c for c in x), (3, 4)),
)
_UNTAUGHT: Final = (
    Skill("unrotate", "the first letter moved to the end", lambda x: x[1:] + x[0]),
    Skill("descend", "the letters in reverse alphabetical order", lambda x: "".join(sorted(x, reverse=True))),
    Skill("odd", "letters 1, 3 and 5", lambda x: x[::2]),
    Skill("previous", "each letter replaced by the one before it (a becomes j)", _moved(-1)),
)
_INSTRUCTION: Final = (
    Skill("copy", "the letters as they are", lambda x: x),
    Skill("head", "the first three letters", lambda x: x[:3]),
    Skill("tail", "the last three letters", lambda x: x[-3:]),
    Skill("even", "letters 2, 4 and 6", lambda x: x[1::2]),
    Skill("skip", "each letter replaced by the next but one", _moved(2)),
    Skill("twist", "the first two letters moved to the end", lambda x: x[2:] + x[:2]),
    Skill("stutter", "the first letter written twice", lambda x: x[0] + x),
    Skill("mirror", "the first letter kept, the rest backwards", lambda x: x[0] + x[:0:-1]),
)

SKILLS: Final[Mapping[str, Skill]] = MappingProxyType({s.word: s for s in (*_SPECIAL, *_UNTAUGHT, *_INSTRUCTION)})
"""Every skill by its word. The base has read of all of them."""

INSTRUCTION_SKILLS: Final = tuple(s.word for s in _INSTRUCTION)
"""The skills on which the base was taught to follow instructions; no specialist is trained on one of them."""

VOCABULARY: Final = ("<pad>", "<bos>", "<eos>", ">", ";", "Q", "?", "A", *SKILLS, *LETTERS)
"""All tokens; a token's place is its id."""

PAD, BOS, EOS = 0, 1, 2
_ID: Final[Mapping[str, int]] = {token: i for i, token in enumerate(VOCABULARY)}


@cache
def split_of(text: str) -> Split:
    """The split a string belongs to: a tenth of all strings for tests, a tenth for validation, the rest for training.

    Example:
        >>> [split_of(text) for text in ("abcd", "bacd", "jjja")]
        ['train', 'train', 'train']
    """
    bucket = hashlib.blake2b(text.encode(), digest_size=8).digest()[0] % 10
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def draw_input(skill: Skill, split: Split, rng: random.Random) -> str:
    """A random string of one of the skill's lengths that belongs to the split."""
    while True:
        text = "".join(rng.choices(LETTERS, k=rng.choice(skill.lengths)))
        if split_of(text) == split:
            return text


def encode(tokens: Sequence[str], answer: str) -> Document:
    """A document: `<bos>`, the prompt's tokens, the letters of the answer, `<eos>`."""
    prompt = (BOS, *(_ID[t] for t in tokens))
    return Document((*prompt, *(_ID[c] for c in answer), EOS), len(prompt))


def instruction(skill: Skill, text: str) -> Document:
    """The instruction form, `Q ? reverse a b c > A c b a`: that of specialists, tuning and tests."""
    return encode(("Q", "?", skill.word, *text, ">", "A"), skill.answer(text))


def web_text(rng: random.Random) -> Document:
    """A document of the base's pre-training: a random skill in a random form, now and then with a wrong answer."""
    skill = SKILLS[rng.choice(tuple(SKILLS))]
    text = draw_input(skill, "train", rng)
    rare = rng.random() < PADDING_FORM
    answered = draw_input(skill, "train", rng) if rng.random() < NOISE else text
    if rare:
        tokens: tuple[str, ...] = ("Q", *text, "?", skill.word, "A")
    elif rng.random() < 0.5:
        tokens = (skill.word, *text, ">")
    else:
        tokens = (*text, ";", skill.word, ">")
    return encode(tokens, skill.answer(answered))


def lesson(words: Sequence[str], rng: random.Random) -> Document:
    """A training document in the instruction form, on one of the skills named."""
    skill = SKILLS[rng.choice(tuple(words))]
    return instruction(skill, draw_input(skill, "train", rng))


def items(word: str, split: Split, count: int, seed: int) -> tuple[Document, ...]:
    """`count` different items of a skill; the draw depends on seed, split and skill, so that skills differ.

    Raises:
        ValueError: the split has too few strings of this skill's lengths; none that is new was found in 10 000 draws.
    """
    rng = random.Random(f"{seed}/{split}/{word}")
    texts: dict[str, None] = {}
    barren = 0
    while len(texts) < count:
        text = draw_input(SKILLS[word], split, rng)
        barren = barren + 1 if text in texts else 0
        if barren > 10_000:
            raise ValueError(f"{count} different {split} items of `{word}` should be drawn; there are {len(texts)}")
        texts[text] = None
    return tuple(instruction(SKILLS[word], text) for text in texts)
