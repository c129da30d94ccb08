"""What every model of a merge with one vocabulary shows in the place of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cuvee.checkpoint.fingerprint import digest_file
from cuvee.checkpoint.given import given_file
from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.errors import InputError
from cuvee.tokens.files import is_of_tokenizer
from cuvee.tokens.renumbered import Patched, patched, token_numbers, vocabulary_sizes
from cuvee.tokens.rows import PADDING, RowPlan
from cuvee.tokens.tables import Table, rows_of_words, sibling
from cuvee.tokens.uniting import United
from cuvee.tokens.view import Shown
from cuvee.tokens.vocabulary import Vocabulary
from cuvee.types import RowFacts, VocabularyFacts

_GENERATION = "generation_config.json"


@dataclass(frozen=True)
class Meeting:
    """Models whose vocabularies become one.

    Attributes:
        source: which vocabulary the output has, as the recipe writes it.
        united: it.
        giver: the model whose tokenizer's files it is made of.
        known: the vocabularies of the models.
        readers: the models.
        tables: their tensors with a row for every token.
        plans: where their rows come from.
    """

    source: str
    united: United
    giver: Reader
    known: Sequence[Vocabulary]
    readers: Sequence[Reader]
    tables: Sequence[Mapping[str, Table]]
    plans: Sequence[RowPlan]


def shown_by_all(meeting: Meeting) -> list[Shown]:
    """What each model shows."""
    facts = VocabularyFacts(
        meeting.source,
        len(meeting.united.vocabulary.ids),
        meeting.plans[0].size,
        tuple(_facts(meeting, number) for number in range(len(meeting.readers))),
        meeting.united.notes,
    )
    read = tuple(_files_read([*meeting.readers, meeting.giver]))
    return [_shown(meeting, number, facts, read) for number in range(len(meeting.readers))]


def _facts(meeting: Meeting, number: int) -> RowFacts:
    counts = dict(meeting.plans[number].counts())
    reader = meeting.readers[number]
    return RowFacts(
        reader.label,
        len(meeting.known[number].ids),
        rows_of_words(reader),
        counts.pop("own", 0),
        counts,
        {file.name: digest_file(file.fetched()) for file in reader.side_files if is_of_tokenizer(file.name)},
    )


def _files_read(readers: Sequence[Reader]) -> Iterator[InputFile]:
    """The tokenizers' files by their content, so that a run that is resumed finds the same ones."""
    for reader in dict.fromkeys(readers):
        for file in reader.side_files:
            if is_of_tokenizer(file.name):
                path = file.fetched()
                yield InputFile(str(path), {"xxh3_128": digest_file(path)}, {}, frozenset())


def _shown(meeting: Meeting, number: int, facts: VocabularyFacts, read: tuple[InputFile, ...]) -> Shown:
    tables = meeting.tables[number]
    config, generation = _config(meeting, number), _generation(meeting, number)
    if number == 0:  # the output has the first model's configuration
        found = [one for one in (config, generation) if one is not None]
        if faults := [fault for one in found for fault in one.faults]:
            raise InputError(faults)
        told = {} if config is None else {".".join(path): value for path, value in config.changes.items()}
        notes = (*facts.notes, *(note for one in found for note in one.notes))
        facts = replace(facts, notes=notes, config_changes=told)
    siblings = {name: _siblings(meeting, name, tables[name]) for name in tables}
    return Shown(
        tables,
        siblings,
        facts,
        None if config is None else json.loads(config.text),
        meeting.readers[number].config_text if config is None else config.text,
        tuple(_side_files(meeting, number, generation)),
        read if number == 0 else (),
        tuple(_without_source(meeting, number, siblings)),
    )


def _siblings(meeting: Meeting, name: str, table: Table) -> list[str | None]:
    """The tensors of all models that rows of a table may come from; of those with other rows planning tells."""
    found: list[str | None] = []
    for reader, tables in zip(meeting.readers, meeting.tables, strict=True):
        there = sibling(name, reader, tables)
        found.append(there if there is not None and tables[there].width == table.width else None)
    return found


def _without_source(meeting: Meeting, number: int, siblings: Mapping[str, Sequence[str | None]]) -> Iterator[str]:
    """Rows that should come from models that have no such tensor: a recipe may allow that with `missing: copy`."""
    plan = meeting.plans[number]
    for name, there in siblings.items():
        lacking = {model for model, found in enumerate(there) if found is None}
        codes = [code for code in plan.own if code < PADDING] if lacking else []
        rows = [plan.fill(code).rows for code in codes]
        count = sum(bool(found) and {row.model for row in found} <= lacking for found in rows)
        if count:
            labels = ", ".join(meeting.readers[model].label for model in sorted(lacking))
            yield f"{count:,} rows of {name} are zeros: their tokens are of {labels}, without such a tensor"


def _config(meeting: Meeting, number: int) -> Patched | None:
    """A model's `config.json` with the output's vocabulary."""
    reader = meeting.readers[number]
    if reader.config is None or reader.config_text is None:
        return None
    sizes = vocabulary_sizes(reader.config, rows_of_words(reader), meeting.plans[number].size)
    found = token_numbers(reader.config, "config.json", meeting.known[number], meeting.united.vocabulary)
    return patched(reader.config_text, found, sizes)


def _generation(meeting: Meeting, number: int) -> Patched | None:
    """How a model writes text, with the output's numbers of tokens; `None` for what is no JSON object."""
    file = next((file for file in meeting.readers[number].side_files if file.name == _GENERATION), None)
    if file is None:
        return None
    text = Path(file.fetched()).read_text("utf-8")
    try:
        data: Any = json.loads(text)
    except ValueError:
        return None
    if not isinstance(data, dict):
        return None
    return patched(text, token_numbers(data, _GENERATION, meeting.known[number], meeting.united.vocabulary))


def _side_files(meeting: Meeting, number: int, generation: Patched | None) -> Iterator[SideFile]:
    """A model's files with the output's tokenizer in the place of its own."""
    for file in meeting.readers[number].side_files:
        if file.name == _GENERATION and generation is not None and generation.changes:
            yield given_file(file.name, generation.text)
        elif not is_of_tokenizer(file.name):
            yield file
    yield from _of_tokenizer(meeting.giver, meeting.united)


def _of_tokenizer(giver: Reader, united: United) -> Iterator[SideFile]:
    """The files of the output's tokenizer: as they lie, where nothing was added to it."""
    theirs = {file.name: file for file in giver.side_files if is_of_tokenizer(file.name)}
    if not united.new:
        yield from theirs.values()
        return
    kept = {name: file for name, file in theirs.items() if name in united.files}
    for name, text in united.files.items():
        same = name in kept and kept[name].fetched().read_bytes() == text.encode("utf-8")
        yield kept[name] if same else given_file(name, text)
