"""DoRA's change of a module, which depends on the base: worked out on it, as factors of full rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from cuvee.checkpoint.adapter import Adapter
from cuvee.checkpoint.adapter_fit import Fit, fit_adapter
from cuvee.checkpoint.adapter_tensors import LowRank
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault
from cuvee.tensors.factored import Factored, balanced
from cuvee.tensors.lowrank import triplets


@dataclass(frozen=True)
class Ground:
    """The base of some adapters, and where each adapter's modules stand in it, by the adapter's label."""

    base: Reader
    fits: Mapping[str, Fit]

    @property
    def faults(self) -> list[Fault]:
        """What does not fit the base."""
        return [fault for fit in self.fits.values() for fault in fit.faults]


def ground_of(base: Reader, adapters: list[Adapter]) -> Ground:
    """Lay adapters over their base, those besides DoRA to see that it is theirs; headers are read."""
    return Ground(base, {one.label: fit_adapter(one, base) for one in adapters})


def dora_change(ground: Ground, adapter: Adapter, change: LowRank) -> Factored:
    """ΔW = m ⊙ V / ‖V‖ − W with V = W + s B A, the norm that of each output's weights, as triplets; float64.

    Args:
        ground: the base, on which the adapter has been laid.
        adapter: a DoRA adapter.
        change: one of its changes.

    Reference:
        Liu et al. 2024, arXiv 2402.09353, equation 5.
    """
    assert change.magnitude is not None
    placed = ground.fits[adapter.label].changes
    name = next(tensor for tensor, one in placed.items() if one.change.module == change.module)
    spec = ground.base.specs[name]
    stored = ground.base.read(name, 0, spec.numel).reshape(spec.shape).double()
    weight = stored.mT if placed[name].turned else stored
    a, b = (adapter.read(part.name).double() for part in (change.a, change.b))
    moved = weight + change.scale * (b @ a)
    lengths = adapter.read(change.magnitude.name).double().reshape(-1, 1)
    return balanced(triplets(lengths * moved / torch.linalg.vector_norm(moved, dim=1, keepdim=True) - weight))
