"""Adapters side by side: every module's changes as factors, and what stands in the way of merging them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Final

import torch
from torch import Tensor

from cuvee.adapters.asked import Asked
from cuvee.adapters.dora import Ground, dora_change
from cuvee.checkpoint.adapter import Adapter
from cuvee.checkpoint.adapter_fit import base_name
from cuvee.checkpoint.adapter_tensors import LowRank
from cuvee.errors import Fault, InputError, listed
from cuvee.tensors.factored import Factored

SHARED_KEYS: Final = ("fan_in_fan_out", "bias", "modules_to_save", "task_type", "ensure_weight_tying")
"""Keys of the configuration that say how the result is read, and on which the adapters must agree."""


def modules_of(adapters: Sequence[Adapter]) -> list[str]:
    """Every module that some adapter changes, in the order in which they come."""
    return list(dict.fromkeys(module for adapter in adapters for module in adapter.changes))


def factored(adapter: Adapter, change: LowRank) -> Factored:
    """ΔW = B (s A), in float64."""
    return Factored(adapter.read(change.b.name).double(), adapter.read(change.a.name).double() * change.scale)


def absent(shape: tuple[int, int]) -> Factored:
    """The change of a module that an adapter leaves alone: rank 0."""
    return Factored(torch.zeros(shape[0], 0, dtype=torch.float64), torch.zeros(0, shape[1], dtype=torch.float64))


def factors_of_module(adapters: Sequence[Adapter], module: str, ground: Ground | None = None) -> list[Factored]:
    """The module's change in every adapter; that of DoRA on its base."""
    found = [adapter.changes.get(module) for adapter in adapters]
    shape = next((change.b.shape[0], change.a.shape[1]) for change in found if change is not None)
    return [
        absent(shape) if change is None else _change_of(adapter, change, ground)
        for adapter, change in zip(adapters, found, strict=True)
    ]


def _change_of(adapter: Adapter, change: LowRank, ground: Ground | None) -> Factored:
    if change.magnitude is None or ground is None:
        return factored(adapter, change)
    return dora_change(ground, adapter, change)


def check_aligned(adapters: Sequence[Adapter], asked: Asked, ground: Ground | None = None) -> None:
    """Refuse adapters that cannot become one.

    Args:
        adapters: those to be merged.
        asked: how; whole tensors can be averaged by a weighted sum only, and PEFT's arithmetic needs one rank.
        ground: the base, which DoRA needs, and on which all adapters have been laid.

    Raises:
        InputError: `adapter-mismatch`, `no-low-rank`, `bad-adapter`: all faults.
    """
    faults = [fault for adapter in adapters for fault in _form_faults(adapter, asked, ground)]
    faults += [*(ground.faults if ground else ()), *_shape_faults(adapters), *_row_faults(adapters, asked)]
    faults += _whole_faults(adapters, asked)
    if asked.method.startswith("peft-"):
        faults += _rank_faults(adapters)
    if len(adapters) > 1:
        strangers = list(_stranger_faults(adapters)) if ground is None else []
        faults += strangers or [*_name_faults(adapters), *_key_faults(adapters)]
    for adapter in adapters:
        try:
            adapter.check_finite()
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(faults)


def _form_faults(adapter: Adapter, asked: Asked, ground: Ground | None) -> Iterator[Fault]:
    """Changes that are no B · A alone."""
    dora = [change for change in adapter.changes.values() if change.magnitude is not None]
    unsaid = dora if ground is None else [change for change in dora if change.is_embedding]
    if asked.method.startswith("peft-") and dora:
        message = f"{adapter.label} is DoRA, and PEFT's arithmetic on A and B passes over the lengths of outputs"
        hint = "use `svd`, `cat` or a method on ΔW, with `--base`"
        yield Fault("no-low-rank", message, subject=adapter.label, hint=hint)
    elif unsaid:
        message = (
            f"{adapter.label} is DoRA ({listed([one.module for one in unsaid], most=2)}): it gives every output's "
        )
        message += "weights a length, so that its change is no B · A and depends on the base"
        hint = "name the base (`--base`), or merge the models instead: `base+adapter` in a recipe"
        yield Fault("no-low-rank", message, subject=adapter.label, hint=hint)
    if biased := [change.module for change in adapter.changes.values() if change.bias is not None]:
        message = f"{adapter.label}: B has a bias ({listed(biased, most=2)}), which changes a bias of the base"
        hint = "merge the models instead: `base+adapter` in a recipe"
        yield Fault("no-low-rank", message, subject=adapter.label, hint=hint)


