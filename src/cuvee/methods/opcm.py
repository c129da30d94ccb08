"""OPCM: one model after the other, each without what lies along the singular directions of those before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cuvee import tensors
from cuvee.methods.declare import merge_method
from cuvee.methods.matrices import NULL, SPECTRAL_LAWS, VECTORS, decompositions, held
from cuvee.types import Cite, Param

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.methods.job import Job

OPCM = Cite(
    "Tang et al. 2025, Merging models on the fly without retraining: a sequential approach to scalable continual model "
    "merging",
    arxiv="2501.09522",
)
ALPHA = Param(
    "alpha",
    "float",
    "share of the sum of singular values up to which the leading directions of what is merged are closed altogether",
    default=0.5,
    low=0.0,
    high=1.0,
)
MERGED_BEFORE = Param(
    "merged_before",
    "int",
    "of how many models the first one is the result of an earlier opcm merge; 0 where it is a model like the others",
    default=0,
    low=0,
)
MERGED_SCALE = Param(
    "merged_scale",
    "float",
    "with merged_before: how many times the sum of all projected deltas was as long as the earlier result (the paper's "
    "λ). The result does not tell it; 0 takes √merged_before, which it is where all deltas were of one length and "
    "nothing of them was taken away",
    default=0.0,
    low=0.0,
)


def scale_rule(settings: Mapping[str, Any]) -> str | None:
    """A scale is that of an earlier merge."""
    if settings["merged_scale"] and not settings["merged_before"]:
        return (
            f"merged_scale ({settings['merged_scale']:g}) is that of an earlier merge: merged_before must be given too"
        )
    return None


@dataclass(frozen=True)
class Before:
    """What is known of an earlier merge: of how many models, and how much longer than its result their sum was."""

    models: int
    scale: float


@merge_method(
    family="spectral",
    space="delta",
    scope="matrix",
    base="required",
    models=(1, None),
    formula="S₁ = δ₁;   Sₜ = Sₜ₋₁ + P(δₜ), one model after the other in the order of the recipe\n"
    "P(δ) = δ − Σ (uᵢᵀδ vⱼ) uᵢvⱼᵀ over i = j and over i, j ≤ l, with Sₜ₋₁ = Σ sᵢ uᵢvᵢᵀ and l the most leading s that "
    "make up at most alpha of their sum\n"
    "y = b + S_N · (Σ ‖δₜ‖/N) / ‖S_N‖;   vectors: y = b + Σ δₜ/N",
    params=(ALPHA, MERGED_BEFORE, MERGED_SCALE),
    rule=scale_rule,
    holds=held(2),
    operations=decompositions(-1, 1),
    laws=("identity", "copies", "rotation-of-inputs", *SPECTRAL_LAWS),
    cite=(OPCM,),
    differs=(
        NULL,
        VECTORS,
        "Lengths are those of each tensor; the authors' code takes one length over all tensors of a model, so that its "
        "tensors keep their shares of it.",
        "The authors' code merges all but linear layers by adding them up, under the length of the whole model.",
        "At alpha 1 all directions are closed; the authors' code, which looks for a share above 1, then closes none.",
        "The paper scales after every model. The directions of a sum do not depend on its length, so only the last "
        "scaling counts, and is the only one here.",
    ),
    cost="one singular value decomposition in float64 of every matrix for every model but the first: time grows with "
    "min(m, n)²·max(m, n).",
)
def opcm(deltas: Tensor, alpha: float, merged_before: int, merged_scale: float, job: Job) -> Tensor:
    """Fold the models in one after the other, each off the directions that are taken, at the mean length.

    Sections 4.2 and 4.3 of the paper. Adding models to an earlier result continues the fold: with the number of its
    models and its `merged_scale` λ the result is that of all models at once. Of the earlier lengths nothing else has to
    be known, because the result has their mean.

    Args:
        deltas: `[K, m, n]`, model minus base, in the order of the recipe.
        alpha: share of the singular values whose directions are closed, [0, 1].
        merged_before: models of which the first delta is an earlier result; 0 for none.
        merged_scale: the earlier λ; 0 for √merged_before.
        job: says whether the tensor is a matrix.

    Returns:
        The merged delta, `[m, n]`.
    """
    first = max(1, merged_before)
    before = Before(first, merged_scale or first**0.5)
    count = first + len(deltas) - 1
    shares = [first / count, *[1 / count] * (len(deltas) - 1)]

    def merge(matrices: tensors.Matrices) -> Tensor:
        return folded(matrices, alpha, before)

    return tensors.merge_matrices(deltas, job.shape, merge, shares=shares)


def folded(matrices: tensors.Matrices, alpha: float, before: Before) -> Tensor:
    """The sum of all projected deltas, at the mean of their lengths, `[m, n]`."""
    each = iter(matrices)
    total = next(each)
    lengths = before.models * tensors.length(total)
    total.mul_(before.scale)
    for delta in each:
        lengths += tensors.length(delta)
        total += tensors.off_the_known(delta, total, alpha)
    long = tensors.length(total)
    return total.mul_(lengths / (before.models + len(matrices) - 1) / long) if long else total
