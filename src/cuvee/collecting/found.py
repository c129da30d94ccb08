"""What was found in memory, under the names on disk; and of every other tensor, why there is nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from cuvee.checkpoint.statistics import Kind
from cuvee.collecting.gram import Moments
from cuvee.collecting.subjects import Subject
from cuvee.collecting.weights import as_on_disk, input_of, linears, why_not_linear
from cuvee.errors import Fault, InputError, listed

_STORED: Final = torch.float32
"""Means are stored in float32: they were made of float32 numbers, whose roundings are as large."""


@dataclass(frozen=True, slots=True)
class Found:
    """Statistics by on-disk name, means in float32; what has none; and rows."""

    means: Mapping[str, Tensor]
    without: Mapping[str, str]
    rows: Mapping[str, int]
    transposed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def grams_of(subject: Subject, moments: Moments) -> Found:
    """Gram matrices by on-disk name."""
    model = subject.running.model
    known = linears(model)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    without = dict(subject.names.without)
    means: dict[str, Tensor] = {}
    rows: dict[str, int] = {}
    transposed = []
    notes = []
    for name, home in subject.names.homes.items():
        shape = subject.reader.specs[name].shape
        if (found := input_of(home, known, shapes, shape)) is None:
            without[name] = why_not_linear(model, home.memory[0], shape)
            continue
        maps, turned = found
        if why := _unknown(moments, [linear.name for linear in maps]):
            without[name] = why
            continue
        own = moments.of[maps[0].name]
        means[name], rows[name] = own.mean.to(_STORED), own.rows
        transposed += [name] if turned else []
        if not any(maps[0].name == f"{module}.weight" for module in maps[0].modules):
            notes.append(f"`{name}` is looked up too: its Gram matrix is that of its use as a head")
    return Found(means, without, rows, tuple(transposed), tuple(notes))


def _unknown(moments: Moments, maps: Sequence[str]) -> str | None:
    """Why the inputs of linear maps that make up one tensor are not known, or not the same."""
    if any(name in moments.unclear for name in maps):
        return "its inputs cannot be told from padding; leave --batch-size at auto"
    if any(name not in moments.of for name in maps):
        return "it is never applied to these data"
    first = moments.of[maps[0]]
    if any(not torch.allclose(moments.of[name].total, first.total) for name in maps[1:]):
        return f"its parts {listed(maps)} have different inputs"
    return None


def fishers_of(subject: Subject, sums: Mapping[str, Tensor]) -> Found:
    """Diagonal Fishers by on-disk name."""
    without = dict(subject.names.without)
    means: dict[str, Tensor] = {}
    for name, home in subject.names.homes.items():
        if any(part not in sums for part in home.memory):
            without[name] = "what is predicted does not depend on it"
            continue
        shape = subject.reader.specs[name].shape
        means[name] = (as_on_disk(home, sums, shape) / len(subject.samples)).to(_STORED)
    return Found(means, without, dict.fromkeys(means, len(subject.samples)))


def check_found(subject: Subject, found: Found, kind: Kind) -> None:
    """Refuse what is nothing, and what is no number."""
    label = subject.reader.label
    if not found.means:
        message = f"{label}: there is no tensor that `{kind}` could be collected of"
        hint = next((f"`{name}`: {why}" for name, why in found.without.items()), None)
        raise InputError(Fault("no-statistic", message, subject=label, hint=hint))
    wrong = [name for name, mean in found.means.items() if not mean.isfinite().all()]
    if wrong:
        message = f"{label}: statistics that are not finite came out for {listed(wrong)}"
        raise InputError(Fault("non-finite", message, subject=wrong[0], hint="look at the model with `cuvee verify`"))