def _shape_faults(adapters: Sequence[Adapter]) -> Iterator[Fault]:
    for module in modules_of(adapters):
        shapes: dict[tuple[int, int, bool], list[str]] = {}
        for adapter in adapters:
            if (one := adapter.changes.get(module)) is not None:
                shapes.setdefault((one.b.shape[0], one.a.shape[1], one.is_embedding), []).append(adapter.label)
        if len(shapes) > 1:
            said = "; ".join(f"{m}×{n} in {listed(labels)}" for (m, n, _), labels in shapes.items())
            message = f"`{module}` must have one shape in all adapters, found {said}"
            yield Fault("adapter-mismatch", message, subject=module, hint="merge adapters of one base only")


def _rank_faults(adapters: Sequence[Adapter]) -> Iterator[Fault]:
    """Modules that PEFT's arithmetic cannot add up: A and B must have one shape in all adapters."""
    for module in modules_of(adapters):
        ranks = sorted({one.changes[module].rank for one in adapters if module in one.changes})
        if len(ranks) > 1:
            message = f"`{module}`: PEFT's arithmetic needs one rank in all adapters, found {listed(map(str, ranks))}"
            yield Fault("adapter-mismatch", message, subject=module, hint="use `cat`, `svd` or `ties`")


def _stranger_faults(adapters: Sequence[Adapter]) -> Iterator[Fault]:
    """Adapters that no other has a module or a base in common with: the result would fit no model."""
    alone = [adapter for adapter in adapters if _is_alone(adapter, [one for one in adapters if one is not adapter])]
    if alone:
        said = listed((f"{adapter.label} (trained on `{adapter.base}`)" for adapter in alone), between=" and ")
        message = f"adapters must be of one base to be merged, and no other has a module in common with {said}"
        hint = "if their bases are one model under several names, name it with `--base`"
        yield Fault("adapter-mismatch", message, subject=alone[0].label, hint=hint)


def _is_alone(adapter: Adapter, others: Sequence[Adapter]) -> bool:
    bases = [base_name(one) for one in (adapter, *others)]
    shares = any(adapter.changes.keys() & one.changes.keys() for one in others)
    return not shares and all(bases) and bases[0] not in bases[1:]


def _name_faults(adapters: Sequence[Adapter]) -> Iterator[Fault]:
    """Adapters that name the same modules with and without a prefix: side by side they would never be added up."""
    for one, other in permutations(adapters, 2):
        if one.changes.keys() & other.changes.keys():
            continue  # they name modules alike, and a longer name is another module
        alike = ((module, end) for module in one.changes if (end := _end_in(module, other, one.changes[module])))
        if (pair := next(alike, None)) is not None:
            message = (
                f"`{pair[0]}` in {one.label} and `{pair[1]}` in {other.label} seem to be one module, and adapters "
            )
            message += "are merged by the names of their modules"
            hint = (
                "apply them to the base one after the other (`cuvee lora apply`), or merge the models: `base+adapter`"
            )
            yield Fault("adapter-mismatch", message, subject=pair[0], hint=hint)


