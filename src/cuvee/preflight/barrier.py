"""The loss half-way between two models, on data: whether the straight line between them leads through good models.

    barrier = L((a + b)/2) − (L(a) + L(b))/2

The half-way model is `cuvee merge`'s own linear merge, evaluated as it is read. One model is held at a time. Source:
Frankle et al. 2020, Linear Mode Connectivity and the Lottery Ticket Hypothesis, arXiv:1912.05671.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from cuvee import methods
from cuvee.checkpoint.protocol import Reader
from cuvee.data.fit import class_number, foreign_label, foreign_token
from cuvee.data.rows import MOST_FAULTS, Row, bad_row, read_rows
from cuvee.errors import Fault, InputError
from cuvee.execute.virtual import VirtualReader
from cuvee.families.inputs import classes_of, longest_input, token_ids
from cuvee.families.loading import load_tensors
from cuvee.families.training import KINDS, Kind, kind_of
from cuvee.planning import referenced
from cuvee.preflight.facts import Barrier
from cuvee.preflight.structure import plan_of, recipe_of
from cuvee.types import ModelRef

MOST_ROWS: Final = 256
"""Rows of the data that are run."""
_LONGEST: Final = 512
_TOGETHER: Final = 16


@dataclass(frozen=True, slots=True)
class Example:
    """A row ready for a model: token ids and, for classifiers, the number of its class."""

    ids: tuple[int, ...]
    label: int | None = None


def read_data(path: Path) -> tuple[Row, ...]:
    """The rows that will be run.

    Raises:
        InputError: `data-missing` or `bad-data`.
    """
    return read_rows(path, MOST_ROWS)


def check_kind(reader: Reader) -> Kind:
    """What a model predicts.

    Raises:
        InputError: `bad-config` without a configuration, `not-yet` for a class whose loss is not known.
    """
    if reader.config is None:
        message = f"{reader.label} should have a config.json that says which class to run; it has none"
        raise InputError(Fault("bad-config", message, subject=reader.label, hint="leave the data out"))
    kind = kind_of(dict(reader.config))
    if kind is None:
        known = ", ".join(f"…{end}" for end in KINDS)
        message = (
            f"losses are taken of models of the classes {known}; {reader.label} is {reader.config.get('architectures')}"
        )
        raise InputError(Fault("not-yet", message, subject=reader.label, hint="leave the data out"))
    return kind


def barriers(
    readers: Mapping[ModelRef, Reader],
    pairs: Sequence[tuple[ModelRef, ModelRef]],
    path: Path,
    rows: Sequence[Row],
    seen: Callable[[], None],
) -> tuple[Barrier, ...]:
    """The loss at both ends and half-way of every pair.

    Args:
        readers: the models.
        pairs: those that fit each other.
        path: the file of the rows, for messages and for its name.
        rows: the data.
        seen: called after each model that was run.

    Raises:
        UsageError: transformers is not installed.
        InputError: a model cannot be run, or rows do not fit it.
    """
    ends: dict[ModelRef, Tensor] = {}
    for ref in dict.fromkeys(ref for pair in pairs for ref in pair):
        ends[ref] = _losses(readers[ref], readers[ref].config_text, readers[ref], path, rows)
        seen()
    found = []
    for a, b in pairs:
        recipe = recipe_of("linear", (a, b), weight=0.5)
        plan, _ = plan_of(recipe, readers)
        if plan is None:
            continue
        middle = VirtualReader(
            f"halfway between {a} and {b}", plan, [readers[r] for r in referenced(recipe)], _linear()
        )
        found.append(told(str(a), str(b), ends[a], _losses(middle, plan.config_text, readers[a], path, rows), ends[b]))
        middle.close()
        seen()
    return tuple(found)


def _linear() -> methods.Method:
    return methods.get("linear")


def told(a: str, b: str, first: Tensor, middle: Tensor, last: Tensor) -> Barrier:
    """The barrier of three losses of the same rows, `[rows]` each, with its error over rows."""
    over = middle - (first + last) / 2
    ends = float((first + last).mean()) / 2
    stderr = float(over.std()) / math.sqrt(len(over)) if len(over) > 1 else math.nan
    losses = (float(first.mean()), float(middle.mean()), float(last.mean()))
    barrier = float(over.mean())
    return Barrier(a, b, losses, barrier, stderr, barrier / ends if ends > 0 else math.nan, len(over))


def _losses(reader: Reader, config: str | None, donor: Reader, path: Path, rows: Sequence[Row]) -> Tensor:
    """Mean cross-entropy of every row, float64."""
    kind = check_kind(donor)
    tensors = {name: reader.read(name, 0, spec.numel).reshape(spec.shape) for name, spec in reader.specs.items()}
    model = load_tensors(reader.label, config or "", tensors, dtype="float32", device="cpu")
    examples = _examples(model, kind, donor, path, rows)
    found = torch.zeros(len(examples), dtype=torch.float64)
    with torch.no_grad():
        for batch in _batches(examples):
            found[batch] = _loss(model, kind, [examples[i] for i in batch]).double()
    return found


def _batches(examples: Sequence[Example]) -> Iterator[list[int]]:
    """Rows of one length together, so that nothing is padded."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].ids))
    for _, group in groupby(order, key=lambda i: len(examples[i].ids)):
        same = list(group)
        yield from (same[at : at + _TOGETHER] for at in range(0, len(same), _TOGETHER))


def _loss(model: Any, kind: Kind, batch: Sequence[Example]) -> Tensor:
    ids = torch.tensor([example.ids for example in batch])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    if kind == "classes":
        labels = torch.tensor([example.label for example in batch])
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    flat = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return flat.reshape(len(batch), -1).mean(1)


def _examples(model: Any, kind: Kind, donor: Reader, path: Path, rows: Sequence[Row]) -> list[Example]:
    """Rows as the model takes them.

    Raises:
        InputError: rows that do not fit, all of them; `no-tokenizer`.
    """
    texts = [row.text for row in rows if row.text is not None]
    made = iter(_tokenized(donor, texts) if texts else ())
    longest = min(_LONGEST, longest_input(model.config) or _LONGEST)
    vocabulary = model.get_input_embeddings().num_embeddings
    classes = classes_of(model.config) if kind == "classes" else {}
    faults, found = [], []
    for row in rows:
        ids = tuple(row.ids if row.text is None else next(made))[:longest]
        label = class_number(row.label, classes) if kind == "classes" else None
        wrong = foreign_token(ids, vocabulary)
        if kind == "classes" and label is None:
            wrong = wrong or foreign_label(row.label, classes)
        if kind == "tokens" and len(ids) < 2:
            wrong = wrong or "a row should have two tokens or more, so that one can be predicted"
        faults += [bad_row(path, row.line, wrong)] if wrong else []
        found.append(Example(ids, label))
    if faults:
        raise InputError(faults[:MOST_FAULTS])
    return found


def _tokenized(donor: Reader, texts: Sequence[str]) -> list[list[int]]:
    if donor.folder is None:
        message = f"{donor.label} is no folder with a tokenizer, which rows with `text` need"
        raise InputError(Fault("no-tokenizer", message, subject=donor.label, hint="give `input_ids` instead"))
    return token_ids(donor.folder, texts)
