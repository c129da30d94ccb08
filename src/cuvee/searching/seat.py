"""One torch module for all candidates of a configuration: weights are put in place, nothing is built again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from cuvee.errors import Fault, InputError
from cuvee.searching.cellar import Candidate

Build = Callable[[Candidate], Any]
"""Makes what scorers run from a candidate."""

_FEW: Final = 2
"""Modules that are kept: stacks of different heights have different ones."""


class Seats:
    """Puts candidates into modules.

    Args:
        build: makes a module for the first candidate of a configuration. What it gives for others is used only where
            tensors and parameters do not have the same names and shapes.
    """

    def __init__(self, build: Build) -> None:
        self._build = build
        self._kept: OrderedDict[str, tuple[Any, Mapping[str, Tensor]]] = OrderedDict()

    def seated(self, candidate: Candidate) -> Any:
        """The module with a candidate's weights; the next candidate may take their place."""
        key = candidate.config_text or ""
        found = self._kept.get(key)
        if found is not None and _fits(found[1], candidate.tensors):
            module, places = found
            with torch.no_grad():
                for name, values in candidate.tensors.items():
                    places[name].copy_(values)
            return module.eval()
        module = self._build(candidate)
        places = _places(module, candidate.tensors)
        if places:
            self._kept[key] = module, places
            self._kept.move_to_end(key)
            while len(self._kept) > _FEW:
                self._kept.popitem(last=False)
        return module


def _places(module: Any, given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Where the tensors of a candidate stand in a module, by name; nothing where some stand elsewhere."""
    if not isinstance(module, torch.nn.Module):
        return {}
    parameters = dict(module.named_parameters(remove_duplicate=False))
    places = {**parameters, **dict(module.named_buffers(remove_duplicate=False))}
    if not _fits(places, given):
        return {}
    filled = {id(places[name]) for name in given}
    everything = all(id(parameter) in filled for parameter in parameters.values())
    return {name: places[name] for name in given} if everything else {}


def _fits(places: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    return all(name in places and places[name].shape == values.shape for name, values in given.items())


def built_by_transformers(candidate: Candidate) -> Any:
    """The model of transformers that a candidate's configuration names, in float32 and evaluation mode.

    Raises:
        InputError: there is no configuration, or none that transformers knows.
        UsageError: transformers is not installed.
    """
    from cuvee.families.loading import load_tensors

    if candidate.config_text is None:
        message = "the models have no config.json, so what class they are cannot be told"
        raise InputError(Fault("bad-config", message, hint="give `build`, which makes a model from tensors"))
    return load_tensors(candidate.label, candidate.config_text, candidate.tensors, dtype="float32", device="cpu")
