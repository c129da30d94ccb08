"""Where configurations name tokens by number, or count them: what another vocabulary makes of that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cuvee.errors import Fault
from cuvee.families import sections
from cuvee.layers import patch_json
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


def token_numbers(config: Mapping[str, Any], name: str, before: Vocabulary, after: Vocabulary) -> Renumbered:
    """What a configuration must say of tokens by number in a vocabulary made of this and others.

    A number follows its token. What becomes of one whose token is not there: see `_renumbered`.

    Args:
        config: parsed `config.json` or `generation_config.json`.
        name: its file's name.
        before: the vocabulary whose numbers it has.
        after: the other one.
    """
    back = {number: after.ids[token] for token, number in before.ids.items() if token in after.ids}
    return _renumbered(config, _Move(name, before, after, back, roles_first=False))


def transplanted_numbers(
    config: Mapping[str, Any], name: str, new: Vocabulary, old: Vocabulary, pairing: Pairing
) -> Renumbered:
    """What a configuration must say of tokens by number where another model's tokenizer moves in.

    A number becomes that of the new tokenizer's token with the role of its key (`eos_token_id`), else that of the token
    that takes the old one's place. What becomes of one that has neither: see `_renumbered`.

    Args:
        config: parsed `config.json` or `generation_config.json`.
        name: its file's name.
        new: the vocabulary that moves in.
        old: the one that was there.
        pairing: which token is which.
    """
    back = {old_id: new_id for new_id, old_id in sorted(pairing.found.items(), reverse=True)}
    return _renumbered(config, _Move(name, old, new, back, roles_first=True))


@dataclass(frozen=True, slots=True)
class _Move:
    """A configuration's move to other numbers.

    Attributes:
        name: its file's name.
        before: the vocabulary whose numbers it has.
        after: the other one.
        back: number → the number of the token that takes its place.
        roles_first: whether the token with the role of a key goes before the one that takes the old one's place.
    """

    name: str
    before: Vocabulary
    after: Vocabulary
    back: Mapping[int, int]
    roles_first: bool

    def role(self, stem: str) -> int | None:
        """The number of the token that has the role of a key."""
        return self.after.ids.get(self.after.specials.get(_STARTS.get(stem, stem), ""))


def _renumbered(config: Mapping[str, Any], move: _Move) -> Renumbered:
    """The changes.

    A role that the other vocabulary does not have becomes null. Of a list of tokens that must not be written, those
    that are not there are left out. Any other key whose token is not there (`image_token_id`) is a fault: the model
    would wait for it in vain. A number of no token, such as one of a padding row, stays, which is told where it means a
    token afterwards.
    """
    names = {number: token for token, number in move.before.ids.items()}
    after = {number: token for token, number in move.after.ids.items()}
    changes: dict[Path, Any] = {}
    faults: list[Fault] = []
    notes: list[str] = []
    for named in _named(config):
        nameless = [one for one in named.numbers if one not in names]
        notes += [
            f"{move.name}: {named.dotted} is {one}, no token before and {after[one]!r} now"
            for one in nameless
            if one in after and not move.roles_first
        ]
        kept = {} if move.roles_first else {one: one for one in nameless}
        found = _in_place(named, move, {**kept, **move.back})
        if found != named.value:
            changes[(*named.path, named.key)] = found
        if named.stem is None and len(found) < len(named.numbers):
            of = f"{len(named.numbers) - len(found)} of {len(named.numbers)} tokens of {named.dotted}"
            notes.append(f"{move.name}: {of} are left out, as {move.after.label} does not have them")
        elif found is None and named.stem in (*ROLES, *_STARTS):
            notes.append(f"{move.name}: {named.dotted} is null now, as {move.after.label} has no such token")
        elif found is None:
            faults.append(_lost(named, move, names))
    notes += [f"{move.name}: {key} is left as it is, with numbers of the old tokens" for key in _unread(config)]
    return Renumbered(changes, tuple(faults), tuple(notes))


def _unread(config: Mapping[str, Any]) -> Iterator[str]:
    for _, section in sections(config):
        yield from (key for key in _LEFT if section.get(key))


def _in_place(named: _Named, move: _Move, back: Mapping[int, int]) -> Any:
    """What numbers become; `None` where the other vocabulary has no such token."""
    found = [back[one] for one in named.numbers if one in back]
    if named.stem is None:
        return found
    own = move.role(named.stem)
    if isinstance(named.value, list):
        leads = own is not None and own not in found and (move.roles_first or not found)
        return [*([own] if leads else []), *found] or None
    if found and (own is None or not move.roles_first or named.stem in _STARTS):
        return found[0]
    return own


def _lost(named: _Named, move: _Move, names: Mapping[int, str]) -> Fault:
    said = ", ".join(repr(names.get(one, one)) for one in named.numbers)
    message = (
        f"{move.name}: {named.dotted} is {named.value}, the token {said}; the tokenizer of {move.after.label} does not "
        "have it"
    )
    return Fault("unknown-token", message, subject=named.key, hint="add the token to that tokenizer first")


@dataclass(frozen=True, slots=True)
class Patched:
    """A configuration with the numbers of other tokens: its text, what changed by path, faults and notes."""

    text: str
    changes: Mapping[Path, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


def patched(text: str, found: Renumbered, sizes: Mapping[Path, int] | None = None) -> Patched:
    """A configuration's text with new numbers of tokens and, of a `config.json`, with new counts of them."""
    changes = {**(sizes or {}), **found.changes}
    return Patched(patch_json(text, changes), changes, found.faults, found.notes)


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
