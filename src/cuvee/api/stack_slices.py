"""The stack of a model that is meant, and its runs of layers as slices of a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cuvee.errors import Fault, InputError, UsageError
from cuvee.recipe import Branch, Conditions, Parameters, Slice
from cuvee.recipe.dialect import source_of
from cuvee.types import ModelRef

if TYPE_CHECKING:
    from cuvee.checkpoint.protocol import Reader
    from cuvee.families import Stack
    from cuvee.layers.order import Run


def stack_of(reader: Reader, module: str | None) -> tuple[Stack, str | None]:
    """The stack that is meant, and what a recipe calls the module that it is in.

    Args:
        reader: the model.
        module: a part of the stack's prefix, or a name under which `part` of a recipe knows what the stack is in;
            `None` where there is one stack only.

    Raises:
        InputError: there is none.
        UsageError: there are several, or none in the module.
    """
    from cuvee.families import study

    anatomy = study(reader.specs, reader.config)
    prefixed = [s for s in anatomy.stacks if module is None or _is_in(s, module)]
    stacks = prefixed or _in_part(anatomy.stacks, module, reader)
    if len(stacks) == 1:
        told = modules_of([s.prefix for s in anatomy.stacks])[anatomy.stacks.index(stacks[0])]
        return stacks[0], module if prefixed else told
    prefixes = ", ".join(s.prefix for s in anatomy.stacks)
    names = ", ".join(f"`{name}`" for name in modules_of([s.prefix for s in anatomy.stacks]))
    if len(stacks) > 1:
        message = f"{reader.label} has {len(stacks)} stacks of layers, and one should be meant: {prefixes}"
        raise UsageError(Fault("no-layer-stack", message, subject="module", hint=f"say which with `module`: {names}"))
    if anatomy.stacks and module is not None:
        message = f"{reader.label} has no stack of layers in `{module}`; found {prefixes}"
        raise UsageError(Fault("unknown-module", message, subject="module", hint=f"say which with `module`: {names}"))
    message = f"{reader.label}: its config.json and tensor names show no stack of layers"
    hint = "the configuration must count the layers, under a key such as `num_hidden_layers`"
    raise InputError(Fault("no-layer-stack", message, subject=reader.label, hint=hint))


def _is_in(stack: Stack, module: str) -> bool:
    return f".{module}." in f".{stack.prefix}."


def _in_part(stacks: Sequence[Stack], module: str | None, reader: Reader) -> list[Stack]:
    """The stacks whose layers are in what `part` of a recipe would take."""
    from cuvee.families.towers import tensors_of_part

    there = tensors_of_part(module or "", reader.specs)
    return [stack for stack in stacks if any(name.startswith(f"{stack.prefix}.") for name in there)]


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
    from cuvee.families import sections, spot_of
    from cuvee.families.residual import residual_writers, says_no

    spots = [spot for name in reader.specs if (spot := spot_of(name)) and spot.prefix == stack.prefix]
    section = dict(sections(reader.config or {})).get(stack.section, {})
    parts: dict[str, None] = {}
    for layer in layers:
        names = [spot.rest for spot in spots if spot.index == layer]
        found = residual_writers(names, section)
        if found is None:
            message = f"{reader.label}: no tensors of layer {layer} are known that, at zero, make it change nothing"
            why = (
                says_no(names, section) or f"layers of this kind ({section.get('model_type', 'no name')}) are not known"
            )
            hint = f"{why}; `repeat` copies layers as they are"
            raise InputError(Fault("no-silent-layer", message, subject=reader.label, hint=hint))
        parts |= dict.fromkeys(found)
    return {"scale": Conditions((*(Branch(part, 0.0) for part in parts), Branch(None, 1.0)))}
