"""What a merge method says about itself: its parameters, its sources, the pieces that it works on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Scalar = bool | int | float | str
"""A parameter value once gradients and filters have been resolved."""

Space = Literal["weight", "delta"]
Scope = Literal["element", "row", "matrix", "model"]
BaseRule = Literal["required", "optional", "input"]
Collected = Literal["fisher", "gram"]
"""What `cuvee collect` finds out about a model: the diagonal of its Fisher information, or Gram matrices of inputs."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a method: recipe key, kind, range, default, and whether each model has its own.

    `low` and `high` are bounds (`None` = unbounded), closed unless `low_open` / `high_open`; `options` are the texts
    that a `choice` may be. A parameter without default is required. `ignored` marks one that is accepted for another
    tool's recipes and changes nothing. `scales` marks one that is measured in units of the weights: larger weights ask
    for a larger value.
    """

    name: str
    kind: Literal["float", "int", "bool", "choice"]
    doc: str
    default: Scalar | None = None
    per_model: bool = False
    required: bool = False
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    ignored: bool = False
    options: tuple[str, ...] = ()
    scales: bool = False

    @property
    def range(self) -> str:
        """The range in interval notation, e.g. `(0, 1]`; `true or false` for a switch; the options of a choice."""
        if self.kind == "bool":
            return "true or false"
        if self.kind == "choice":
            return ", ".join(self.options)
        left = "(-inf" if self.low is None else f"{'(' if self.low_open else '['}{self.low:g}"
        right = "inf)" if self.high is None else f"{self.high:g}{')' if self.high_open else ']'}"
        return f"{left}, {right}"

    @property
    def wanted(self) -> str:
        """What a value should be, in words, e.g. `a number in (0, 1]`."""
        if self.kind == "bool":
            return self.range
        if self.kind == "choice":
            return f"one of {self.range}"
        noun = "a number" if self.kind == "float" else "an integer"
        return noun if self.low is self.high is None else f"{noun} in {self.range}"

    def has_kind(self, value: object) -> bool:
        """Whether a value is of the parameter's kind; a switch may be written 0 or 1, as older recipes do."""
        if self.kind == "bool":
            return isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1))
        if self.kind == "choice":
            return isinstance(value, str)
        return not isinstance(value, bool) and isinstance(value, int if self.kind == "int" else int | float)

    def admits(self, value: float | str) -> bool:
        """Whether a number is finite and inside the range, or a text is one of the options."""
        if isinstance(value, str):
            return value in self.options
        if not math.isfinite(value):
            return False
        above = self.low is None or value > self.low or (value == self.low and not self.low_open)
        below = self.high is None or value < self.high or (value == self.high and not self.high_open)
        return above and below


Family = Literal["average", "sphere", "task", "sparse", "gated", "robust", "spectral", "quadratic", "layers", "other"]
FAMILIES: Final[Mapping[Family, str]] = {
    "average": "Averages of models",
    "sphere": "Along arcs and around directions",
    "task": "Task vectors, whole",
    "sparse": "Task vectors, thinned and voted on",
    "gated": "Entry by entry, one model or the other",
    "robust": "Averages that outliers do not move",
    "spectral": "Singular vectors of task matrices",
    "quadratic": "Least squares, with or without data",
    "layers": "Layers as they are",
    "other": "Others",
}
"""What methods are listed under, in this order."""


