"""The methods that have a fused form, bound to the settings of a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from cuvee.fused import angles, elect, weighted
from cuvee.fused.model import Fused, FusedRound
from cuvee.fused.threshold import cut_first
from cuvee.methods import Job, Round, slerp, ties
from cuvee.methods.gain import Trim
from cuvee.tensors import BLOCK, Blocks, Cut

if TYPE_CHECKING:
    from cuvee.fused.model import Combine, Row, Rows

Floats = NDArray[np.float32]


def _floats(values: torch.Tensor) -> Floats:
    """Settings rounded to the dtype of the arithmetic, as the plain form has them."""
    found: Floats = values.to(torch.float32).numpy()
    return found


def _divisor(job: Job) -> np.float32:
    """Σ w as torch adds it up, or 1, which divides nothing."""
    return np.float32(job.settings["weight"].float().sum().item()) if job.settings["normalize"] else np.float32(1)


def _scale(job: Job) -> np.float32:
    return np.float32(job.settings["lambda_"])


def _linear(job: Job, _known: Any) -> Combine:
    weight, divisor = _floats(job.settings["weight"]), _divisor(job)
    return lambda rows, _start, out: int(weighted.sum_models(rows, weight, divisor, out))


def _slerp(_job: Job, known: tuple[float, float]) -> Combine:
    coefficients = np.array(known, np.float32)
    return lambda rows, _start, out: int(weighted.sum_models(rows, coefficients, np.float32(1), out))


def _task_arithmetic(job: Job, _known: Any) -> Combine:
    weight, divisor, scale = _floats(job.settings["weight"]), _divisor(job), _scale(job)
    return lambda rows, _start, out: int(weighted.sum_deltas(rows, weight, divisor, scale, out))


def _ties(job: Job, known: Cut | Trim | None) -> Combine:
    weight, scale, normalize = _floats(job.settings["weight"]), _scale(job), bool(job.settings["normalize"])
    cut = known.cut if isinstance(known, Trim) else known
    gain = known.gain if isinstance(known, Trim) else None
    gains = np.ones(len(weight), np.float32) if gain is None else _floats(gain)
    thresholds = np.zeros(len(weight), np.uint32) if cut is None else _floats(cut.threshold).view(np.uint32)
    edges = (cut and cut.edges) or ((job.numel // BLOCK + 1, 0),) * len(weight)
    edge, quota = (np.array(part, np.int64) for part in zip(*edges, strict=True))

    def combine(rows: Rows, start: int, out: Row) -> int:
        return int(
            elect.trim_and_elect(
                rows, weight, thresholds, edge * BLOCK, quota, gains, scale, normalize, np.int64(start), out
            )
        )

    return combine


def _drawn(job: Job) -> tuple[Floats, Floats, NDArray[np.uint64], Floats]:
    """Weights, densities, random streams, and what is divided by."""
    density = _floats(job.settings["density"])
    keys = np.array([key % (1 << 64) for key in job.keys], np.uint64)
    return _floats(job.settings["weight"]), density, keys, density if job.settings["rescale"] else np.ones_like(density)


def _dare_ties(job: Job, _known: Any) -> Combine:
    (weight, density, keys, divisor), scale = _drawn(job), _scale(job)
    normalize = bool(job.settings["normalize"])

    def combine(rows: Rows, start: int, out: Row) -> int:
        return int(elect.drop_and_elect(rows, weight, density, keys, divisor, scale, normalize, np.int64(start), out))

    return combine


def _dare_linear(job: Job, _known: Any) -> Combine:
    (weight, density, keys, divisor), scale, total = _drawn(job), _scale(job), _divisor(job)

    def combine(rows: Rows, start: int, out: Row) -> int:
        return int(elect.drop_and_add(rows, weight, density, keys, divisor, total, scale, np.int64(start), out))

    return combine


def _nothing_first(_job: Job, _done: int, _known: Any) -> None:
    """For methods that need to know nothing beforehand."""


def _angle_first(_job: Job, done: int, _known: Any) -> FusedRound | None:
    return FusedRound(_inner_products, slerp.coefficients) if done == 0 else None


def _inner_products(rows: Rows, start: int) -> tuple[Blocks, int]:
    pairs, blocks = len(rows) * (len(rows) + 1) // 2, -(-rows.shape[1] // BLOCK)
    out = np.empty((pairs, blocks), np.float64)
    worst = angles.inner_products(rows, out)
    return Blocks.at(start, torch.from_numpy(out)), int(worst)


def _cut_and_gain_first(job: Job, done: int, known: Any) -> FusedRound | Round | None:
    """The passes for the cut by the fast way, then the plain one for the L1 norms when `rescale` is on."""
    if isinstance(known, Cut | Trim):
        return ties.gain_first(job, known)
    return cut_first(job, done, known)


FORMS: Final = {
    "linear": Fused(_linear, _nothing_first),
    "slerp": Fused(_slerp, _angle_first),
    "task_arithmetic": Fused(_task_arithmetic, _nothing_first),
    "ties": Fused(_ties, _cut_and_gain_first),
    "dare_ties": Fused(_dare_ties, _nothing_first),
    "dare_linear": Fused(_dare_linear, _nothing_first),
}
"""By the method's name."""
