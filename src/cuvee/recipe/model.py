"""The recipe as frozen data: what is asked, with nothing resolved and nothing opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from cuvee.errors import Place
from cuvee.types import ModelRef, Scalar

Gradient = tuple[Scalar, ...]
"""Values spread evenly over the layers of an output slice, interpolated between neighbours."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One line of a filtered setting: a substring of tensor names (`None` = every name) and its value."""

    filter: str | None
    value: Scalar | Gradient


@dataclass(frozen=True, slots=True)
class Conditions:
    """Filtered values; the first branch whose filter matches the tensor's name wins."""

    branches: tuple[Branch, ...]


Setting = Scalar | Gradient | Conditions
Parameters = Mapping[str, Setting]
DocumentPath = tuple[str | int, ...]
"""Where something stands in the document, e.g. `("models", 0, "parameters", "weight")`."""
Locate = Callable[[DocumentPath], Place | None]


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One line of `models:`; `statistics` is what `cuvee collect` found out about the model."""

    model: ModelRef
    parameters: Parameters = field(default_factory=dict)
    at: DocumentPath = field(default=(), compare=False)
    statistics: ModelRef | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One source of a slice.

    Attributes:
        model: whose layers they are.
        layers: the first layer, and the one behind the last: all between are taken, in their order, unless `listed`.
        parameters: settings of its own.
        at: where it stands.
        listed: the layers in their order, where that is not one forward run; `layers` are then their bounds.
        key: the key that says the layers, `layer_range` or `layers`.
    """

    model: ModelRef
    layers: tuple[int, int]
    parameters: Parameters = field(default_factory=dict)
    at: DocumentPath = field(default=(), compare=False)
    listed: tuple[int, ...] = ()
    key: str = field(default="layer_range", compare=False)

    @property
    def order(self) -> Sequence[int]:
        """The layers, in the order in which they are stacked."""
        return self.listed or range(*self.layers)


@dataclass(frozen=True, slots=True)
class Slice:
    """A run of output layers merged from equally long runs of input layers."""

    sources: tuple[Source, ...]
    base_model: ModelRef | None = None
    parameters: Parameters = field(default_factory=dict)
    at: DocumentPath = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Module:
    """One named part of a model with several parts: either whole models or slices."""

    models: tuple[ModelEntry, ...] = ()
    slices: tuple[Slice, ...] = ()
    parameters: Parameters = field(default_factory=dict)
    at: DocumentPath = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Lines:
    """The merged delta of layer l of L times α + β l / (L − 1), and times α what belongs to no layer.

    Attributes:
        alpha: the factor of the first layer; `None` where it is to be found from the models' norms.
        beta: what the last layer's factor is larger by.
    """

    alpha: float | None = None
    beta: float = 0.0
    policy: Literal["lines"] = "lines"

    @property
    def is_known(self) -> bool:
        """Whether every factor follows from the recipe."""
        return self.alpha is not None


@dataclass(frozen=True, slots=True)
class Larv:
    """The merged delta of every layer times a factor that is found from the models: see `planning.scaling.larv`.

    Attributes:
        mapping: from a layer's score to its factor: by `tiers`, or `continuous`.
        scales: the factor of each tier, those of the lowest scores first.
        eta: exponent of the effective-rank contrast.
        rho: exponent of the depth.
        gamma: steepness of the continuous mapping.
    """

    mapping: Literal["tiers", "continuous"] = "tiers"
    scales: tuple[float, ...] = (0.5, 1.0, 1.5)
    eta: float = 1.0
    rho: float = 0.5
    gamma: float = 3.0
    policy: Literal["larv"] = "larv"

    @property
    def is_known(self) -> bool:
        """Whether every factor follows from the recipe: they never do."""
        return False


LayerScaling: TypeAlias = Lines | Larv
"""How the merged delta of every layer is scaled."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole recipe. Exactly one of `models`, `slices`, `modules` is filled.

    Attributes:
        method: name of the merge method.
        dtype, out_dtype: torch names of float dtypes or `None`; `out_dtype` wins for what is written.
        tokenizer_source, tokenizer, chat_template: as written; carried out by a later version.
        layer_scaling: how layers are scaled, `None` for not at all.
        missing: `refuse` a tensor that not every model has, or `copy` it from the first that does.
        nested: recipes whose results are among the models, by the path that a reference to each of them has.
        folder: for a recipe within another one: the folder that its paths start from, relative to the other's.
        root: folder that relative model paths start from (`None` = the working folder).
        locate: from a document path to a place in the file, `None` for recipes written in Python.
    """

    method: str
    models: tuple[ModelEntry, ...] = ()
    slices: tuple[Slice, ...] = ()
    modules: Mapping[str, Module] = field(default_factory=dict)
    base_model: ModelRef | None = None
    parameters: Parameters = field(default_factory=dict)
    dtype: str | None = None
    out_dtype: str | None = None
    tokenizer_source: str | None = None
    tokenizer: Mapping[str, Any] | None = None
    chat_template: str | None = None
    layer_scaling: LayerScaling | None = None
    missing: str = "refuse"
    name: str | None = None
    nested: Mapping[str, Recipe] = field(default_factory=dict)
    folder: str | None = None
    root: Path | None = field(default=None, compare=False)
    locate: Locate | None = field(default=None, compare=False, repr=False)

    def inner(self, ref: ModelRef) -> Recipe | None:
        """The recipe whose result a reference means; `None` for a model that is there."""
        return self.nested.get(ref.path) if ref.whole == ModelRef(ref.path) else None