@dataclass(frozen=True, slots=True)
class Cite:
    """Where a method comes from."""

    text: str
    arxiv: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """What a merge method declares about itself; no arithmetic of tensors, so that reading it loads no torch.

    Attributes:
        name: the recipe's `merge_method`.
        summary: one line.
        formula: the arithmetic in plain text.
        space: `weight` methods see the models' values, `delta` methods see value minus base.
        scope: the smallest piece of a tensor the arithmetic may be run on; `model` is any piece, after a survey of all
            tensors.
        scope_if: `(parameter, value, scope)`: another scope where a parameter has a value; the last that applies.
        collected: what it reads of each model besides the tensor, `None` for nothing.
        rule: what its parameters must be together: the settings of one model by Python name, and how many `models`
            there are → what is wrong, or `None`.
        base: `required`, `optional`, or `input` (a base model not listed among the models counts as one more model).
        models: fewest and most models besides the base (`None` = no limit); where `base` is `input`, all models.
        params: the parameters, in the order they are explained.
        divides_by: name of the per-model parameter whose sum is a divisor, or `None`.
        divides_when: name of the switch that turns the division on; a method without such a parameter always divides.
        divides_if: values that shared parameters must have besides for the result to be divided, by Python name.
        draws_if: `(parameter, values)`: random numbers are drawn only where the parameter has one of the values.
        copies_when: values of per-model parameters at which the only model is the result, so that it can be copied.
        laws: names of the laws of `cuvee.testing.laws` that hold.
        cite: the sources.
        differs: where and why the result differs from a peer tool, one sentence each.
        family: what it is listed under; see `FAMILIES`.
        cost: what its arithmetic costs, where that grows faster than the models do.
    """

    name: str
    summary: str
    formula: str
    space: Space
    scope: Scope
    base: BaseRule
    models: tuple[int, int | None]
    params: tuple[Param, ...] = ()
    divides_by: str | None = None
    divides_when: str = "normalize"
    divides_if: Mapping[str, Scalar] = field(default_factory=dict)
    draws_if: tuple[str, tuple[Scalar, ...]] | None = None
    copies_when: Mapping[str, float] | None = None
    laws: tuple[str, ...] = ()
    cite: tuple[Cite, ...] = ()
    differs: tuple[str, ...] = ()
    scope_if: tuple[tuple[str, Scalar, Scope], ...] = ()
    collected: Collected | None = None
    rule: Callable[[Mapping[str, Any]], str | None] | None = None
    family: Family = "other"
    cost: str = ""

    def broken_rules(self, settings: Mapping[str, Any], models: int) -> tuple[str, ...]:
        """What is wrong with settings that are each in range; per-model ones are sequences of `models` values."""
        if self.rule is None:
            return ()
        per_model = {argument(p.name) for p in self.params if p.per_model}
        shared = {"models": models} | {k: v for k, v in settings.items() if k not in per_model}
        each = [shared | {k: settings[k][i] for k in per_model if k in settings} for i in range(models)]
        return tuple(dict.fromkeys(told for one in each if (told := self.rule(one)) is not None))

    def divides(self, settings: Mapping[str, Any]) -> bool:
        """Whether the result is divided by the sum of `divides_by` under some settings."""
        switch = self.param(self.divides_when)
        is_on = switch is None or bool(settings.get(switch.name, switch.default))
        return self.divides_by is not None and is_on and self._has(settings, self.divides_if)

    def draws(self, settings: Mapping[str, Any]) -> bool:
        """Whether random numbers are drawn under some settings, for a method that takes any."""
        return (
            self.draws_if is None or settings.get(self.draws_if[0], self._default(self.draws_if[0])) in self.draws_if[1]
        )

    def _has(self, settings: Mapping[str, Any], wanted: Mapping[str, Scalar]) -> bool:
        return all(settings.get(name, self._default(name)) == value for name, value in wanted.items())

    def _default(self, name: str) -> Scalar | None:
        param = self.param(name)
        return None if param is None else param.default

    def scope_for(self, settings: Mapping[str, Any]) -> Scope:
        """The scope under some settings, given by the names of recipes or of Python."""
        found = self.scope
        for name, value, scope in self.scope_if:
            found = scope if settings.get(name) == value else found
        return found

    def param(self, name: str) -> Param | None:
        """The declared parameter of that name, or `None`."""
        return next((p for p in self.params if p.name == name), None)


def argument(param: str) -> str:
    """The Python name of a recipe parameter: `lambda` is a keyword and becomes `lambda_`."""
    return "lambda_" if param == "lambda" else param


def rows_of(shape: Sequence[int]) -> tuple[int, int]:
    """A tensor as rows: one for each entry of its first dimension; a vector or a scalar is one row.

    So a row of a convolution's kernel is everything that one output channel is made with.

    Returns:
        The number of rows, and the entries of each.

    Example:
        >>> rows_of((8, 3, 2, 2)), rows_of((5,)), rows_of(())
        ((8, 12), (1, 5), (1, 1))
    """
    return (1, math.prod(shape)) if len(shape) < 2 else (shape[0], math.prod(shape[1:]))


def grain_of(scope: Scope, shape: Sequence[int]) -> int:
    """Elements that the arithmetic of a scope must have together: tiles are cut at multiples of it."""
    if scope == "matrix":
        return max(1, math.prod(shape))
    return max(1, rows_of(shape)[1]) if scope == "row" else 1


# Of the sum of magnitudes. Each weight is rounded to float32, by up to 6e-8; what is left must be more than roundings.
_CANCELLED: Final = 1e-6


def vanishes(weights: Sequence[float]) -> bool:
    """Whether weights cancel to nothing that a float32 sum could be divided by; 0.1 + 0.2 - 0.3 does, so does none.

    Example:
        >>> vanishes([0.1, 0.2, -0.3]), vanishes([1, -1.00000001]), vanishes([1, -0.9])
        (True, True, False)
    """
    return abs(math.fsum(weights)) <= _CANCELLED * math.fsum(map(abs, weights))
