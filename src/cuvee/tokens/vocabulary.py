"""A vocabulary as data: the tokens of a tokenizer with their numbers, and what of them is special."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Kind = Literal["bpe", "unigram", "wordpiece", "wordlevel"]

ROLES: Final = ("bos", "eos", "pad", "unk", "sep", "cls", "mask")
"""What a special token may be for; each of these has one token at most."""


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is found in texts as it stands, before anything else is.

    Attributes:
        content: its text.
        id: its number.
        special: whether it is left out where text is made of tokens again.
        lstrip: whether it takes the blanks before it.
        rstrip: whether it takes the blanks after it.
        single_word: whether it is found between word boundaries only.
        normalized: whether it is looked for in the normalised text.
    """

    content: str
    id: int
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = True


@dataclass(frozen=True)
class Vocabulary:
    """What a tokenizer knows.

    Attributes:
        label: the model's name in messages.
        kind: how it divides words.
        ids: every token as it is stored, added ones included → its number.
        added: the tokens that are found as they stand, by number.
        specials: role (one of `ROLES`) → token.
        data: `tokenizer.json`, parsed.
        text: `tokenizer.json` as it stands.
        additional: further special tokens that the configuration names.
        chat_template: the Jinja text of conversations.
        files: the tokenizer's files that are text, `tokenizer.json` among them: name → text.
        binaries: names of those that are not.
    """

    label: str
    kind: Kind
    ids: Mapping[str, int] = field(repr=False)
    added: tuple[AddedToken, ...]
    specials: Mapping[str, str]
    data: Mapping[str, Any] = field(repr=False)
    text: str = field(default="", repr=False)
    additional: tuple[str, ...] = ()
    chat_template: str | None = field(default=None, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    binaries: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The largest number and one: the rows that embeddings must have at least."""
        return max(self.ids.values(), default=-1) + 1
