"""FP8 weights and their scales: which scale belongs to which weight, and to which entries of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cuvee.checkpoint.quantised import Scheme
from cuvee.errors import Fault, listed
from cuvee.types import TensorSpec

FP8: Final = ("float8_e4m3fn", "float8_e5m2")
"""Dtypes of weights that a scale may belong to."""
SCALE_DTYPES: Final = ("float32", "bfloat16", "float16", "float8_e8m0fnu")
"""Dtypes that a scale may have; the last one holds powers of two."""

_OF_WEIGHT: Final = ("scale", "scale_weight", "qscale_weight")
# Scales of activations and caches, which the output does not quantise.
_OF_ACTIVATION: Final = ("input_scale", "activation_scale", "scale_input", "qscale_act", "input_scale_ub")
_OF_CACHE: Final = (".k_scale", ".v_scale", ".kv_scale", ".output_scale")
_MARKER: Final = "scaled_fp8"  # an empty tensor by which ComfyUI tells its files
_ORPHANS: Final = ("_scale_inv", ".weight_scale", ".qscale_weight", ".scale_weight")
_FAULT_LIMIT: Final = 20
_HINT: Final = "download the model again, or make it again with the program that quantised it"


@dataclass(frozen=True, slots=True)
class Scaling:
    """An FP8 weight and its scale, both as three axes: everything before the last two, rows, columns.

    Attributes:
        weight: the weight as stored.
        scale: the scale as stored.
        shape: sizes of the weight's axes.
        grid: sizes of the scale's axes.
        block: how many entries of each axis share a scale; the last block of an axis may be cut.
        shared_by: what shares a scale, in words.
    """

    weight: TensorSpec
    scale: TensorSpec
    shape: tuple[int, int, int]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_by: str


@dataclass(frozen=True, slots=True)
class Pairing:
    """Every FP8 weight with its scale, the scales of activations, and what is wrong."""

    scalings: Mapping[str, Scaling]
    unused: frozenset[str]
    faults: tuple[Fault, ...]


def pair(label: str, specs: Mapping[str, TensorSpec], scheme: Scheme | None) -> Pairing:
    """Find the scale of every FP8 weight.

    Args:
        label: the model's name in messages.
        specs: every tensor by name.
        scheme: how the configuration says that weights are scaled; `None` where it says nothing, and then FP8 tensors
            of a model without any scale are plain numbers.
    """
    weights = [name for name, spec in specs.items() if spec.dtype in FP8]
    found = {name: [scale for scale in _names_of_scale(name) if scale in specs] for name in weights}
    if scheme is None and not any(found.values()):
        return Pairing({}, frozenset(), ())
    scalings: dict[str, Scaling] = {}
    faults: list[Fault] = []
    for name, scales in found.items():
        made = _scaling(label, specs[name], [specs[scale] for scale in scales], scheme or Scheme())
        if isinstance(made, Scaling):
            scalings[name] = made
        else:
            faults.append(made)
    used = {scale for scales in found.values() for scale in scales}
    faults += _orphans(label, specs, used)
    return Pairing(scalings, _unused(specs, weights), tuple(_some(label, faults)))


def _stem(name: str) -> str | None:
    """The name of a weight's module, `None` for a parameter of another name."""
    return name.removesuffix(".weight") if name.endswith(".weight") else None


def _names_of_scale(name: str) -> tuple[str, ...]:
    """What the scale of a weight may be called."""
    stem = _stem(name)
    own = () if stem is None else tuple(f"{stem}.{end}" for end in _OF_WEIGHT)
    return (f"{name}_scale_inv", f"{name}_scale", *own)


def _unused(specs: Mapping[str, TensorSpec], weights: Sequence[str]) -> frozenset[str]:
    """Scales of the activations that meet these weights, and of caches."""
    stems = [stem for name in weights if (stem := _stem(name)) is not None]
    meant = {f"{stem}.{end}" for stem in stems for end in _OF_ACTIVATION}
    meant |= {f"{name}_activation_scale" for name in weights} | {_MARKER}
    caches = {name for name, spec in specs.items() if name.endswith(_OF_CACHE) and spec.numel == 1}
    return frozenset((meant & specs.keys()) | caches)


def _scaling(label: str, weight: TensorSpec, scales: Sequence[TensorSpec], scheme: Scheme) -> Scaling | Fault:
    """A weight with its scale, or why it has none."""
    if not scales:
        message = f"{label}: FP8 weight {weight.name} must have a scale ({_names_of_scale(weight.name)[0]}); found none"
        return Fault("bad-scale", message, subject=weight.name, hint=_HINT)
    if len(scales) > 1:
        told = ", ".join(scale.name for scale in scales)
        return Fault("bad-scale", f"{label}: {weight.name} must have one scale; found {told}", None, weight.name, _HINT)
    scale = scales[0]
    if scale.dtype not in SCALE_DTYPES:
        message = f"{label}: scale {scale.name} must be of {', '.join(SCALE_DTYPES)}; found {scale.dtype}"
        return Fault("bad-scale", message, subject=scale.name, hint=_HINT)
    return _fitted(weight, scale, scheme) or _misfit(label, weight, scale, scheme)


