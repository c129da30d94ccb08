"""Adapters merged as adapters, module by module; no base is needed, and only one module's ΔW is ever formed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cuvee import methods
from cuvee.adapters.aligned import (
    SHARED_KEYS,
    averaged_whole,
    check_aligned,
    factors_of_module,
    kept_rows,
    modules_of,
)
from cuvee.adapters.asked import Asked
from cuvee.adapters.dora import Ground, ground_of
from cuvee.adapters.factor_by_factor import peft_factors
from cuvee.adapters.written import Change, Result
from cuvee.checkpoint.adapter import Adapter
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError, UsageError, listed
from cuvee.methods.ties import average_agreeing
from cuvee.tensors.factored import (
    Factored,
    balanced,
    core_space,
    cut_to,
    leading,
    shared_basis_of_factors,
    triplets_of_factors,
    weighted_sum,
)
from cuvee.tensors.lowrank import Triplets, keep_top, triplets

_IDENTICAL = ("linear", "task_arithmetic", "ties", "dare_linear", "dare_ties", "knots", "core-space")
"""Methods that, without settings, give a single delta of weight 1 back."""

_NO_FACTORS: type[RuntimeError] = torch.linalg.LinAlgError  # type: ignore[attr-defined]  # its stub leaves it out
"""What LAPACK says of infinity."""


def merge_adapters(
    adapters: Sequence[Adapter],
    asked: Asked,
    progress: Callable[[int, int], None] | None = None,
    base: Reader | None = None,
) -> Result:
    """Merge adapters of one base.

    Args:
        adapters: opened.
        asked: how.
        progress: called with modules done and their number.
        base: their base, which DoRA's change depends on.

    Raises:
        UsageError: settings that the method does not take.
        InputError: adapters that do not fit each other, or are no plain LoRA; all faults. `non-finite`: what is merged
            is too large for the dtype in which it is written.
    """
    ground = None if base is None else ground_of(base, list(adapters))
    check_settings(asked, len(adapters))
    check_aligned(adapters, asked, ground)
    modules = modules_of(adapters)
    changes: list[Change] = []
    too_large: list[str] = []
    for number, module in enumerate(modules, 1):
        change = _finite(adapters, module, asked, ground)
        too_large += [module] if change is None else []
        changes += [] if change is None else [change]
        if progress is not None:
            progress(number, len(modules))
    whole = averaged_whole(adapters, asked.weights) if adapters[0].whole else {}
    too_large += [name for name, value in whole.items() if not bool(value.isfinite().all())]
    if too_large:
        message = f"what is merged must be finite as it is written, and is not in {listed(too_large)}"
        hint = "the weights or the adapters' own scales are too large: choose smaller ones"
        raise InputError(Fault("non-finite", message, subject=too_large[0], hint=hint))
    stored = {**whole, **kept_rows(adapters[0])}
    return Result(tuple(changes), stored, _config(adapters), tuple(_notes(adapters, asked, modules, stored)))


def _config(adapters: Sequence[Adapter]) -> dict[str, Any]:
    """What the result says besides its factors: what all say, and the base of the first."""
    first = adapters[0].config
    found = {key: first[key] for key in SHARED_KEYS if key in first}
    if len(adapters) == 1 and "trainable_token_indices" in first:
        found["trainable_token_indices"] = first["trainable_token_indices"]
    return {"base_model_name_or_path": adapters[0].base, "revision": first.get("revision"), **found}


def _notes(adapters: Sequence[Adapter], asked: Asked, modules: Sequence[str], whole: Mapping[str, Tensor]) -> list[str]:
    notes = [f"{adapter.label}: {note}" for adapter in adapters for note in adapter.notes]
    for adapter in adapters:
        lacking = [module for module in modules if module not in adapter.changes]
        said = f"{adapter.label} leaves {len(lacking)} modules alone ({listed(lacking)}): a change of 0 there"
        notes += [said] if lacking else []
    if whole and len(adapters) > 1:
        notes.append("whole tensors are weighted means: weights divided by their sum")
    elif whole and not (asked.averages and asked.weights[0] == 1):
        notes.append(f"whole tensors ({listed(whole)}) stay as they are; weight and method are for changes of low rank")
    bases = dict.fromkeys(adapter.base for adapter in adapters)
    if len(bases) > 1:
        notes.append(f"the adapters name different bases ({listed(map(str, bases))}); the result names the first")
    return notes


def _finite(adapters: Sequence[Adapter], module: str, asked: Asked, ground: Ground | None) -> Change | None:
    """One module's change; `None` where it, or a number on the way to it, is too large."""
    try:
        change = _merged(adapters, module, asked, ground)
    except _NO_FACTORS:
        return None
    finite = bool(change.a.isfinite().all()) and bool(change.b.isfinite().all())
    return change if finite and change.norm <= torch.finfo(change.a.dtype).max else None


