"""The stack of a model that is meant, and its runs of layers as slices of a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cuvee.errors import Fault, InputError, UsageError
from cuvee.recipe import Branch, Conditions, Parameters, Slice
from cuvee.recipe.dialect import source_of
from cuvee.types import ModelRef

if TYPE_CHECKING:
    from cuvee.checkpoint.protocol import Reader
    from cuvee.families import Stack
    from cuvee.layers.order import Run


def stack_of(reader: Reader, module: str | None) -> Stack:
    """The stack that is meant.

    Raises:
        InputError: there is none, or none in the module.
        UsageError: there are several.
    """
    from cuvee.families import study

    anatomy = study(reader.specs, reader.config)
    stacks = [s for s in anatomy.stacks if module is None or _is_in(s, module)]
    if len(stacks) == 1:
        return stacks[0]
    prefixes = ", ".join(s.prefix for s in anatomy.stacks)
    if len(stacks) > 1:
        message = f"{reader.label} has {len(stacks)} stacks of layers, and one should be meant: {prefixes}"
        names = ", ".join(f"`{name}`" for name in modules_of([s.prefix for s in anatomy.stacks]))
        raise UsageError(Fault("no-layer-stack", message, subject="module", hint=f"say which with `module`: {names}"))
    if anatomy.stacks and module is not None:
        message = f"{reader.label} has no stack of layers in `{module}`; found {prefixes}"
        raise UsageError(Fault("unknown-module", message, subject="module"))
    message = f"{reader.label}: its config.json and tensor names show no stack of layers"
    hint = "the configuration must count the layers, under a key such as `num_hidden_layers`"
    raise InputError(Fault("no-layer-stack", message, subject=reader.label, hint=hint))


def _is_in(stack: Stack, module: str) -> bool:
    return f".{module}." in f".{stack.prefix}."


def modules_of(prefixes: Sequence[str]) -> list[str]:
    """Names that tell stacks from one another: the last part of each that no other has.

    Example:
        >>> modules_of(["encoder.block", "decoder.block"])
        ['encoder', 'decoder']
    """
    return [_telling(prefix, [other for other in prefixes if other != prefix]) for prefix in prefixes]


def _telling(prefix: str, others: Sequence[str]) -> str:
    parts = prefix.split(".")
    alone = [part for part in parts if not any(f".{part}." in f".{other}." for other in others)]
    return alone[0] if alone else prefix


def slices_of(reader: Reader, stack: Stack, ref: ModelRef, runs: Sequence[Run]) -> Iterator[Slice]:
    """The slices of a recipe, one for each run of layers."""
    for run in runs:
        quiet = _silence(reader, stack, run.layers) if run.silent else {}
        yield Slice((source_of(ref, run.layers, quiet),))


def _silence(reader: Reader, stack: Stack, layers: Sequence[int]) -> Parameters:
    """The settings that make layers pass on what they are given.

    Raises:
        InputError: there are none for layers of this kind.
    """
    from cuvee.families import spot_of
    from cuvee.families.residual import residual_writers

    spots = [spot for name in reader.specs if (spot := spot_of(name)) and spot.prefix == stack.prefix]
    section = _at(reader.config or {}, stack.section)
    parts: dict[str, None] = {}
    for layer in layers:
        found = residual_writers([spot.rest for spot in spots if spot.index == layer], section)
        if found is None:
            message = f"{reader.label}: no tensors of layer {layer} are known that, at zero, make it change nothing"
            hint = "layers that normalise after adding (BERT) have none; `repeat` copies layers as they are"
            raise InputError(Fault("no-silent-layer", message, subject=reader.label, hint=hint))
        parts |= dict.fromkeys(found)
    return {"scale": Conditions((*(Branch(part, 0.0) for part in parts), Branch(None, 1.0)))}


def _at(config: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    for key in path:
        config = config[key]
    return config
