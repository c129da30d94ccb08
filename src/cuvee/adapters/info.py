"""What an adapter is: its settings, and the size and the effective rank of every module's change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cuvee.checkpoint.adapter import Adapter
from cuvee.checkpoint.adapter_tensors import LowRank


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """One module's change.

    Attributes:
        module: its name in the model as transformers builds it.
        shape: outputs by inputs; of an embedding, width by tokens.
        rank, alpha, scale: r, α and s of its configuration.
        norm: ‖s · B · A‖, Frobenius.
        effective_rank: the exponential of the entropy of its singular values; 0 for no change.
        dora: whether its outputs are given lengths besides.
    """

    module: str
    shape: tuple[int, int]
    rank: int
    alpha: float
    scale: float
    norm: float
    effective_rank: float
    dora: bool


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """An adapter.

    Attributes:
        kind: `LoRA`, `rsLoRA`, `DoRA`, or both of the last two.
        base: the model it was trained on, as PEFT wrote it down.
        ranks: rank → number of modules that have it.
        modules: every module's change.
        whole: names of the tensors that take the place of the base's.
        rows: module → number of tokens whose rows take the place of the base's.
        parameters, nbytes: of all its tensors.
        notes: what was passed over.
    """

    kind: str
    base: str | None
    ranks: Mapping[int, int]
    modules: tuple[ModuleFacts, ...]
    whole: tuple[str, ...]
    rows: Mapping[str, int]
    parameters: int
    nbytes: int
    notes: tuple[str, ...]


def facts_of(adapter: Adapter, progress: Callable[[int, int], None] | None = None) -> AdapterFacts:
    """Look at an adapter; its factors are read module by module.

    Raises:
        InputError: `bad-adapter`: factors that hold NaN or infinity.
    """
    adapter.check_finite()
    changes = list(adapter.changes.values())
    modules: list[ModuleFacts] = []
    for number, change in enumerate(changes, 1):
        modules.append(_module(adapter, change))
        if progress is not None:
            progress(number, len(changes))
    ranks = Counter(change.rank for change in changes)
    return AdapterFacts(
        _kind(adapter),
        adapter.base,
        dict(sorted(ranks.items())),
        tuple(modules),
        tuple(adapter.whole),
        {name: len(rows.tokens) for name, rows in adapter.rows.items()},
        sum(spec.numel for spec in adapter.specs.values()),
        sum(spec.nbytes for spec in adapter.specs.values()),
        adapter.notes,
    )


def singular_values(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """The singular values of s · B · A, from the factors.

        B = Q R,  Aᵀ = P S,  so that  s · B · A = Q (s · R Sᵀ) Pᵀ

    and those of the small matrix in the middle are those of the whole.

    Args:
        a: A, `[r, in]`.
        b: B, `[out, r]`.
        scale: s.

    Returns:
        `[≤ r]`, the largest first, in float64.
    """
    left = torch.linalg.qr(b.double(), mode="r").R
    right = torch.linalg.qr(a.double().mT, mode="r").R
    values: Tensor = torch.linalg.svdvals(left @ right.mT)
    return values * abs(scale)


def effective_rank(values: Tensor) -> float:
    """exp(−Σ pᵢ ln pᵢ) with pᵢ = σᵢ / Σ σ: how many directions a matrix has, counted by their weight.

    Args:
        values: singular values.

    Returns:
        From 1 to their number; 0 where all are 0.

    Reference:
        Roy and Vetterli, "The effective rank", EUSIPCO 2007, definition 1.

    Example:
        >>> effective_rank(torch.tensor([2.0, 2.0, 0.0]))
        2.0
    """
    total = float(values.sum())
    if total == 0:
        return 0.0
    shares = values[values > 0].double() / total
    return round(float(torch.exp(-(shares * shares.log()).sum())), 12)


def _module(adapter: Adapter, change: LowRank) -> ModuleFacts:
    values = singular_values(adapter.read(change.a.name), adapter.read(change.b.name), change.scale)
    shape = change.b.shape[0], change.a.shape[1]
    norm = float(values.square().sum().sqrt())
    made = change.rank, change.alpha, change.scale, norm, effective_rank(values), change.magnitude is not None
    return ModuleFacts(change.module, shape, *made)


def _kind(adapter: Adapter) -> str:
    dora = any(change.magnitude is not None for change in adapter.changes.values())
    stabilised = "rsLoRA" if adapter.settings.rank_stabilised else "LoRA"
    return f"{stabilised} with DoRA" if dora and stabilised == "rsLoRA" else "DoRA" if dora else stabilised
