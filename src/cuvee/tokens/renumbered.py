"""Where configurations name tokens by number: the numbers of another vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cuvee.families import sections
from cuvee.tokens.vocabulary import Vocabulary

_NAMES_TOKENS: Final = re.compile(r"(_token_ids?|_token_index|suppress_tokens)$")
_COUNTS_TOKENS: Final = ("vocab_size", "n_words", "decoder_vocab_size", "vocab_size_per_layer_input")

Path = tuple[str, ...]


@dataclass(frozen=True)
class Renumbered:
    """Changes of a configuration, by path, and what could not be changed."""

    changes: Mapping[Path, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def token_numbers(config: Mapping[str, Any], before: Vocabulary, after: Vocabulary) -> Renumbered:
    """What a configuration must say of tokens by number in another vocabulary.

    A number follows its token. A special token that the other vocabulary does not have gives its place to the one that
    has its role there.

    Args:
        config: parsed `config.json` or `generation_config.json`.
        before: the vocabulary whose numbers it has.
        after: the other one.
    """
    names = {number: token for token, number in before.ids.items()}
    changes: dict[Path, Any] = {}
    notes = []
    for path, key, value in _named(config):
        numbers = value if isinstance(value, list) else [value]
        found = [_moved(key, number, names, after) for number in numbers]
        if lost := [number for number, moved in zip(numbers, found, strict=True) if moved is None]:
            notes.append(f"config: {'.'.join((*path, key))} is {lost[0]}, a token that the output does not have")
        kept = [number if moved is None else moved for number, moved in zip(numbers, found, strict=True)]
        if kept != numbers:
            changes[(*path, key)] = kept if isinstance(value, list) else kept[0]
    return Renumbered(changes, tuple(notes))


def _named(config: Mapping[str, Any]) -> Iterator[tuple[Path, str, Any]]:
    """Every number of a token, or list of such, with the path of its section and its key."""
    for path, section in sections(config):
        for key, value in section.items():
            numbers = value if isinstance(value, list) else [value]
            if _NAMES_TOKENS.search(key) and numbers and all(type(one) is int and one >= 0 for one in numbers):
                yield path, key, value


def _moved(key: str, number: int, names: Mapping[int, str], after: Vocabulary) -> int | None:
    """The number of a token in the other vocabulary; `None` if it has neither it nor another in its role."""
    token = names.get(number)
    if token is None:
        return number  # names no token: padding rows and marks of other meanings stay
    if token in after.ids:
        return after.ids[token]
    role = key.partition("_token")[0]
    return after.ids.get(after.specials.get(role, ""))


def vocabulary_sizes(config: Mapping[str, Any], before: int, after: int) -> Mapping[Path, int]:
    """Where a configuration counts tokens, as they are counted afterwards.

    Args:
        config: parsed `config.json`.
        before: rows of the word embedding.
        after: rows that it has then.
    """
    found = [(*path, key) for path, section in sections(config) for key in _COUNTS_TOKENS if section.get(key) == before]
    if not found and before != after and config:
        text = config.get("text_config")
        found = [("text_config", "vocab_size") if isinstance(text, Mapping) else ("vocab_size",)]
    return dict.fromkeys(found, after) if before != after else {}
