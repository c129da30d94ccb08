"""A vocabulary as data: the tokens of a tokenizer with their numbers, and what of them is special."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is found in texts as it stands, before anything else is."""

    content: str
    id: int
    special: bool = False


@dataclass(frozen=True)
class Vocabulary:
    """What a tokenizer knows."""

    label: str
    kind: Literal["bpe", "unigram", "wordpiece", "wordlevel"]
    ids: Mapping[str, int] = field(repr=False)
    added: tuple[AddedToken, ...]
    specials: Mapping[str, str]
    data: Mapping[str, Any] = field(repr=False)

    @property
    def size(self) -> int:
        """The largest number and one."""
        return max(self.ids.values(), default=-1) + 1