def _fitted(weight: TensorSpec, scale: TensorSpec, scheme: Scheme) -> Scaling | None:
    """The first way in which the scale's shape fits the weight's."""
    shape = _axes(weight.shape)
    for block in scheme.blocks:
        grid = _grid(weight.shape, block)
        if scale.shape == grid and len(grid) > 1:
            return Scaling(weight, scale, shape, _axes(grid), (1, *block), f"block of {block[0]} × {block[1]}")
    if not scheme.whole:
        return None
    if scale.numel == 1:
        return Scaling(weight, scale, shape, (1, 1, 1), shape, "tensor")
    if len(weight.shape) == 2 and scale.shape == weight.shape[:1]:
        return Scaling(weight, scale, shape, (1, shape[1], 1), (1, 1, shape[2]), "row")
    pairs = list(zip(weight.shape, scale.shape, strict=False))
    if len(scale.shape) != len(weight.shape) or any(n not in (1, full) for full, n in pairs):
        return None
    outer = scale.shape[:-2]
    if any(n != full for full, n in pairs[:-2]) and math.prod(outer) != 1:
        return None
    grid = _axes(scale.shape)
    shared_by = "row" if grid[2] == 1 else "column"
    return Scaling(weight, scale, shape, grid, _divided(shape, grid), shared_by)


def _divided(shape: tuple[int, int, int], grid: tuple[int, int, int]) -> tuple[int, int, int]:
    """Entries per scale on axes that have either one scale or one per entry."""
    outer, rows, columns = (full if n == 1 else 1 for full, n in zip(shape, grid, strict=True))
    return outer, rows, columns


def _axes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Any shape as three axes."""
    rows, columns = (1, 1, *shape)[-2:]
    return math.prod(shape[:-2]), rows, columns


def _grid(shape: tuple[int, ...], block: tuple[int, int]) -> tuple[int, ...]:
    """The shape of a scale with one entry per block."""
    if len(shape) < 2:
        return ()
    return (*shape[:-2], -(-shape[-2] // block[0]), -(-shape[-1] // block[1]))


def _misfit(label: str, weight: TensorSpec, scale: TensorSpec, scheme: Scheme) -> Fault:
    """A scale whose shape fits no scheme of the model."""
    wanted = [f"{list(_grid(weight.shape, block))} for blocks of {block[0]} × {block[1]}" for block in scheme.blocks]
    wanted += [f"one number, or {[weight.shape[0], 1]} for one per row"] if scheme.whole and weight.shape else []
    message = (
        f"{label}: the scale of {weight.name} {list(weight.shape)} must have the shape {' or '.join(wanted)}; "
        f"{scale.name} has {list(scale.shape)}"
    )
    hint = "the `weight_block_size` of `quantization_config` in config.json must be that of the weights"
    return Fault("bad-scale", message, subject=scale.name, hint=hint)


def _orphans(label: str, specs: Mapping[str, TensorSpec], used: set[str]) -> Iterator[Fault]:
    """Scales whose weight is missing or holds something else than FP8: applied or not, the result would be a guess."""
    for name in specs:
        if name.endswith(_ORPHANS) and name not in used:
            message = f"{label}: {name} must be the scale of an FP8 weight; there is none of that name"
            hint = "if its weight is dequantised already, remove the scale from the checkpoint"
            yield Fault("bad-scale", message, subject=name, hint=hint)


def _some(label: str, faults: Sequence[Fault]) -> Iterable[Fault]:
    """The first of many faults, and the names of the others in short."""
    if len(faults) <= _FAULT_LIMIT:
        return faults
    rest = [fault.subject or "" for fault in faults[_FAULT_LIMIT:]]
    message = f"{label}: and {len(rest):,} more faults of this kind: {listed(rest)}"
    return [*faults[:_FAULT_LIMIT], Fault("bad-scale", message, subject=label, hint=_HINT)]


def told(pairing: Pairing) -> Iterator[str]:
    """What a user should know of the FP8 weights of a model."""
    kinds: dict[str, int] = {}
    for scaling in pairing.scalings.values():
        kind = f"{scaling.weight.dtype} with one scale per {scaling.shared_by}"
        kinds[kind] = kinds.get(kind, 0) + 1
    for kind, count in kinds.items():
        yield f"{count:,} weights are {kind}; they are dequantised to float32 as they are read"
    if pairing.unused:
        yield f"scales of activations and caches are left out: {listed(sorted(pairing.unused))}"
