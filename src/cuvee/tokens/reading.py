"""Reading tokenizers: `tokenizer.json` and what stands beside it, as data; no library is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.errors import Fault, InputError
from cuvee.tokens.vocabulary import AddedToken, Kind, Vocabulary

LIMIT: Final = 200_000_000
"""Bytes that a file of a tokenizer may have."""
_KINDS: Final[Mapping[str, Kind]] = {
    "BPE": "bpe",
    "Unigram": "unigram",
    "WordPiece": "wordpiece",
    "WordLevel": "wordlevel",
}


def read_vocabulary(reader: Reader) -> Vocabulary:
    """The vocabulary of a model.

    Raises:
        InputError: `tokenizer-missing`: there is no tokenizer.json; `bad-tokenizer`: a file is damaged or of a kind
            that is not read.
    """
    files = {file.name: file for file in reader.side_files}
    if "tokenizer.json" not in files:
        message = f"{reader.label} should have a tokenizer.json; found {', '.join(sorted(files)) or 'no such file'}"
        hint = "`AutoTokenizer.from_pretrained(…).save_pretrained(…)` of transformers writes one"
        raise InputError(Fault("tokenizer-missing", message, subject=reader.label, hint=hint))
    data = _object(reader, files["tokenizer.json"])
    try:
        kind, ids, added = _tokens(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _bad(reader, "tokenizer.json", f"it is not as a tokenizer.json should be: {error!r:.100}") from error
    return Vocabulary(reader.label, kind, ids, added, dict(_specials(reader, files)), data)


def _object(reader: Reader, file: SideFile) -> Mapping[str, Any]:
    try:
        data, repeated = parse_json(read_capped(file.fetched(), LIMIT))
    except (OSError, ValueError) as error:
        raise _bad(reader, file.name, str(error)) from error
    if not isinstance(data, dict):
        raise _bad(reader, file.name, "it should hold an object")
    if repeated:
        raise _bad(reader, file.name, f"names stand twice: {', '.join(map(repr, repeated[:3]))}")
    return data


def _bad(reader: Reader, name: str, why: str) -> InputError:
    return InputError(Fault("bad-tokenizer", f"{reader.label}: {name} cannot be used: {why}", subject=name))


def _tokens(data: Mapping[str, Any]) -> tuple[Kind, dict[str, int], tuple[AddedToken, ...]]:
    model = data["model"]
    kind = _KINDS[model.get("type", "BPE")]
    listed = model["vocab"]
    ids = {piece[0]: i for i, piece in enumerate(listed)} if kind == "unigram" else dict(listed)
    added = tuple(AddedToken(t["content"], t["id"], bool(t.get("special"))) for t in data.get("added_tokens") or ())
    ids |= {token.content: token.id for token in added}
    for token, number in ids.items():
        if not isinstance(token, str) or type(number) is not int or not 0 <= number < 1 << 31:
            raise ValueError(f"the token {token!r:.60} has the number {number!r:.60}")
    if len(set(ids.values())) != len(ids):
        raise ValueError("two tokens have the same number")
    return kind, ids, added


def _specials(reader: Reader, files: Mapping[str, SideFile]) -> Iterator[tuple[str, str]]:
    """Roles and their tokens; what tokenizer_config.json says holds."""
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        for key, value in _object(reader, files[name]).items() if name in files else ():
            token = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(token, str):
                yield key.removesuffix("_token"), token
