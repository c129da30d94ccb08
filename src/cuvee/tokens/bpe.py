"""United merges: the base's first, then the others', then what new tokens need to be found at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Pair = tuple[str, str]
_ROUNDS = 3  # a merge that is added may stand in the way of a token that was found before


@dataclass(frozen=True)
class Merges:
    """Merges by rank; how many of them no input had; tokens that no text becomes."""

    pairs: tuple[Pair, ...]
    bridging: int
    unreachable: tuple[str, ...]


def unite_merges(
    base: Sequence[Pair], others: Iterable[Sequence[Pair]], ids: Mapping[str, int], wanted: Sequence[str], prefix: str
) -> Merges:
    """The merges of a united BPE.

    The base's merges keep their ranks and all others come after, so a word is first divided as the base divides it,
    and only then are pieces joined into tokens that the base does not have. A new token that its own text does not
    become this way gets merges of the pieces that it does become, as far as every step of them is a token.

    Args:
        base: the base's merges.
        others: those of the others, each by rank.
        ids: all tokens.
        wanted: the new tokens, by number.
        prefix: what continued pieces begin with.
    """
    ranks = {pair: rank for rank, pair in enumerate(base)}
    for pairs in others:
        for pair in pairs:
            if pair not in ranks and all(piece in ids for piece in (*pair, joined(pair, prefix))):
                ranks[pair] = len(ranks)
    taken = len(ranks)
    for _ in range(_ROUNDS):
        missed = [token for token in wanted if len(divide(token, ranks, prefix)) > 1]
        if not sum(_bridge(token, ranks, ids, prefix) for token in missed):
            break
    missed = [token for token in wanted if len(divide(token, ranks, prefix)) > 1]
    return Merges(tuple(ranks), len(ranks) - taken, tuple(missed))


def joined(pair: Pair, prefix: str) -> str:
    """The token that a merge gives."""
    return pair[0] + (pair[1].removeprefix(prefix) if prefix else pair[1])


def divide(token: str, ranks: Mapping[Pair, int], prefix: str = "") -> list[str]:
    """The pieces that merges make of a token's letters: the pair of the lowest rank first, leftmost before others."""
    start = prefix if prefix and token.startswith(prefix) and token != prefix else ""
    letters = token[len(start) :]
    pieces = [(prefix if n or start else "") + letter for n, letter in enumerate(letters)]
    while len(pieces) > 1:
        found = min((ranks.get(pair, len(ranks)), n) for n, pair in enumerate(pairwise(pieces)))
        if found[0] == len(ranks):
            break
        at = found[1]
        pieces[at : at + 2] = [joined((pieces[at], pieces[at + 1]), prefix)]
    return pieces


def _bridge(token: str, ranks: dict[Pair, int], ids: Mapping[str, int], prefix: str) -> bool:
    """Add merges that join a token's pieces, where every step is a token; whether there were any to add."""
    pieces, before = divide(token, ranks, prefix), len(ranks)
    while len(pieces) > 1:
        steps = (n for n in range(len(pieces) - 1) if joined((pieces[n], pieces[n + 1]), prefix) in ids)
        at = next(steps, None)
        if at is None:
            break
        pair = (pieces[at], pieces[at + 1])
        ranks.setdefault(pair, len(ranks))
        pieces[at : at + 2] = [joined(pair, prefix)]
    return len(ranks) > before