def _end_in(module: str, other: Adapter, change: LowRank) -> str | None:
    """The end of a module's name that another adapter has as a name, with the same shape."""
    parts = module.split(".")
    for cut in range(1, len(parts)):
        found = other.changes.get(end := ".".join(parts[cut:]))
        if found is not None and (found.b.shape[0], found.a.shape[1]) == (change.b.shape[0], change.a.shape[1]):
            return end
    return None


def _key_faults(adapters: Sequence[Adapter]) -> Iterator[Fault]:
    for key in SHARED_KEYS:
        found = {adapter.label: _plain(adapter.config.get(key)) for adapter in adapters}
        if len(set(found.values())) > 1 and key != "task_type":
            said = ", ".join(f"{value} in {label}" for label, value in found.items())
            message = f"`{key}` must be the same in all adapters, found {said}"
            hint = "merge the models instead: `base+adapter` in a recipe"
            yield Fault("adapter-mismatch", message, subject=key, hint=hint)


def _plain(value: object) -> str:
    """A key's value in one form: what is not there, empty, false or `none` says the same."""
    return (
        str(sorted(value) if isinstance(value, list) else value) if value not in (None, [], False, "none") else "none"
    )


def _row_faults(adapters: Sequence[Adapter], asked: Asked) -> Iterator[Fault]:
    """Rows of tokens that would have to be mixed, or brought nearer to those of a base that is not known."""
    if len(adapters) == 1 and asked.weights[0] == 1:
        return
    for adapter in adapters:
        if adapter.rows:
            message = f"{adapter.label}: rows of tokens ({listed(adapter.rows)}) stand in place of the base's, and are "
            message += "kept only where one adapter has weight 1"
            hint = "merge the models instead: `base+adapter` in a recipe"
            yield Fault("no-low-rank", message, subject=adapter.label, hint=hint)


def _whole_faults(adapters: Sequence[Adapter], asked: Asked) -> Iterator[Fault]:
    hint = "merge the models instead: `base+adapter` in a recipe"
    names = dict.fromkeys(name for adapter in adapters for name in adapter.whole)
    one = len(adapters) == 1
    if names and (asked.averages or one) and not sum(asked.weights):
        message = f"whole tensors ({listed(names)}) are averaged, and the weights sum to 0"
        yield Fault("zero-weight-sum", message, subject="weights", hint=f"choose other weights, or {hint}")
        return
    if names and not asked.averages and not one:
        message = (
            f"whole tensors ({listed(names)}) stand in place of the base's, and only weighted sums can average them"
        )
        yield Fault("adapter-mismatch", message, hint=f"use `--method cat`, `svd` or `linear`, or {hint}")
        return
    for name in names:
        shapes = {adapter.whole[name].shape if name in adapter.whole else None for adapter in adapters}
        if len(shapes) > 1:
            lacking = [adapter.label for adapter in adapters if name not in adapter.whole]
            what = f"it is not in {listed(lacking)}" if lacking else f"its shapes are {sorted(map(str, shapes))}"
            message = f"`{name}` stands whole in some adapter, and {what}"
            yield Fault("adapter-mismatch", message, subject=name, hint=hint)


def averaged_whole(adapters: Sequence[Adapter], weights: Sequence[float]) -> Mapping[str, Tensor]:
    """Whole tensors, Σ wᵢ xᵢ / Σ wᵢ, under their names in the file of the first adapter."""
    total = sum(weights)
    found: dict[str, Tensor] = {}
    for name, spec in adapters[0].whole.items():
        values = [adapter.read(adapter.whole[name].name) for adapter in adapters]
        mixed = sum(
            (x.double() * (w / total) for x, w in zip(values[1:], weights[1:], strict=True)),
            values[0].double() * (weights[0] / total),
        )
        found[spec.name] = mixed.to(values[0].dtype)
    return found


def kept_rows(adapter: Adapter) -> Mapping[str, Tensor]:
    """Rows of tokens as they are, under their names in the file; `check_aligned` lets those of one adapter pass."""
    return {rows.spec.name: adapter.read(rows.spec.name) for rows in adapter.rows.values()}
