"""The ways in which `compose` thins deltas: what each must know first, and which entries it keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cuvee import tensors
from cuvee.methods.breadcrumbs import keep_inner
from cuvee.methods.dare_linear import drop_and_rescale
from cuvee.methods.della_linear import drop_by_rank
from cuvee.methods.gain import Trim, gain_round
from cuvee.methods.job import Job, Round
from cuvee.methods.outliers import outliers_first
from cuvee.methods.ties import keep_trimmed
from cuvee.methods.trim import trim_first
from cuvee.methods.trim_whole import keep_whole

if TYPE_CHECKING:
    from torch import Tensor

    from cuvee.tensors import Cut

RANDOM: Final = ("random", "ranks")
"""Values of `sparsify` that draw."""


@dataclass(frozen=True)
class Thinning:
    """How a tile is thinned.

    Attributes:
        sparsify: which entries stay.
        divides: divide what stays by its probability.
        density: kept fraction of every model, `[K]`.
        epsilon: half the width of the window of probabilities, `[K]`.
        start: first element of the tile.
        cut: of the tensor, for those that cut it.
        whole: of the whole model.
        draws: uniform in [0, 1), of the shape of the tile, for those that draw.
    """

    sparsify: str
    divides: bool
    density: Tensor
    epsilon: Tensor
    start: int
    cut: Cut | None
    whole: Cut | None
    draws: Tensor | None


def thinned(deltas: Tensor, how: Thinning) -> Tensor:
    """What stays of the deltas, zeros elsewhere."""
    return _KEEP[how.sparsify](deltas, how)


def thinning_first(job: Job, known: Any) -> Round | None:
    """The next pass: towards the cut, then, with `rescale: norm`, for the L1 norms."""
    first = _FIRST.get(job.settings["sparsify"])
    following = first(job, known) if first is not None and not isinstance(known, Trim) else None
    if following is not None:
        return following
    return gain_round(_thin) if job.settings["rescale"] == "norm" and not isinstance(known, Trim) else None


def _thin(deltas: Tensor, start: int, job: Job, cut: Cut | None) -> Tensor:
    """A tile in a pass thinned as it will be when it is combined."""
    settings = job.settings
    density, epsilon = (settings[name].to(deltas.dtype).to(deltas.device) for name in ("density", "epsilon"))
    sparsify = settings["sparsify"]
    draws = tensors.uniform_like(deltas, job.keys, start) if sparsify in RANDOM else None
    return thinned(deltas, Thinning(sparsify, False, density, epsilon, start, cut, job.whole, draws))


def _randomly(deltas: Tensor, how: Thinning) -> Tensor:
    assert how.draws is not None, "drawn where they are asked for"
    return drop_and_rescale(deltas, how.density, how.divides, how.draws)


def _by_rank(deltas: Tensor, how: Thinning) -> Tensor:
    assert how.draws is not None, "drawn where they are asked for"
    return drop_by_rank(deltas, how.density, how.epsilon, how.divides, how.draws)


_FIRST: Final[Mapping[str, Callable[[Job, Any], Round | None]]] = {
    "magnitude": trim_first,
    "outliers": outliers_first,
}
_KEEP: Final[Mapping[str, Callable[[Tensor, Thinning], Tensor]]] = {
    "none": lambda deltas, _how: deltas,
    "magnitude": lambda deltas, how: keep_trimmed(deltas, how.start, how.cut),
    "magnitude_of_model": lambda deltas, how: keep_whole(deltas, how.whole),
    "random": _randomly,
    "outliers": lambda deltas, how: keep_inner(deltas, how.start, how.cut),
    "ranks": _by_rank,
}