def _merged(adapters: Sequence[Adapter], module: str, asked: Asked, ground: Ground | None) -> Change:
    """One module's change."""
    if (kept := _as_it_is(adapters, module, asked)) is not None:
        return kept
    made = next(adapter.changes[module] for adapter in adapters if module in adapter.changes)
    if asked.method.startswith("peft-"):
        b, a = peft_factors(adapters, module, asked)
        return Change(
            module, a, b, float(a.shape[0]), made.is_embedding, 0.0, _length(Factored(b.double(), a.double()))
        )
    parts = factors_of_module(adapters, module, ground)
    wanted = _wanted(adapters, module, parts, asked)
    exact = asked.method in ("cat", "knots", "core-space") and asked.rank is None and asked.energy is None
    if exact and isinstance(wanted, Factored):
        return _stored(adapters, module, wanted, 0.0, _length(wanted))
    found = wanted if isinstance(wanted, Triplets) else triplets_of_factors(wanted)
    most = asked.rank
    if most is None and asked.energy is None and asked.cuts:
        most = max(part.rank for part in parts)
    cut, error = cut_to(found, leading(found.sigma, most, asked.energy))
    return _stored(adapters, module, balanced(cut), error, float(torch.linalg.vector_norm(found.sigma)))


def _as_it_is(adapters: Sequence[Adapter], module: str, asked: Asked) -> Change | None:
    """The factors of the only adapter that changes a module, where the method gives just them; `None` elsewhere."""
    holders = [i for i, adapter in enumerate(adapters) if module in adapter.changes]
    if len(holders) != 1 or asked.weights[holders[0]] != 1:
        return None
    change = adapters[holders[0]].changes[module]
    if change.magnitude is not None:
        return None
    linear = asked.averages and asked.method != "linear" and not asked.settings
    if not linear and not (len(adapters) == 1 and _keeps_everything(asked)):
        return None
    if asked.energy is not None or (asked.rank is not None and asked.rank < change.rank):
        return None
    a, b = (adapters[holders[0]].read(spec.name).clone() for spec in (change.a, change.b))
    norm = _length(Factored(b.double(), a.double() * change.scale))
    return Change(module, a, b, change.scale * change.rank, change.is_embedding, 0.0, norm)


def _keeps_everything(asked: Asked) -> bool:
    """Whether a method without settings gives the only adapter back: nothing is trimmed, drawn or scaled."""
    if asked.method not in _IDENTICAL or (asked.method in ("knots", "core-space") and asked.inner not in _IDENTICAL):
        return False
    dropping = ("lambda_", "normalize", "rescale")
    return all(value == 1 for key, value in asked.settings.items() if key == "density") and not any(
        key in asked.settings for key in dropping
    )


