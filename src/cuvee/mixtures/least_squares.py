"""Routers as a linear least-squares fit: of which expert's prompts is a state?

    W = argmin  Σ_g mean over x in g of ‖W x − y_g‖²  +  λ ‖W‖²,   λ = 0.03 · mean of the diagonal of G
    W = Y Xᵀ (G + λ I)⁻¹,   G = Σ_g mean of x xᵀ,   Y Xᵀ = Σ_g y_g (mean of x)ᵀ

x are the states that enter a layer's MLP, which is what its router is given, at every position of a prompt. A group g
is all positive, or all negative, prompts of an expert, and weighs the same whatever its length. y_g is what should be
sent to each expert, minus 1/n: positive prompts to their expert, negative ones to all others alike.

Where a mean of states gives every direction the same say, the fit turns to those in which the groups differ and away
from those in which one group's states differ among themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

RIDGE: Final = 0.03
"""λ, in units of the mean square of an entry. From 0.003 to 0.1 routing hardly changes."""
NOTHING: Final = 1e-9
"""What is answered to every state by a row that tells nothing."""

Group = tuple["Tensor", "Tensor"]
"""States `[tokens, width]`, and what should be answered to them `[experts]`."""


def target(number: int, count: int, *, positive: bool) -> Tensor:
    """What should be answered to an expert's prompts, float64 `[count]`: shares that add up to 1, minus 1/count.

    One expert alone gets 1 for its positive prompts and 0 for its negative ones.
    """
    import torch

    if count == 1:
        return torch.full((1,), float(positive), dtype=torch.float64)
    shares = torch.full((count,), 0.0 if positive else 1 / (count - 1), dtype=torch.float64)
    shares[number] = float(positive)
    return shares - 1 / count


def fitted(groups: Sequence[Group]) -> Tensor:
    """The rows of one router.

    Args:
        groups: the states of one layer with what should be answered to them.

    Returns:
        float64 `[experts, width]`.
    """
    import torch

    experts, width = len(groups[0][1]), groups[0][0].shape[1]
    gram = torch.zeros(width, width, dtype=torch.float64)
    cross = torch.zeros(width, experts, dtype=torch.float64)
    for states, wanted in groups:
        rows = states.double()
        gram += rows.T @ rows / len(rows)
        cross += torch.outer(rows.mean(0), wanted)
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    solved: Tensor = torch.linalg.solve(gram, cross)
    return solved.T


def silent_rows(rows: Tensor, groups: Sequence[Group]) -> list[int]:
    """The rows that answer nothing to any state, as where the prompts of all experts are the same."""
    loudest = [max(float((states.double() @ row).abs().max()) for states, _ in groups) for row in rows]
    return [number for number, answer in enumerate(loudest) if answer <= NOTHING]


def groups_of(
    prompts: Sequence[tuple[Sequence[Mapping[int, Tensor]], Sequence[Mapping[int, Tensor]]]], layer: int
) -> Iterator[Group]:
    """The groups of one layer.

    Args:
        prompts: for every expert the states of its positive and of its negative prompts, by layer.
        layer: the layer.
    """
    import torch

    for number, (wanted, unwanted) in enumerate(prompts):
        for states, positive in ((wanted, True), (unwanted, False)):
            if states:
                yield torch.cat([one[layer] for one in states]), target(number, len(prompts), positive=positive)
