"""A model to be asked, with what turns texts and pictures into its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import torch

from cuvee.errors import Fault, InputError
from cuvee.families.heads import Head, heads_of, load_image_processor
from cuvee.families.inputs import load_tokenizer
from cuvee.judging.answers import Answers
from cuvee.judging.asking.ensemble import PredictionMean, likeness
from cuvee.judging.tasks.model import Task, TaskKind

ASKED: Final[Mapping[TaskKind, tuple[Head, ...]]] = {
    "classification": ("classification",),
    "regression": ("classification",),
    "exact-match": ("causal-lm",),
    "multiple-choice": ("causal-lm",),
    "perplexity": ("causal-lm", "masked-lm"),
    "image-classification": ("image-classification",),
    "embedding-retrieval": ("none", "causal-lm", "masked-lm", "classification"),
}
"""Which models each kind of task asks."""
WORDS: Final[Mapping[Head, str]] = {
    "causal-lm": "causal language models",
    "masked-lm": "masked language models",
    "classification": "text classifiers",
    "image-classification": "image classifiers",
    "none": "encoders",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A model ready to be asked.

    Attributes:
        label: what it is called in messages.
        model: a torch module, usually of transformers.
        tokenizer: `None` where there is none.
        pictures: its image processor, `None` where there is none.
        folder: where it lies, `None` in memory.
    """

    label: str
    model: Any
    tokenizer: Any = None
    pictures: Any = None
    folder: Path | None = None

    @property
    def config(self) -> Any:
        """Its configuration; `None` of a module that has none."""
        return getattr(self.model, "config", None)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next((one.device for one in self.model.parameters()), torch.device("cpu"))


@runtime_checkable
class Answering(Protocol):
    """Something that answers tasks by itself, such as a saved ensemble: no module that is given tensors."""

    def answers(self, task: Task) -> tuple[Answers, tuple[str, ...]]:
        """What it says of the rows of a task, and what should be known."""


def subject_in(folder: Path, model: Any, label: str | None = None) -> Subject:
    """A model with the tokenizer and the image processor of a folder.

    Raises:
        InputError: one of them is there and cannot be used.
    """
    return Subject(label or str(folder), model, load_tokenizer(folder), load_image_processor(folder), folder)


def check_asked(subject: Subject, task: Task) -> Head | None:
    """What the model is asked as.

    Returns:
        The first of the kinds of models that the task asks and the model is; `None` for a class of the user's own,
        which is taken at its word.

    Raises:
        InputError: `wrong-model`.
    """
    if task.kind == "embedding-retrieval" and isinstance(subject.model, PredictionMean):
        message = f"{task.name} asks for vectors; {subject.label} is an ensemble, which averages predictions"
        hint = "the vectors of two models have no common axes, so that a mean of them means nothing"
        raise InputError(Fault("wrong-model", message, subject=subject.label, hint=hint))
    asked, found = ASKED[task.kind], heads_of(likeness(subject.model))
    own = next((head for head in asked if head in found), None)
    if own is None and found:
        what = " or ".join(WORDS[head] for head in asked)
        message = f"{task.name}: {task.kind} asks {what}; {subject.label} is a {type(likeness(subject.model)).__name__}"
        raise InputError(Fault("wrong-model", message, subject=subject.label))
    return own


def config_text(config: Any) -> str:
    """A model's configuration as one text, the same for models that read their inputs alike."""
    return str(config.to_json_string()) if hasattr(config, "to_json_string") else repr(config)


def tokenizer_of(subject: Subject, task: Task) -> Any:
    """The model's tokenizer.

    Raises:
        InputError: there is none.
    """
    if subject.tokenizer is None:
        message = f"{task.name} holds texts, and {subject.label} has no tokenizer"
        hint = "copy the tokenizer's files into the model's folder; of a model in memory, give `tokenizer`"
        raise InputError(Fault("no-tokenizer", message, subject=subject.label, hint=hint))
    return subject.tokenizer


@contextmanager
def at_rest(model: Any) -> Iterator[None]:
    """The model in evaluation mode, without gradients; put back as it was afterwards."""
    was = bool(getattr(model, "training", False))
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was)
