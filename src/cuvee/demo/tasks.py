"""The demo's skills as task files, for `cuvee eval`, `compare`, `search` and `explain`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cuvee.demo.folder import write_text
from cuvee.demo.skills import SKILLS, VOCABULARY, Document, Split, items

TASKS: Final = "tasks"


def task_path(word: str, split: Split) -> str:
    """The task file of a skill, relative to the demo's folder."""
    return f"{TASKS}/{split}/{word}.yml"


def write_tasks(place: Path, words: Sequence[str], split: Split, count: int, seed: int) -> None:
    """Write a task file and its rows for every skill: the items that the demo's own judging draws.

    Args:
        place: the demo's folder.
        words: the skills.
        split: which strings.
        count: rows of each skill.
        seed: of the draw.
    """
    for word in words:
        rows = [_row(document) for document in items(word, split, count, seed)]
        file = place / task_path(word, split)
        write_text(file, _task(word, max(len(row["answer"].split()) for row in rows)))
        write_text(file.with_suffix(".jsonl"), "".join(json.dumps(row) + "\n" for row in rows))


def _row(document: Document) -> dict[str, str]:
    """Prompt and answer as text; what a tokenizer puts around texts is its own to add."""
    tokens = [VOCABULARY[i] for i in document.ids]
    return {"prompt": " ".join(tokens[1 : document.start]), "answer": " ".join(tokens[document.start : -1])}


def _task(word: str, longest: int) -> str:
    """The YAML of a skill's task; an answer ends with a token of its own."""
    return (
        f"# {SKILLS[word].meaning}\n"
        "kind: exact-match\n"
        f"name: {word}\n"
        f"data: {word}.jsonl\n"
        f"max_new_tokens: {longest + 1}\n"
        'parse: "^([a-j]( [a-j])*)$"    # the form asked for: letters, and nothing else\n'
    )
