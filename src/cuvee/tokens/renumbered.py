"""Where configurations name tokens by number, or count them: what another vocabulary makes of that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cuvee.errors import Fault
from cuvee.families import sections
from cuvee.tokens.pairing import ROLES, Pairing
from cuvee.tokens.vocabulary import Vocabulary

_NAMES_TOKENS: Final = re.compile(r"(?:(?P<stem>.+)_token_(?:ids?|index)|\w*suppress_tokens)$")
_COUNTS_TOKENS: Final = ("vocab_size", "n_words", "decoder_vocab_size", "vocab_size_per_layer_input")
_LEFT: Final = ("bad_words_ids", "forced_decoder_ids", "sequence_bias")
"""Keys whose numbers stand deeper than they are looked for."""
_STARTS: Final = {"decoder_start": "bos", "forced_bos": "bos", "forced_eos": "eos"}
"""Keys of which a role may stand in for a token that the new tokenizer does not have."""
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Renumbered:
    """Changes of a configuration, by path; what stands against them, and what should be known."""

    changes: Mapping[Path, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Named:
    """A number of a token, or a list of them, with its section and key; `stem` is what stands before `_token_id`."""

    path: Path
    key: str
    value: Any
    stem: str | None

    @property
    def numbers(self) -> list[int]:
        """The numbers."""
        return self.value if isinstance(self.value, list) else [self.value]

    @property
    def dotted(self) -> str:
        """The path as it is told."""
        return ".".join((*self.path, self.key))


def _named(config: Mapping[str, Any]) -> Iterator[_Named]:
    """Every number of a token, or list of such."""
    for path, section in sections(config):
        for key, value in section.items():
            numbers = value if isinstance(value, list) else [value]
            found = _NAMES_TOKENS.fullmatch(key)
            if found and numbers and all(type(one) is int and one >= 0 for one in numbers):
                yield _Named(path, key, value, found["stem"])


def token_numbers(config: Mapping[str, Any], before: Vocabulary, after: Vocabulary) -> Renumbered:
    """What a configuration must say of tokens by number in a vocabulary made of this and others.

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
    for named in _named(config):
        found = [_moved(named.key, number, names, after) for number in named.numbers]
        if lost := [number for number, moved in zip(named.numbers, found, strict=True) if moved is None]:
            notes.append(f"config: {named.dotted} is {lost[0]}, a token that the output does not have")
        kept = [number if moved is None else moved for number, moved in zip(named.numbers, found, strict=True)]
        if kept != named.numbers:
            changes[(*named.path, named.key)] = kept if isinstance(named.value, list) else kept[0]
    return Renumbered(changes, notes=tuple(notes))


def _moved(key: str, number: int, names: Mapping[int, str], after: Vocabulary) -> int | None:
    """The number of a token in the other vocabulary; `None` if it has neither it nor another in its role."""
    token = names.get(number)
    if token is None:
        return number  # names no token: padding rows and marks of other meanings stay
    if token in after.ids:
        return after.ids[token]
    role = key.partition("_token")[0]
    return after.ids.get(after.specials.get(role, ""))


def transplanted_numbers(
    config: Mapping[str, Any], name: str, new: Vocabulary, old: Vocabulary, pairing: Pairing
) -> Renumbered:
    """What a configuration must say of tokens by number where another model's tokenizer moves in.

    A number becomes that of the new tokenizer's token with the role of its key (`eos_token_id`), else that of the token
    that takes the old one's place. A role that the new tokenizer does not have becomes null. Of a list of tokens that
    must not be written, those that are not there are left out. Any other key whose token is not there
    (`image_token_id`) is a fault: the model would wait for it in vain.

    Args:
        config: parsed `config.json` or `generation_config.json`.
        name: its file's name.
        new: the vocabulary that moves in.
        old: the one that was there.
        pairing: which token is which.
    """
    changes: dict[Path, Any] = {}
    faults: list[Fault] = []
    notes: list[str] = []
    back = {old_id: new_id for new_id, old_id in sorted(pairing.found.items(), reverse=True)}
    for named in _named(config):
        found = _in_place(named, new, back)
        if found != named.value:
            changes[(*named.path, named.key)] = found
        gone = len(named.numbers) - len(found) if named.stem is None else 0
        if gone:
            of = f"{gone} of {len(named.numbers)} tokens of {named.dotted}"
            notes.append(f"{name}: {of} are left out, as {new.label} does not have them")
        elif found is None and named.stem in (*ROLES, *_STARTS):
            notes.append(f"{name}: {named.key} is null now, as {new.label} has no such token")
        elif found is None:
            faults.append(_lost(name, named, new, old))
    notes += [f"{name}: {key} is left as it is, with numbers of the old tokenizer's tokens" for key in _unread(config)]
    return Renumbered(changes, tuple(faults), tuple(notes))


def _unread(config: Mapping[str, Any]) -> Iterator[str]:
    for _, section in sections(config):
        yield from (key for key in _LEFT if section.get(key))


def _in_place(named: _Named, new: Vocabulary, back: Mapping[int, int]) -> Any:
    """What numbers become; `None` where the new tokenizer has no such token."""
    found = [back[one] for one in named.numbers if one in back]
    if named.stem is None:
        return found
    own = new.ids.get(new.specials.get(_STARTS.get(named.stem, named.stem), ""))
    if isinstance(named.value, list):
        return [*([] if own is None or own in found else [own]), *found] or None
    if own is None or (named.stem in _STARTS and found):
        return found[0] if found else None
    return own


def _lost(name: str, named: _Named, new: Vocabulary, old: Vocabulary) -> Fault:
    tokens = {number: token for token, number in old.ids.items()}
    said = ", ".join(repr(tokens.get(one, one)) for one in named.numbers)
    message = (
        f"{name}: {named.key} is {named.value}, the token {said}, which the tokenizer of {new.label} does not have"
    )
    return Fault("unknown-token", message, subject=named.key, hint="add the token to the donor's tokenizer first")


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
