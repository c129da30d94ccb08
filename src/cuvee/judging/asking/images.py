"""Pictures put into classes by image classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cuvee.errors import Fault, InputError
from cuvee.judging.asking.asked import Asked
from cuvee.judging.asking.classes import as_probabilities, classes_and_truth
from cuvee.judging.asking.subject import Subject, check_asked
from cuvee.judging.tasks.model import ImageOptions, Task
from cuvee.judging.tasks.pictures import open_picture

TOKENS: int = 256
"""What a picture counts as when batches are put together: a vision transformer makes about as many of it."""


def prepare(task: Task, subject: Subject) -> Asked:
    """The rows of an `image-classification` for a model; pictures are opened when they are run."""
    options = task.options
    assert isinstance(options, ImageOptions)
    check_asked(subject, task)
    if subject.pictures is None:
        message = f"{task.name} holds pictures, and {subject.label} says nothing of how it is given them"
        hint = "copy preprocessor_config.json into its folder; of a model in memory, give `image_processor`"
        raise InputError(Fault("wrong-model", message, subject=subject.label, hint=hint))
    names, truth = classes_and_truth(subject, task, options)
    return Asked(
        kind="classification",
        questions=tuple((row.values["image"],) for row in task.rows),
        width=lambda _: TOKENS,
        forward=partial(_logits, processor=subject.pictures),
        gather=partial(as_probabilities, truth=truth),
        classes=names,
    )


def _logits(model: Any, batch: Sequence[Path | bytes], *, processor: Any) -> list[list[float]]:
    pixels = processor([open_picture(source) for source in batch], return_tensors="pt")["pixel_values"]
    weight = next(model.parameters())
    found: torch.Tensor = model(pixel_values=pixels.to(weight.device, weight.dtype)).logits
    rows: list[list[float]] = found.double().tolist()
    return rows
