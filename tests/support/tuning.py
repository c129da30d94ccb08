"""Rows to tune small models on, and the loss that a folder has on rows, worked out one by one."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cuvee.families.running import load
from cuvee.tuning.rows import Example

VOCABULARY = 96


def counting(count: int, seed: int = 0) -> list[list[int]]:
    """Different rows of 4 to 9 tokens, each the one before it plus 3: something to learn."""
    choices = [(start, length) for start in range(3, VOCABULARY) for length in range(4, 10)]
    starts = random.Random(seed).sample(choices, count)
    return [[(start + 3 * i) % VOCABULARY for i in range(length)] for start, length in starts]


def write_rows(path: Path, rows: Sequence[Sequence[int]], **more: Sequence[Any]) -> Path:
    """A file of JSON lines; `more` are further keys with a value for each row."""
    lines = [
        json.dumps({"input_ids": list(ids), **{key: values[i] for key, values in more.items()}})
        for i, ids in enumerate(rows)
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def labelled(count: int, classes: int, seed: int = 0) -> tuple[list[list[int]], list[int]]:
    """Rows and the class of their first token."""
    rows = counting(count, seed)
    return rows, [row[0] * classes // VOCABULARY for row in rows]


def mean_loss(folder: Path, rows: Sequence[Example]) -> float:
    """The loss of a folder's model over all predictions, row by row and without padding."""
    model = load(folder).model
    total, count = 0.0, 0
    for row in rows:
        with torch.no_grad():
            logs = model(input_ids=torch.tensor([row.ids])).logits[0].double().log_softmax(-1)
        if row.label is not None:
            total, count = total - float(logs[row.label]), count + 1
            continue
        for at, target in enumerate(row.targets):
            if target >= 0:
                total, count = total - float(logs[at, target]), count + 1
    return total / count
