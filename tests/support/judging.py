"""Tasks and models for the tests of the judge: files of a few rows, and answers worked out one row at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from cuvee.families import pretrained
from cuvee.judging.answering import answers_of
from cuvee.judging.answers import Answers
from cuvee.judging.asking.subject import Subject, subject_in
from cuvee.judging.tasks import Task, read_task
from tests.support.calibration import make_model, write_lines

WORDS = ("oak", "wine", "the wine is dry", "a cold cellar and the long north", "sweet", "pale and young wine of three")
QUESTIONS = (
    {"prompt": "the wine is", "choices": ["dry", "sweet and pale", "cold"], "answer": "dry"},
    {"prompt": "the cellar", "choices": ["is cold", "oak"], "answer": 1},
    {"prompt": "a blend of three long wines of the north", "choices": ["wines", "and"], "answer": 0},
)


def write_task(folder: Path, rows: Sequence[Mapping[str, Any]] | None = None, **settings: Any) -> Path:
    """A task's file, and its data beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = str(settings.get("name", settings["kind"]))
    if rows is not None:
        write_lines(folder / f"{name}.jsonl", rows)
        settings = {"data": f"{name}.jsonl", **settings}
    path = folder / f"{name}.yml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def task(folder: Path, rows: Sequence[Mapping[str, Any]] | None = None, **settings: Any) -> Task:
    """A task that was written and read."""
    return read_task(write_task(folder, rows, **settings))


def subject(folder: Path, case: str, seed: int = 0) -> Subject:
    """A small model, loaded, with its tokenizer."""
    if not folder.exists():
        make_model(folder, case, seed)
    cls = getattr(transformers, json.loads((folder / "config.json").read_text())["architectures"][0])
    with pretrained.quiet(transformers):
        model = cls.from_pretrained(str(folder), dtype="float32").eval()
    return subject_in(folder, model)


def one_by_one(asked: Subject, about: Task) -> Answers:
    """The answers with every row alone."""
    return answers_of(asked, about, batch_size=1)


def log_probabilities(model: Any, ids: Sequence[int]) -> torch.Tensor:
    """log p of every token after each, `[T, V]`, of one row, without padding or mask, in float64 at the end."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([list(ids)])).logits[0].double()
    return logits - logits.exp().sum(-1, keepdim=True).log()


def nats_by_hand(model: Any, ids: Sequence[int], first: int) -> float:
    """−Σ log p of the tokens from `first` on, each looked up on its own."""
    logs = log_probabilities(model, ids)
    return -sum(float(logs[t - 1, ids[t]]) for t in range(first, len(ids)))
