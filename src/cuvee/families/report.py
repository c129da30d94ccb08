"""What a model class would make of a checkpoint, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A tensor whose shape on disk is not the shape the architecture has."""

    name: str
    found: tuple[int, ...]
    expected: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What transformers would say on loading a checkpoint, in its own (in-memory) tensor names.

    Attributes:
        architecture: name of the model class that was asked.
        missing: tensors the model has and the checkpoint does not give; they would be made up at random.
        unexpected: tensors of the checkpoint the model has no place for; they would be lost.
        mismatched: tensors of the wrong shape.
        failed: tensors that cannot be put together from their parts (experts of unequal shapes, say), with the reason.
    """

    architecture: str
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[Mismatch, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether every tensor finds its place and every place its tensor."""
        return not (self.missing or self.unexpected or self.mismatched or self.failed)
