"""LoRA through peft: low-rank changes of linear maps, added to their weights in the end."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import Parameter

from cuvee.errors import Fault, InputError, UsageError
from cuvee.families.running import is_transposed
from cuvee.tuning.learner import in_place


def check_installed() -> None:
    """Refuse LoRA without peft.

    Raises:
        UsageError: `missing-extra`.
    """
    try:
        import peft  # noqa: F401
    except ImportError as error:
        message = "LoRA is trained by peft, which is not installed"
        raise UsageError(
            Fault("missing-extra", message, subject="peft", hint='pip install "cuvee[tune]", or tune without --lora')
        ) from error


class LowRank:
    """Every chosen linear map W as W + 2 · B A, of which only A and B are trained (Hu et al. 2021, arXiv:2106.09685).

    A begins at random from torch's global generator and B at 0. α is twice the rank, so that the factor is 2.

    Args:
        model: the model; peft puts its layers into it.
        names: weights that may be changed, by their first name in memory.
        rank: of the change.

    Raises:
        InputError: `bad-argument`: none of them is the weight of a linear map other than the output embedding.
    """

    def __init__(self, model: Any, names: Mapping[str, Any], rank: int) -> None:
        linear = [name for name, module in model.named_modules() if _is_linear(module, model)]
        targets = [name for name in linear if f"{name}.weight" in names]
        if not targets:
            message = "LoRA changes linear maps other than the output embedding; none was chosen"
            raise InputError(Fault("bad-argument", message, subject="only", hint="choose others, or leave --lora out"))
        self._layers = _injected(model, targets, rank)
        self._weights: dict[str, Parameter] = {
            f"{name}.weight": layer.get_base_layer().weight for name, layer in self._layers.items()
        }

    @property
    def leaves(self) -> list[Parameter]:
        """A and B of every map."""
        return [p for layer in self._layers.values() for p in layer.parameters() if p.requires_grad]

    def values(self) -> dict[str, Tensor]:
        """W + 2 · B A of every map."""
        return {
            name: (self._weights[name] + layer.get_delta_weight("default")).detach()
            for name, layer in zip(self._weights, self._layers.values(), strict=True)
        }

    @contextmanager
    def standing(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """The model with these weights and without the low-rank changes."""
        for layer in self._layers.values():
            layer.enable_adapters(False)
        try:
            with in_place(self._weights, values):
                yield
        finally:
            for layer in self._layers.values():
                layer.enable_adapters(True)


def _is_linear(module: Any, model: Any) -> bool:
    return (isinstance(module, nn.Linear) or is_transposed(module)) and module is not model.get_output_embeddings()


def _injected(model: Any, targets: list[str], rank: int) -> dict[str, Any]:
    """Peft's layers by the name of the map, and nothing but theirs trained."""
    from peft import LoraConfig, inject_adapter_in_model

    transposed = all(is_transposed(model.get_submodule(name)) for name in targets)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=targets, bias="none", fan_in_fan_out=transposed
    )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tied weights, which no target is, and of models with both kinds of maps
        inject_adapter_in_model(config, model)
    layers = {name: model.get_submodule(name) for name in targets}
    for layer in layers.values():
        for key in ("lora_A", "lora_B"):
            getattr(layer, key).requires_grad_(True)
    return layers
