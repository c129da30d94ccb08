"""The laws of methods that see a tensor as a matrix and not as a list of entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from cuvee.methods.declare import Method
from cuvee.testing.cases import SHAPE, Inputs, draw, switched
from cuvee.testing.compare import assert_close
from cuvee.testing.registry import law
from cuvee.types import rows_of

ILL_CONDITIONED: Final = 1e7
"""How much a singular vector may magnify the rounding of a rotated matrix; the law is checked in float64."""


@law("rotation")
def check_rotation(method: Method, inputs: Inputs) -> None:
    """A rotation of the outputs of all inputs rotates the result: Q xᵢ for every model gives Q y."""
    rows, _ = _matrix(inputs)
    turn = _rotation(rows, inputs.seed)
    _assert_turns(method, inputs, lambda x: (turn @ x.reshape(rows, -1)).reshape(x.shape), "rotated outputs")


@law("rotation-of-inputs")
def check_rotation_of_inputs(method: Method, inputs: Inputs) -> None:
    """A rotation of the inputs of all matrices rotates the result: xᵢ Q for every model gives y Q."""
    rows, width = _matrix(inputs)
    turn = _rotation(width, inputs.seed)
    _assert_turns(method, inputs, lambda x: (x.reshape(rows, -1) @ turn).reshape(x.shape), "rotated inputs")


def _assert_turns(method: Method, inputs: Inputs, turned: Callable[[Tensor], Tensor], what: str) -> None:
    # of other dtypes the rotated matrices would be rounded, which is more than singular vectors forgive
    wide = replace(inputs, shape=_shape(inputs), dtype=torch.float64)
    for case in switched(method.spec, draw(method.spec, wide, "normal")):
        claim = f"{method.name}: {what} give the rotated result {case.settings}"
        want = turned(case.run(method))
        assert_close(case.map(turned).run(method), want, ILL_CONDITIONED * case.largest(), claim)


def _shape(inputs: Inputs) -> tuple[int, ...]:
    """The shape asked for, if that is a matrix with entries."""
    shape = inputs.shape or SHAPE
    return shape if len(shape) > 1 and 0 not in shape else SHAPE


def _matrix(inputs: Inputs) -> tuple[int, int]:
    return rows_of(_shape(inputs))


def _rotation(size: int, seed: int) -> Tensor:
    """An orthogonal matrix `[size, size]` in float64."""
    drawn = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    turn: Tensor = torch.linalg.qr(drawn).Q
    return turn
