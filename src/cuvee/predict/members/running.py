"""Models of transformers at work as members: with what makes their inputs, at rest, in batches that change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError
from cuvee.predict.probing import is_training

AT_ONCE: Final = 8
"""Pictures or sounds that are run at once where nobody says otherwise."""
_HELD: Final = 64
"""Pictures or sounds whose inputs are held in memory at once."""

Features = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Parts:
    """A model in memory, and what makes its inputs.

    Attributes:
        name: of the member, for messages.
        model: the torch module.
        reader: its tokenizer, image processor or feature extractor.
        max_length: most tokens of a text; what the model has positions for without it.
        batch_size: rows run at once; as many as are thought good without it.
        sampling_rate: samples per second of sounds; the feature extractor's without it.
        lock: held while texts are made tokens: a fast tokenizer is told to cut, and must not be asked meanwhile.
    """

    name: str
    model: Any
    reader: Any
    max_length: int | None = None
    batch_size: int | None = None
    sampling_rate: int | None = None
    lock: Any = field(default_factory=Lock)

    @property
    def device(self) -> Any:
        """Where its weights are."""
        return next(self.model.parameters()).device


@contextmanager
def at_work(parts: Parts) -> Iterator[None]:
    """Without gradients; refused where the model is being trained.

    Raises:
        InputError: `bad-output`: a part of the model is in training mode, so that dropout is on.
    """
    import torch

    if is_training(parts.model):
        message = f"the member {parts.name!r} is in training mode, so that dropout is on and its answers are random"
        hint = "somebody put it there after it was made a member: call `.eval()`, or give the member a copy"
        raise InputError(Fault("bad-output", message, subject=parts.name, hint=hint))
    with torch.inference_mode():
        yield


def run_features(
    parts: Parts, things: Sequence[Any], prepare: Callable[[Any], Features], forward: Callable[[Any, Features], Any]
) -> Array:
    """Run pictures or sounds, those together whose inputs have one shape.

    Nothing is ever padded to stand beside another: what padding does to a model of sounds depends on its kind, and a
    row's answer must not depend on its neighbours.

    Args:
        parts: the model.
        things: pictures or sounds.
        prepare: one of them → its inputs, each `[1, …]`.
        forward: the model and inputs of several → a tensor `[several, …]`.

    Returns:
        float64 `[N, …]`.
    """
    found: dict[int, Array] = {}
    for start in range(0, len(things), _HELD):
        block = range(start, min(start + _HELD, len(things)))
        ready = {i: prepare(things[i]) for i in block}
        for rows in _alike(ready, parts.batch_size or AT_ONCE):
            answers = forward(parts.model, _together([ready[i] for i in rows], parts)).double().cpu().numpy()
            found.update(zip(rows, answers))
    return np.stack([found[i] for i in range(len(things))])


def _alike(ready: Mapping[int, Features], most: int) -> Iterator[list[int]]:
    """Numbers of things whose inputs have the same shapes, at most so many at once."""
    groups: dict[Any, list[int]] = {}
    for i, features in ready.items():
        groups.setdefault(tuple((name, tuple(value.shape)) for name, value in features.items()), []).append(i)
    for numbers in groups.values():
        yield from (numbers[at : at + most] for at in range(0, len(numbers), most))


def _together(features: Sequence[Features], parts: Parts) -> Features:
    """Inputs of several things as one, on the model's device, numbers in its dtype."""
    import torch

    weight = next(parts.model.parameters())
    joined = {name: torch.cat([one[name] for one in features]) for name in features[0]}
    return {
        name: value.to(weight.device, weight.dtype) if value.is_floating_point() else value.to(weight.device)
        for name, value in joined.items()
    }


def logits_of(model: Any, features: Features) -> Any:
    """The logits of a classifier, `[B, K]`."""
    return model(**features).logits


def pooled(model: Any, features: Features) -> Any:
    """The mean of the last hidden states over all places of a picture or sound, `[B, D]`."""
    found = model.base_model(**features)
    states = getattr(found, "last_hidden_state", None)
    if states is None:
        return found.pooler_output.flatten(1)
    return states.mean(dim=1) if states.ndim == 3 else states.mean(dim=tuple(range(2, states.ndim)))


def is_several(X: Any) -> bool:
    """Whether what a member is given are several columns."""
    return isinstance(X, Mapping) or hasattr(X, "iloc")


def one_column(X: Any, name: str, wanted: str) -> list[Any]:
    """The values of one column.

    Raises:
        InputError: `bad-data`: there are several.
    """
    if is_several(X):
        message = f"the member {name!r} reads {wanted} from one column; the rows have {', '.join(map(str, X))}"
        raise InputError(Fault("bad-data", message, subject=name, hint="give `reads`, the name of the column"))
    return list(X)
