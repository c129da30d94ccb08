"""Reproducible random inputs that suit a method's declaration: tensors, base, names and settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from cuvee.methods.declare import Method
from cuvee.methods.job import argument
from cuvee.types import MethodSpec, Param, Scalar, rows_of

Spread = Literal["grid", "normal"]

SHAPE: Final = (12, 7)
"""Shape of a case when none is asked for."""

NEUTRAL: Final[Mapping[str, Any]] = {"weight": 1.0, "density": 1.0, "select_topk": 1.0, "lambda": 1.0, "scale": 1.0}
"""Parameter values under which a method is expected to change nothing."""

_THINNED: Final[Mapping[str, tuple[str, ...]]] = {
    "task_arithmetic": ("dare_linear", "della_linear", "breadcrumbs"),
    "ties": ("dare_ties", "della", "breadcrumbs_ties", "compose"),
    "dare_ties": ("ties",),
}
WITHOUT_SPARSIFIER: Final = {thinned: plain for plain, all_of in _THINNED.items() for thinned in all_of}
"""For a method that thins its deltas, one that must give the same where nothing is thinned."""


@dataclass(frozen=True)
class Inputs:
    """What a law draws its inputs from.

    Attributes:
        seed: seed of the drawing; the same seed gives the same inputs.
        shape: shape of every tensor, or `None` for the law's own choice.
        dtype: floating dtype of every tensor.
    """

    seed: int = 0
    shape: tuple[int, ...] | None = None
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Case:
    """One call of a method, ready to run and to vary.

    Attributes:
        tensors: the models' tensors, all of one shape.
        base: the base model's tensor, or `None`.
        names: the models' names.
        settings: keyword arguments of the method; per-model ones are lists.
        seed: seed of the random masks.
        tensor_name: name of the tensor in its checkpoint.
        collected: what was collected of each model, or `None`.
    """

    tensors: tuple[Tensor, ...]
    base: Tensor | None
    names: tuple[str, ...]
    settings: Mapping[str, Any]
    seed: int = 0
    tensor_name: str = "layers.0.weight"
    collected: tuple[Tensor, ...] | None = None

    def run(self, method: Method, tile: int | None = None) -> Tensor:
        """Call the method on this case."""
        call: dict[str, Any] = {"seed": self.seed, "names": list(self.names), "tensor_name": self.tensor_name}
        call["collected"] = None if self.collected is None else list(self.collected)
        return method(list(self.tensors), base=self.base, tile=tile, **call, **self.settings)

    def but(self, **changes: Any) -> Case:
        """The same case with other fields."""
        return dataclasses.replace(self, **changes)

    def set(self, spec: MethodSpec, **settings: Any) -> Case:
        """The same case with other settings; what the method has no parameter for is left out.

        True and false are for switches alone: `compose` has a `rescale` that is a choice. One value given for a
        per-model parameter holds for every model. `lambda` is spelt `lambda_`.
        """
        known = {argument(p.name): p for p in spec.params if not p.ignored}
        new = {k: self._spread(known[k], v) for k, v in settings.items() if k in known and _fits(known[k], v)}
        return self.but(settings={**self.settings, **new})

    def neutral(self, spec: MethodSpec) -> Case:
        """The same case with every parameter at the value that changes nothing."""
        return self.set(spec, **{argument(name): value for name, value in NEUTRAL.items()})

    def pick(self, spec: MethodSpec, order: Sequence[int]) -> Case:
        """The same case with the models, their names and their settings in another order, or only some of them."""
        per_model = {argument(p.name) for p in spec.params if p.per_model}
        settings = {k: [v[i] for i in order] if k in per_model else v for k, v in self.settings.items()}
        tensors, names = tuple(self.tensors[i] for i in order), tuple(self.names[i] for i in order)
        collected = None if self.collected is None else tuple(self.collected[i] for i in order)
        return self.but(tensors=tensors, names=names, settings=settings, collected=collected)

    def map(self, function: Any) -> Case:
        """The same case with a function applied to every tensor."""
        base = None if self.base is None else function(self.base)
        return self.but(tensors=tuple(map(function, self.tensors)), base=base)

    def largest(self) -> float:
        """Largest magnitude of any entry, the scale of rounding errors."""
        tensors = [*self.tensors, *([] if self.base is None else [self.base])]
        return max((float(t.abs().max()) for t in tensors if t.numel()), default=0.0)

    def _spread(self, param: Param, value: Any) -> Any:
        return [value] * len(self.tensors) if param.per_model and not isinstance(value, list) else value


def _fits(param: Param, value: Any) -> bool:
    return param.kind == "bool" or not isinstance(value, bool)


def draw(spec: MethodSpec, inputs: Inputs, spread: Spread = "grid", models: int | None = None) -> Case:
    """A case that suits a method; the same arguments give the same case.

    Args:
        spec: what the method declares; decides on base, number of models and settings.
        inputs: seed, shape and dtype.
        spread: `grid` gives multiples of 1/32 up to 4, so that products with the drawn weights and their sums are
            exact and equal magnitudes are common; `normal` gives numbers that round.
        models: number of models, by default three or as near to it as the method allows.
    """
    generator = torch.Generator().manual_seed(inputs.seed)
    count = _model_count(spec) if models is None else models
    tensors = tuple(_tensor(generator, inputs, spread) for _ in range(count))
    base = _tensor(generator, inputs, spread) if spec.base == "required" else None
    names = tuple(f"model-{i}" for i in range(count))
    settings = _settings(spec, generator, count)
    collected = _collected(spec, generator, tensors)
    return Case(tensors, base, names, settings, inputs.seed, collected=collected)


def switched(spec: MethodSpec, case: Case) -> list[Case]:
    """The case as it is, and once with each true-or-false parameter turned from its default."""
    switches = [p for p in spec.params if p.kind == "bool" and not p.ignored]
    return [case, *(case.set(spec, **{argument(p.name): not p.default}) for p in switches)]


def is_random(method: Method) -> bool:
    """Whether the method draws random numbers, by its defaults."""
    return "draws" in method.wants and method.spec.draws({})


def recover_mask(method: Method, shape: Sequence[int], density: float, **key: Any) -> Tensor:
    """The entries a dropping method keeps: merge one model of ones into a base of zeros, without rescaling.

    Args:
        method: a method with `density` and `rescale`.
        shape: shape of the tensor.
        density: kept fraction, (0, 1].
        key: `seed`, `name` of the model and `tensor_name`.

    Returns:
        A boolean tensor of that shape.
    """
    call: dict[str, Any] = {"seed": key["seed"], "names": [key["name"]], "tensor_name": key["tensor_name"]}
    settings: dict[str, Any] = {"weight": [1.0], "density": [density], "rescale": False}
    return method([torch.ones(tuple(shape))], base=torch.zeros(tuple(shape)), **call, **settings) != 0


def _model_count(spec: MethodSpec) -> int:
    fewest, most = spec.models
    return max(fewest, 3 if most is None else min(most, 3))


def _tensor(generator: torch.Generator, inputs: Inputs, spread: Spread) -> Tensor:
    shape = SHAPE if inputs.shape is None else inputs.shape
    if spread == "grid":
        return (torch.randint(-128, 129, shape, generator=generator) / 32.0).to(inputs.dtype)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(inputs.dtype)


def _collected(spec: MethodSpec, generator: torch.Generator, tensors: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    """A diagonal of positive numbers, or the Gram matrix of more inputs than a row has entries, for each model."""
    if spec.collected is None or (spec.collected == "gram" and tensors[0].dim() < 2):
        return None  # a vector is no map, and has no inputs
    if spec.collected == "fisher":
        drawn = (torch.rand(x.shape, generator=generator, dtype=torch.float64) for x in tensors)
        return tuple((one + 0.1).float() for one in drawn)
    width = rows_of(tensors[0].shape)[1]
    seen = (torch.randn(2 * width + 1, width, generator=generator, dtype=torch.float64) for _ in tensors)
    return tuple((x.T @ x / len(x)).float() for x in seen)


def _settings(spec: MethodSpec, generator: torch.Generator, count: int) -> dict[str, Any]:
    """Weights in eighths, kept fractions in quarters, a value inside the range for whatever else is required."""
    settings: dict[str, Any] = {}
    for param in spec.params:
        if param.ignored:
            continue
        if param.name == "weight":
            settings["weight"] = [(1 + _below(generator, 8)) / 8 for _ in range(count)]
        elif param.name == "density":
            settings["density"] = [(1 + _below(generator, 3)) / 4 for _ in range(count)]
        elif param.name == "select_topk":
            settings["select_topk"] = (1 + _below(generator, 3)) / 4
        elif param.required:
            value = _inside(param)
            settings[argument(param.name)] = [value] * count if param.per_model else value
    return settings


def _below(generator: torch.Generator, high: int) -> int:
    return int(torch.randint(high, (), generator=generator))


def _inside(param: Param) -> Scalar:
    """A value well inside a parameter's range."""
    if param.kind == "bool":
        return True
    if param.kind == "choice":
        return param.options[0]
    low = param.low if param.low is not None else (param.high or 0.0) - 1.0
    high = param.high if param.high is not None else low + 1.0
    value = low + 0.375 * (high - low)
    return math.ceil(value) if param.kind == "int" else value
