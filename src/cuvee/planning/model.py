"""A plan as frozen data: what will happen to every tensor, decided from headers and a look at stored heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from cuvee.checkpoint.protocol import SideFile
from cuvee.recipe.model import Recipe
from cuvee.types import ModelRef, Scalar, Scope, TensorSpec, VocabularyFacts, grain_of

Action = Literal["merge", "copy"]
Value = Scalar | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """One input tensor: number of the model in `Plan.models`, and the tensor's name there."""

    model: int
    tensor: str


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one output tensor.

    Attributes:
        out: name, dtype and shape as written.
        action: `merge` runs the method; `copy` takes the first input as it is, cast to the output's dtype.
        inputs: the tensors combined, in the recipe's order, the base not among them.
        base: the base model's tensor, where the method has one.
        settings: parameters by Python name: a tuple with one number per input for per-model ones.
        work: dtype of the arithmetic.
        layer: stack and number of the output layer it belongs to.
        reason: why it is copied.
        mask: name that random masks are drawn for, where it is not the output's own: that of a tensor it is tied to.
        must_equal: tensors that have to hold the same values as the first input, because they cannot be merged.
        copies: tensors that are not read because they repeat one that is, each with the one it repeats.
        scope: the smallest piece that the method's arithmetic is run on.
        collected: what was collected of every input's model about this tensor, one for each of `inputs`; or nothing.
        beside: bytes of that which are read with every tile, whatever its size: matrices.
    """

    out: TensorSpec
    action: Action
    inputs: tuple[Piece, ...]
    base: Piece | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)
    work: Literal["float32", "float64"] = "float32"
    layer: tuple[str, int] | None = None
    reason: str = ""
    mask: str | None = None
    must_equal: tuple[Piece, ...] = ()
    copies: tuple[tuple[Piece, Piece], ...] = ()
    scope: Scope = "element"
    collected: tuple[Piece, ...] = ()
    beside: int = 0

    @property
    def grain(self) -> int:
        """Elements that must stay together in a tile."""
        return grain_of(self.scope, self.out.shape) if self.action == "merge" else 1

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Every input tensor that is read, the base first."""
        return (*(() if self.base is None else (self.base,)), *self.inputs)


@dataclass(frozen=True, slots=True)
class Tied:
    """A tensor that is not written, because the configuration ties it to another; its stored copies must be equal."""

    name: str
    same_as: str
    copies: tuple[tuple[Piece, Piece], ...]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a plan says of one input: a model, or what was collected of one.

    `held` are the bytes that reading it keeps in memory; `plan` is what it is the result of, where it is evaluated
    while it is read.
    """

    ref: ModelRef
    label: str
    tensors: int
    parameters: int
    nbytes: int
    dtypes: tuple[str, ...]
    layers: Mapping[str, int]
    is_base: bool = False
    held: int = 0
    is_statistics: bool = False
    plan: Plan | None = None


@runtime_checkable
class Evaluated(Protocol):
    """A reader of a model that is the result of a plan, evaluated while it is read."""

    @property
    def plan(self) -> Plan:
        """What is evaluated."""


@runtime_checkable
class Beside(Protocol):
    """A reader that reads more than the tensors that it shows, such as an adapter beside its base."""

    @property
    def nbytes_beside(self) -> int:
        """Bytes that are read besides the tensors' own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will be done, before any tensor is merged.

    Attributes:
        recipe: what was asked.
        models: the input models, the one whose configuration and side files are carried over at `donor`.
        steps: one per output tensor, in output order.
        tied: tensors that are accounted for by being tied.
        config_text: the output's `config.json`, or `None` for a bare state dict.
        config_changes: what was changed in it, by dotted path.
        side_files: files carried over from the donor.
        notes: what the user should know.
        read: bytes of all input tensors that are read, each counted once.
        lost: input tensors that nothing was decided for; any other number than 0 is a bug.
        left_out: input tensors that the recipe's slices do not ask for.
        vocabulary: what there is to say of the vocabularies, where the recipe says how they are merged.
    """

    recipe: Recipe
    models: tuple[ModelFacts, ...]
    donor: int
    steps: tuple[Step, ...]
    tied: tuple[Tied, ...] = ()
    config_text: str | None = None
    config_changes: Mapping[str, Any] = field(default_factory=dict)
    side_files: tuple[SideFile, ...] = ()
    notes: tuple[str, ...] = ()
    read: int = 0
    lost: int = 0
    left_out: int = 0
    vocabulary: VocabularyFacts | None = None

    @property
    def copies(self) -> tuple[tuple[Piece, Piece], ...]:
        """Every stored tensor that repeats another one of its model and has to hold the same values, with that one."""
        return copies_in(self.steps, self.tied)

    @property
    def merged(self) -> int:
        """Number of tensors the method is run on."""
        return sum(step.action == "merge" for step in self.steps)

    @property
    def copied(self) -> int:
        """Number of tensors copied."""
        return sum(step.action == "copy" for step in self.steps)


def copies_in(steps: Sequence[Step], tied: Sequence[Tied]) -> tuple[tuple[Piece, Piece], ...]:
    """Every stored tensor that is not read because it repeats another one of its model, with that one."""
    return tuple(pair for of in (tied, steps) for one in of for pair in one.copies)
