"""Which token of one vocabulary is which of another: the same bytes, or the same part in every text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cuvee.tokens.spelling import spellings
from cuvee.tokens.vocabulary import Vocabulary

ROLES: Final = ("eos", "bos", "pad", "unk", "sep", "cls", "mask")
"""Parts that a special token can have; of a token with several the first counts: how a text ends matters most."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """The tokens of a new vocabulary, told apart by what an old one has of them; all by their numbers.

    Attributes:
        same: new → old, where both stand for the same bytes, or are written the same way and special or added.
        by_role: new → old of special tokens that are written in other ways and have the same part.
        alone: new ones that the old vocabulary lacks, in order.
        gaps: numbers below the size of the new vocabulary that no token has.
    """

    same: Mapping[int, int]
    by_role: Mapping[int, int]
    alone: tuple[int, ...]
    gaps: tuple[int, ...]

    @property
    def found(self) -> Mapping[int, int]:
        """New → old of all that was found."""
        return {**self.same, **self.by_role}


def pair(new: Vocabulary, old: Vocabulary) -> Pairing:
    """Look for the tokens of a vocabulary in another one.

    A special token is found by how it is written, else by its role. Any other is found by the bytes that it stands
    for, of which tokens have different spellings (`▁the`, `Ġthe`; `##s`; `<0x0A>`); of several old ones the one that is
    written the same way, else the one with the lowest number.
    """
    special = specials_of(new)
    same = dict(_by_bytes(new, old, special))
    by_role: dict[int, int] = {}
    for token in sorted(special, key=new.ids.__getitem__):
        if token in _marked(old):
            same[new.ids[token]] = old.ids[token]
        elif (twin := _of_role(token, new, old)) is not None:
            by_role[new.ids[token]] = old.ids[twin]
    numbers = sorted(set(new.ids.values()))
    alone = tuple(number for number in numbers if number not in same and number not in by_role)
    known = set(numbers)
    return Pairing(same, by_role, alone, tuple(number for number in range(new.size) if number not in known))


def specials_of(vocabulary: Vocabulary) -> set[str]:
    """Tokens that have a part in texts and no text of their own."""
    marked = {token.content for token in vocabulary.added if token.special}
    return {*marked, *vocabulary.specials.values(), *vocabulary.additional} & vocabulary.ids.keys()


def _marked(vocabulary: Vocabulary) -> set[str]:
    """Tokens that may be the same special token as one that is written the same way."""
    return specials_of(vocabulary) | {token.content for token in vocabulary.added}


def _by_bytes(new: Vocabulary, old: Vocabulary, special: set[str]) -> Iterator[tuple[int, int]]:
    theirs = specials_of(old)
    spelled = spellings(old)
    known: dict[bytes, str] = {}
    for token in sorted(spelled, key=old.ids.__getitem__, reverse=True):
        if token not in theirs and spelled[token]:
            known[spelled[token]] = token
    for token, text in spellings(new).items():
        if token in special or not text:
            continue
        if token not in theirs and spelled.get(token) == text:
            yield new.ids[token], old.ids[token]
        elif text in known:
            yield new.ids[token], old.ids[known[text]]


def _of_role(token: str, new: Vocabulary, old: Vocabulary) -> str | None:
    """The old token that has the first of a new token's parts for which there is one."""
    for role in ROLES:
        if new.specials.get(role) == token and (twin := old.specials.get(role)) in old.ids:
            return twin
    return None
