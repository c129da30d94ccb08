"""What stands in `tokenizer.json`: its tokens, with everything that may be wrong with them found at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from cuvee.tokens.vocabulary import AddedToken, Kind

KINDS: Final = ("bpe", "unigram", "wordpiece", "wordlevel")
LARGEST: Final = 16_777_216
"""Numbers of tokens stay below this; real ones are below a million."""

_FLAGS: Final = ("special", "lstrip", "rstrip", "single_word", "normalized")


def kind_of(data: Mapping[str, Any]) -> Kind:
    """How the tokenizer divides words.

    Raises:
        ValueError: it does not say so, or in a way that is not known.
    """
    model = data.get("model")
    if not isinstance(model, dict) or "vocab" not in model:
        raise ValueError("it needs a `model` with a `vocab`, and has none")
    told = model.get("type") or _guessed(model)
    kind = told.lower() if isinstance(told, str) else ""
    if kind not in KINDS:
        raise ValueError(f"`model.type` must be BPE, Unigram, WordPiece or WordLevel; found {str(told)[:60]!r}")
    return cast(Kind, kind)


def _guessed(model: Mapping[str, Any]) -> str | None:
    """The kind of an old file, which does not say it."""
    if isinstance(model["vocab"], list):
        return "unigram"
    return "bpe" if "merges" in model else "wordpiece" if "continuing_subword_prefix" in model else None


def own_ids(data: Mapping[str, Any], kind: Kind) -> dict[str, int]:
    """The model's tokens and their numbers, without added ones.

    Raises:
        ValueError: they are not of the form of their kind.
    """
    vocab = data["model"]["vocab"]
    if kind == "unigram":
        if not isinstance(vocab, list) or not all(_is_scored(piece) for piece in vocab):
            raise ValueError("`model.vocab` must be a list of pairs of a piece and its score")
        return {piece: number for number, (piece, _) in reversed(list(enumerate(vocab)))}
    if not isinstance(vocab, dict) or not all(is_id(number) for number in vocab.values()):
        raise ValueError(f"`model.vocab` must give every token a number from 0 to {LARGEST - 1:,}")
    return dict(vocab)


def _is_scored(piece: object) -> bool:
    if not isinstance(piece, list) or len(piece) != 2 or not isinstance(piece[0], str):
        return False
    return isinstance(piece[1], int | float) and not isinstance(piece[1], bool) and -1e30 < piece[1] < 1e30


def is_id(value: object) -> bool:
    """Whether it can be the number of a token."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST


def added_tokens(data: Mapping[str, Any]) -> tuple[AddedToken, ...]:
    """The added tokens, by number.

    Raises:
        ValueError: one is not of the form of such tokens.
    """
    given = data.get("added_tokens") or []
    if not isinstance(given, list):
        raise ValueError("`added_tokens` must be a list")
    return tuple(sorted((_added(token) for token in given), key=lambda token: token.id))


def _added(token: object) -> AddedToken:
    if not isinstance(token, dict) or not isinstance(token.get("content"), str) or not is_id(token.get("id")):
        raise ValueError(f"`added_tokens` must have a `content` and an `id` from 0 each; found {str(token)[:80]}")
    flags = {name: token[name] for name in _FLAGS if name in token}
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise ValueError(f"the flags of added token {token['content'][:60]!r} must be true or false")
    return AddedToken(token["content"], token["id"], **flags)


def merge_pairs(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The merges of a BPE tokenizer by rank, whichever of the two ways they are written in.

    Raises:
        ValueError: one is neither.
    """
    merges = data["model"].get("merges") or []
    if not isinstance(merges, list):
        raise ValueError("`model.merges` must be a list")
    for merge in merges:
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise ValueError(f"`model.merges` must hold pairs of tokens; found {str(merge)[:80]!r}")
        yield parts[0], parts[1]


def clashes(ids: Mapping[str, int], added: Sequence[AddedToken]) -> list[str]:
    """Tokens that share a number, and added tokens that have another number than the model gives them."""
    owner: dict[int, str] = {}
    told: list[str] = []
    for token, number in ids.items():
        first = owner.setdefault(number, token)
        if first != token:
            told.append(f"tokens {first[:40]!r} and {token[:40]!r} have the same number, {number}")
    for extra in added:
        if ids.get(extra.content, extra.id) != extra.id:
            told.append(f"added token {extra.content[:40]!r} has number {extra.id}, and {ids[extra.content]} as token")
        elif (first := owner.setdefault(extra.id, extra.content)) != extra.content:
            told.append(f"tokens {first[:40]!r} and {extra.content[:40]!r} have the same number, {extra.id}")
    return told


def lost_merges(data: Mapping[str, Any], ids: Mapping[str, int]) -> list[str]:
    """Merges of tokens that are not there, or that give one that is not."""
    prefix = data["model"].get("continuing_subword_prefix") or ""
    told = []
    for left, right in merge_pairs(data):
        whole = left + (right.removeprefix(prefix) if prefix else right)
        if unknown := [part for part in (left, right, whole) if part not in ids]:
            told.append(f"merge {left[:40]!r} {right[:40]!r} names {unknown[0][:40]!r}, which is no token")
    return told
