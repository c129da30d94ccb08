"""Whether models that are merged row by row mean the same token by the same row, where nobody says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import xxhash

from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.errors import CuveeError, Fault, listed
from cuvee.tokens.comparing import embedding_rows
from cuvee.tokens.mismatch import differences
from cuvee.tokens.reading import read_vocabulary
from cuvee.tokens.vocabulary import ROLES, Vocabulary

WAYS_OUT = (
    "`tokenizer: {source: union}` in the recipe merges the vocabularies, `source: base` or a model's name takes one of "
    "them; or give one model the other's tokenizer first: `cuvee tokens transplant`"
)
"""What to do about vocabularies that differ."""
_FILES = ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "merges.txt", "added_tokens.json")
_CONFIGS = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json")


@dataclass
class Agreement:
    """What was found out of some models' tokenizers: what stands in the way of a merge, and what is told."""

    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def agreement_of(readers: Sequence[Reader], *, together: bool = True) -> Agreement:
    """Compare the tokenizers of models whose rows meet.

    Models without embeddings, or without the files of a tokenizer, are passed over. Equal files are not looked into.

    Args:
        readers: the models, the one whose tokenizer the result gets first.
        together: whether rows of several models become one row; otherwise differences are told, and are no faults.

    Returns:
        `tokenizer-mismatch` for every model in which a row that the first knows means another token;
        `embedding-too-small` for every model with fewer rows than its tokenizer has tokens.
    """
    found = Agreement()
    prints = {i: _fingerprint(reader) for i, reader in enumerate(readers) if embedding_rows(reader) is not None}
    having = [i for i, told in prints.items() if told]
    read: dict[str, Vocabulary | None] = {}
    unread: list[str] = []
    for i in having:
        if prints[i] not in read:
            read[prints[i]] = _read(readers[i], unread)
        _check_rows(readers[i], read[prints[i]], found)
    if len(having) < 2:
        return found
    if len(read) > 1:  # files that are the same in all models mean the same, whatever they mean
        found.notes += unread
    first, *others = having
    if without := [readers[i].label for i in prints if not prints[i]]:
        found.notes.append(f"{listed(without)}: no tokenizer beside the weights, so that its tokens cannot be compared")
    told: set[str] = {prints[first]}
    for i in others:
        ours, theirs = read[prints[first]], read[prints[i]]
        if prints[i] not in told and ours is not None and theirs is not None:
            _compare(ours, theirs, together, found)
            told.add(prints[i])
    return found


def _fingerprint(reader: Reader) -> str:
    """A hash of the tokenizer's files; empty without any that names tokens."""
    files = {file.name: file for file in reader.side_files if file.name in (*_FILES, *_CONFIGS)}
    if not any(name in files for name in _FILES[:4]):
        return ""
    hashed = xxhash.xxh3_128()
    for name in sorted(files):
        hashed.update(f"{name}\n".encode())
        hashed.update(_bytes(files[name]))
    return hashed.hexdigest()


def _bytes(file: SideFile) -> bytes:
    path: Path = file.fetched()
    return path.read_bytes()


def _read(reader: Reader, unread: list[str]) -> Vocabulary | None:
    """A vocabulary; one that cannot be read is told, since nothing was asked of it."""
    try:
        return read_vocabulary(reader)
    except CuveeError as error:
        unread.append(f"{reader.label}: its tokenizer is not compared: {error.faults[0].message}")
        return None


def _check_rows(reader: Reader, vocabulary: Vocabulary | None, found: Agreement) -> None:
    rows = embedding_rows(reader)
    if vocabulary is None or rows is None or rows >= vocabulary.size:
        return
    last = max(vocabulary.ids, key=lambda token: vocabulary.ids[token])
    message = f"{reader.label}: its embeddings have {rows:,} rows, and its tokenizer {vocabulary.size:,} tokens"
    message += f" (token {vocabulary.ids[last]:,} is {last!r})"
    hint = "resize its embeddings and save it again, or put the tokenizer beside it that it was trained with"
    found.faults.append(Fault("embedding-too-small", message, subject=reader.label, hint=hint))


def _compare(ours: Vocabulary, theirs: Vocabulary, together: bool, found: Agreement) -> None:
    clashing = list(_clashes(ours, theirs))
    if clashing:
        some = "; ".join(clashing[:3])
        message = f"{ours.label} and {theirs.label} have tokenizers in which {len(clashing):,} tokens differ: {some}"
        if together:
            found.faults.append(Fault("tokenizer-mismatch", message, subject=theirs.label, hint=WAYS_OUT))
        else:
            found.notes.append(f"{message}; the result has the tokenizer of {ours.label}")
        return
    found.notes += _told(ours, theirs)


def _clashes(ours: Vocabulary, theirs: Vocabulary) -> Iterator[str]:
    """Rows that mean one token here and another there, and tokens that have another row."""
    by_id = _tokens(ours)
    for token, number in sorted(theirs.ids.items(), key=lambda pair: pair[1]):
        here = ours.ids.get(token)
        if here is not None and here != number:
            yield f"{token!r} is {here:,} in {ours.label} and {number:,} in {theirs.label}"
        elif here is None and number in by_id:
            yield f"{number:,} is {by_id[number]!r} in {ours.label} and {token!r} in {theirs.label}"


def _tokens(vocabulary: Vocabulary) -> Mapping[int, str]:
    return {number: token for token, number in vocabulary.ids.items()}


def _told(ours: Vocabulary, theirs: Vocabulary) -> Iterator[str]:
    """What differs and does no harm to the rows."""
    for one, other in ((theirs, ours), (ours, theirs)):
        beyond = [token for token in one.ids if token not in other.ids]
        if beyond:
            yield (
                f"{one.label} has {len(beyond):,} tokens more ({listed(map(repr, beyond))}), whose rows meet rows that "
                f"mean nothing in {other.label}; `tokenizer: {{source: union}}` would take them from their owner"
            )
    differing = [
        f"{role} is {ours.specials.get(role)!r} and {theirs.specials.get(role)!r}"
        for role in ROLES
        if ours.specials.get(role) != theirs.specials.get(role)
    ]
    if differing:
        yield f"{theirs.label} has other special tokens ({'; '.join(differing)}); the result has those of {ours.label}"
    if ours.chat_template != theirs.chat_template:
        yield f"{theirs.label} has another chat template; the result has that of {ours.label}"
    if rules := list(differences(ours, theirs)):
        yield f"{rules[0]}; the result has those of {ours.label}"
