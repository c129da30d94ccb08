"""Tiny classifiers of two tasks, fine-tuned from one base, and data files for them: real models, made in seconds.

Task `a` asks whether a row of tokens 2…9 has more of the lower or of the upper four of them (classes 0 and 1), task `b`
the same of tokens 10…17 (classes 2 and 3): one head of four classes serves both.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from cuvee.families import pretrained

CONFIG = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "vocab_size": 18,
    "max_position_embeddings": 16,
    "num_labels": 4,
    "initializer_range": 0.2,
}
WIDTH = 7
CLEAR = 0.8
"""Share of tokens that tell the class of their row."""
Rows = list[tuple[list[int], int]]


def rows(task: str, count: int, seed: int) -> Rows:
    """Rows of a task with their classes."""
    rng = random.Random(f"{task}/{seed}")
    first, label = (2, 0) if task == "a" else (10, 2)
    made = []
    for _ in range(count):
        high = rng.randrange(2)
        ids = [first + 4 * (high if rng.random() < CLEAR else 1 - high) + rng.randrange(4) for _ in range(WIDTH)]
        made.append((ids, label + high))
    return made


def doubtful(count: int, seed: int) -> Rows:
    """Rows of both tasks by turns, one in four with the wrong one of its task's classes: what a base learns from."""
    rng = random.Random(seed)
    pairs = zip(rows("a", count, seed), rows("b", count, seed), strict=True)
    clean = [(ids, label, first) for a, b in pairs for (ids, label), first in ((a, 0), (b, 2))]
    return [(ids, label if rng.random() < 0.75 else 2 * first + 1 - label) for ids, label, first in clean]


def train(model: Any, data: Rows, steps: int, rate: float) -> Any:
    """The model trained on rows, without dropout."""
    ids, labels = torch.tensor([i for i, _ in data]), torch.tensor([c for _, c in data])
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        part = [(step * 32 + i) % len(data) for i in range(32)]
        adam.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(input_ids=ids[part]).logits, labels[part])
        torch.autograd.backward(loss)
        adam.step()
    return model


def classifier(seed: int = 0, **settings: Any) -> Any:
    """A classifier as its seed draws it."""
    torch.manual_seed(seed)
    return transformers.BertForSequenceClassification(transformers.BertConfig(**{**CONFIG, **settings})).eval()


def write_experts(folder: Path) -> Path:
    """`base`, `a`, `b` and a ruined `noise` as folders, and their data."""
    base = train(classifier(), doubtful(512, 1), 60, 3e-3)
    models = {"base": base}
    for task in "ab":
        models[task] = train(copy.deepcopy(base), rows(task, 512, 2), 40, 1e-3)
    models["noise"] = copy.deepcopy(models["a"])
    with torch.no_grad():
        torch.manual_seed(7)
        for parameter in models["noise"].parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    for name, model in models.items():
        pretrained.save(model, folder / name)
    for task in "ab":
        write_rows(folder / f"{task}.jsonl", rows(task, 64, 3), labelled=False)
        write_rows(folder / f"{task}-labelled.jsonl", rows(task, 64, 3), labelled=True)
    return folder


def write_rows(path: Path, data: Rows, *, labelled: bool) -> Path:
    """A data file."""
    lines = ({"input_ids": ids, **({"label": label} if labelled else {})} for ids, label in data)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


def load(folder: Path) -> Any:
    """A classifier from its folder."""
    with pretrained.quiet(transformers):
        return transformers.BertForSequenceClassification.from_pretrained(str(folder), local_files_only=True).eval()


@torch.no_grad()
def logits(model: Any, ids: Sequence[Sequence[int]]) -> torch.Tensor:
    """What a model answers."""
    return model(input_ids=torch.tensor(ids)).logits


def accuracy(model: Any, data: Rows) -> float:
    """Share of rows whose class the model finds."""
    found = logits(model, [ids for ids, _ in data]).argmax(-1)
    return float((found == torch.tensor([label for _, label in data])).float().mean())
