"""A vocabulary as data: the tokens of a tokenizer with their numbers, and what of them is special."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["bpe", "unigram", "wordpiece", "wordlevel"]


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is found in texts as it stands, before anything else is."""

    content: str
    id: int
    special: bool = False


@dataclass(frozen=True)
class Vocabulary:
    """What a tokenizer knows.

    Attributes:
        label: the model's name in messages.
        kind: how it makes tokens.
        ids: the number of every token as it is stored, added ones included.
        added: tokens that are looked for before all others.
        specials: roles (`bos`, `eos`, `pad` …) and their tokens.
        data: what tokenizer.json says.
        additional: further special tokens that the configuration names.
    """

    label: str
    kind: Kind
    ids: Mapping[str, int] = field(repr=False)
    added: tuple[AddedToken, ...]
    specials: Mapping[str, str]
    data: Mapping[str, Any] = field(repr=False)
    additional: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The largest number and one."""
        return max(self.ids.values(), default=-1) + 1