def _wanted(adapters: Sequence[Adapter], module: str, parts: list[Factored], asked: Asked) -> Factored | Triplets:
    """The merged change before it is cut to a rank."""
    labels = [adapter.label for adapter in adapters]
    if asked.method in ("cat", "svd"):
        return weighted_sum(parts, asked.weights)
    if asked.method == "knots":
        basis = shared_basis_of_factors(parts)
        merged = _in_basis(basis.coordinates(False), labels, module, asked)
        return Factored(basis.u * basis.sigma, merged.reshape(len(basis.sigma), parts[0].shape[1]))
    if asked.method == "core-space":
        space = core_space(parts)
        return space.lifted(run_method(asked.inner, list(space.cores), labels, module, asked))
    return triplets(run_method(asked.method, [part.product() for part in parts], labels, module, asked))


def _in_basis(rows: Tensor, labels: Sequence[str], module: str, asked: Asked) -> Tensor:
    """The coordinates of all adapters, `[K, r·n]`, as one; TIES as `methods.knots` has it."""
    if asked.inner != "ties":
        return run_method(asked.inner, list(rows), labels, module, asked)
    density = asked.settings.get("density", 1.0)
    densities = list(density) if isinstance(density, Sequence) else [float(density)] * len(rows)
    weights = torch.tensor(asked.weights, dtype=torch.float64)
    merged = average_agreeing(keep_top(rows, densities), weights, bool(asked.settings.get("normalize", True)))
    return merged * float(asked.settings.get("lambda_", 1.0))


def check_settings(asked: Asked, adapters: int) -> None:
    """Try the method on a small change of every adapter, so that what it does not take is told before any work.

    Raises:
        UsageError: settings that it does not have, or out of their range.
    """
    labels = [f"adapter {number}" for number in range(1, adapters + 1)]
    small = [torch.eye(2, dtype=torch.float64)] * adapters
    if (name := asked.element_wise) is not None:
        run_method(name, small, labels, "trial", asked)
        return
    peft = asked.method.removeprefix("peft-")
    takes = ("density",) if asked.method != peft and peft != "linear" else ()
    unknown = sorted(key for key in asked.settings if key not in takes)
    density = asked.settings.get("density", 1.0)
    faults = [
        Fault("unknown-parameter", f"{asked.method} takes no `{key.rstrip('_')}`", subject=key) for key in unknown
    ]
    if takes and not (isinstance(density, int | float) and 0 < density <= 1):
        message = f"`density` must be one number above 0 and at most 1; found {density!r}"
        faults.append(Fault("out-of-range", message, subject="density"))
    if faults:
        raise UsageError(faults)


def run_method(name: str, values: list[Tensor], labels: Sequence[str], module: str, asked: Asked) -> Tensor:
    """A method of recipes on changes, whose base is 0, in float64."""
    method = methods.get(name)
    settings = dict(asked.settings)
    if method.spec.param("weight") is not None:
        settings["weight"] = list(asked.weights)
    base = None if method.spec.base == "input" or name == "linear" else torch.zeros_like(values[0])
    given: dict[str, Any] = {"names": list(labels), "tensor_name": f"{module}.weight", "seed": asked.seed}
    return method(values, base=base, **given, **settings)


def _stored(adapters: Sequence[Adapter], module: str, found: Factored, error: float, norm: float) -> Change:
    """Factors in the dtype in which they are written; one of rank 0 is written as one of rank 1 that is zero."""
    made = [adapter.changes[module] for adapter in adapters if module in adapter.changes]
    wide = any(spec.dtype == "float64" for change in made for spec in change.specs)
    dtype = torch.float64 if wide else torch.float32
    b, a = found.b, found.a
    if not found.rank:
        b, a = torch.zeros(found.shape[0], 1), torch.zeros(1, found.shape[1])
    return Change(module, a.to(dtype), b.to(dtype), float(a.shape[0]), made[0].is_embedding, error, norm)


def _length(matrix: Factored) -> float:
    """‖B A‖ = √ Σ (BᵀB ∘ A Aᵀ)."""
    return math.sqrt(max(0.0, float(((matrix.b.mT @ matrix.b) * (matrix.a @ matrix.a.mT)).sum())))
