"""How a merge method is declared: a pure function over a stack, the statistics it needs first, and the facts about it.

A method file imports nothing heavy; its arithmetic reaches torch through `cuvee.tensors`, on the first call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cuvee.methods.job import Factors, Holds, Job, Measure, Surveys, argument
from cuvee.registry import Registry
from cuvee.types import BaseRule, Cite, Collected, Family, MethodSpec, Param, Scalar, Scope, Space

if TYPE_CHECKING:
    from torch import Tensor


def nothing_first(_job: Job, _done: int, _known: Any) -> None:
    """For a method that needs to know nothing beforehand."""


def holds_nothing(_numel: int, _models: int, _tile: int) -> int:
    """For the same."""
    return 0


def no_factors(_rows: int, _width: int, _models: int) -> int:
    """For a method that factorises nothing."""
    return 0


@dataclass(frozen=True)
class Method:
    """A merge method: `spec` says what it is, calling it merges tensors in memory.

    Attributes:
        spec: the declaration.
        combine: the arithmetic, `(stack, **settings) -> tile`. Where its signature names them it is also given
            `statistics` (what the last round concluded), `start` (first element of the tile), `draws` (uniform
            random numbers in [0, 1), one per entry of the stack), `shape` (of the whole tensor), `whole` (what the
            surveys concluded), `collected` (a list with what was collected of each model, `None` where nothing was)
            and `job` (the settings before they are rounded to the dtype of the arithmetic). The stack is `[K, n]`; for
            the scopes `row` and `matrix` stack and draws are `[K, rows, width]`, and the tile may be `[rows, width]`.
        measure: says which pass over the tensor comes next.
        survey: says which pass over all tensors comes next, before any of them is merged.
        wants: names of the arguments `combine` takes.
        factors: `(rows, width, tensors read) -> bytes` that the arithmetic on a whole matrix holds besides its tiles.
        operations: `(rows, width, tensors read) -> multiplications` of the arithmetic on a whole matrix, in float64;
            what is harder than a product counts for as many as would take its time.
        holds: `(elements, tensors read, tile) -> bytes` that the passes hold of one tensor, at most.
    """

    spec: MethodSpec
    combine: Callable[..., Tensor]
    measure: Measure
    wants: frozenset[str] = field(repr=False)
    holds: Holds = field(default=holds_nothing, repr=False)
    survey: Surveys = field(default=nothing_first, repr=False)
    factors: Factors = field(default=no_factors, repr=False)
    operations: Factors = field(default=no_factors, repr=False)

    @property
    def name(self) -> str:
        """The recipe's name for the method."""
        return self.spec.name

    def __call__(self, tensors: Sequence[Tensor], **call: Any) -> Tensor:
        """Merge tensors of one shape in memory; see `cuvee.methods.call.merge_tensors` for the arguments."""
        from cuvee.methods.call import merge_tensors

        return merge_tensors(self, tensors, **call)


METHODS: Final[Registry[Method]] = Registry("merge method", "cuvee.methods", code="unknown-method")
GIVEN: Final = frozenset({"statistics", "start", "draws", "shape", "whole", "collected", "job"})
"""What the engine gives to a `combine` that names it."""


def merge_method(
    *,
    space: Space,
    scope: Scope,
    base: BaseRule,
    models: tuple[int, int | None],
    formula: str,
    params: Sequence[Param] = (),
    scope_if: Sequence[tuple[str, Scalar, Scope]] = (),
    collected: Collected | None = None,
    rule: Callable[[Mapping[str, Any]], str | None] | None = None,
    measure: Measure = nothing_first,
    survey: Surveys = nothing_first,
    holds: Holds = holds_nothing,
    factors: Factors = no_factors,
    operations: Factors = no_factors,
    divides_by: str | None = None,
    divides_when: str = "normalize",
    divides_if: Mapping[str, Scalar] | None = None,
    draws_if: tuple[str, tuple[Scalar, ...]] | None = None,
    copies_when: Mapping[str, float] | None = None,
    laws: Sequence[str] = (),
    cite: Sequence[Cite] = (),
    differs: Sequence[str] = (),
    family: Family = "other",
    cost: str = "",
) -> Callable[[Callable[..., Tensor]], Method]:
    """Declare a function as a merge method and register it under the function's name.

    The decorator records facts and changes no arithmetic. `summary` is the first line of the docstring.

    Raises:
        UsageError: the name is taken.
        TypeError: the function takes an argument that is neither a parameter nor given by the engine.
    """

    def declare(function: Callable[..., Tensor]) -> Method:
        wants = frozenset(list(inspect.signature(function).parameters)[1:])
        unknown = wants - {argument(p.name) for p in params} - GIVEN
        if unknown:
            raise TypeError(f"{function.__name__} takes {sorted(unknown)}, which no parameter declares")
        spec = MethodSpec(
            name=function.__name__,
            summary=(inspect.getdoc(function) or "").split("\n", 1)[0],
            formula=formula,
            space=space,
            scope=scope,
            base=base,
            models=models,
            params=tuple(params),
            divides_by=divides_by,
            divides_when=divides_when,
            divides_if=divides_if or {},
            draws_if=draws_if,
            copies_when=copies_when,
            laws=tuple(laws),
            cite=tuple(cite),
            differs=tuple(differs),
            scope_if=tuple(scope_if),
            collected=collected,
            rule=rule,
            family=family,
            cost=cost,
        )
        return METHODS.register(spec.name, Method(spec, function, measure, wants, holds, survey, factors, operations))

    return declare
