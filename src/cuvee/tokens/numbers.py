"""Numbers of tokens in configurations: what they become where another tokenizer moves in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cuvee.errors import Fault
from cuvee.families import sections
from cuvee.layers import patch_json
from cuvee.tokens.pairing import ROLES, Pairing
from cuvee.tokens.vocabulary import Vocabulary

_KEY: Final = re.compile(r"(.+)_token_(ids?|index)$")
_STARTS: Final = {"decoder_start": "bos", "forced_bos": "bos", "forced_eos": "eos"}
"""Keys of which a role may stand in for a token that the new tokenizer does not have."""
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Renumbered:
    """A configuration with the numbers of other tokens: its text, what changed by path, faults and notes."""

    text: str
    changes: Mapping[Path, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


def renumber(
    text: str, name: str, new: Vocabulary, old: Vocabulary, pairing: Pairing, *, rows: Mapping[int, int]
) -> Renumbered:
    """Change the numbers of tokens, and how many there are.

    A number becomes that of the new tokenizer's token with the role of its key (`eos_token_id`), else that of the token
    that takes the old one's place. A role that the new tokenizer does not have becomes null. Any other key whose token
    is not there (`image_token_id`) is a fault: the model would wait for it in vain.

    Args:
        text: the configuration.
        name: its file's name.
        new: the vocabulary that moves in.
        old: the one that was there.
        pairing: which token is which.
        rows: a `vocab_size` that is there → the new one.
    """
    changes: dict[Path, Any] = {}
    faults: list[Fault] = []
    notes: list[str] = []
    back = {old_id: new_id for new_id, old_id in sorted(pairing.found.items(), reverse=True)}
    for path, section in sections(json.loads(text)):
        for key, value in section.items():
            if key == "vocab_size" and value in rows:
                changes[*path, key] = rows[value]
            elif (match := _KEY.fullmatch(key)) and value is not None:
                changes[*path, key] = _number(match[1], value, new, back)
                lost = changes[*path, key] is None
                if lost and match[1] in (*ROLES, *_STARTS):
                    notes.append(f"{name}: {key} is null now, as {new.label} has no such token")
                elif lost:
                    faults.append(_lost(name, key, value, new, old))
            elif key in _LISTS and value:
                notes.append(f"{name}: {key} is left as it is, with numbers of the old tokenizer's tokens")
    changed = {path: value for path, value in changes.items() if _at(json.loads(text), path) != value}
    return Renumbered(patch_json(text, changed), changed, tuple(faults), tuple(notes))


_LISTS: Final = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "forced_decoder_ids", "sequence_bias")


def _number(stem: str, value: Any, new: Vocabulary, back: Mapping[int, int]) -> Any:
    """What a number, or a list of them, becomes; `None` where the new tokenizer has no such token."""
    own = new.ids.get(new.specials.get(_STARTS.get(stem, stem), ""))
    if not isinstance(value, list):
        return back.get(value) if stem in _STARTS and value in back else own if own is not None else back.get(value)
    found = [back[one] for one in value if one in back]
    found = [*([] if own is None or own in found else [own]), *found]
    return found or None


def _lost(name: str, key: str, value: Any, new: Vocabulary, old: Vocabulary) -> Fault:
    tokens = {number: token for token, number in old.ids.items()}
    numbers = value if isinstance(value, list) else [value]
    said = ", ".join(repr(tokens.get(one, one)) for one in numbers)
    message = f"{name}: {key} is {value}, the token {said}, which the tokenizer of {new.label} does not have"
    return Fault("unknown-token", message, subject=key, hint="add the token to the donor's tokenizer first")


def _at(config: Any, path: Path) -> Any:
    for key in path:
        config = config[key]
    return config
