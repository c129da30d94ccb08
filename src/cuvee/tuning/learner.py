"""What is trained: the weights themselves, or low-rank changes of them; and putting other values in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor
from torch.nn import Parameter


class Learner(Protocol):
    """What a step changes, and what the model's own weights come to with that."""

    @property
    def leaves(self) -> list[Parameter]:
        """What AdamW changes."""

    def values(self) -> dict[str, Tensor]:
        """Name in memory → the weight as it would be used, float32; not to be written to."""

    def standing(self, values: Mapping[str, Tensor]) -> Any:
        """A context in which the model has these weights, and nothing on top of them."""


class Whole:
    """The weights themselves.

    Args:
        model: the model; nothing but the weights named is trained from here on.
        names: parameters by their first name in memory.
    """

    def __init__(self, model: Any, names: Mapping[str, Any]) -> None:
        parameters = dict(model.named_parameters())
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in names)
        self._parameters: dict[str, Parameter] = {name: parameters[name] for name in names}

    @property
    def leaves(self) -> list[Parameter]:
        """The weights."""
        return list(self._parameters.values())

    def values(self) -> dict[str, Tensor]:
        """The weights."""
        return {name: parameter.detach() for name, parameter in self._parameters.items()}

    @contextmanager
    def standing(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """The model with other weights."""
        with in_place(self._parameters, values):
            yield


@contextmanager
def in_place(parameters: Mapping[str, Parameter], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Put values in the place of parameters, and the parameters' own back afterwards."""
    own = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = values[name].to(parameter.device, parameter.dtype)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]
