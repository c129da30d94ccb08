"""A fused form run by hand, tile by tile, beside the plain one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cuvee import methods
from cuvee.fused import form_of
from cuvee.fused.model import FusedRound
from cuvee.methods import Job
from cuvee.methods.tiles import Tally, combine_tile, stack_of, tile_ranges
from cuvee.tensors.rounding import round_to

_ROWS = {torch.bfloat16: torch.uint16, torch.float32: torch.uint32}


def rows_of(values: Sequence[Tensor]) -> np.ndarray:
    stacked = torch.stack(list(values))
    return stacked.view(_ROWS[stacked.dtype]).numpy()


def merge_fused(name: str, values: Sequence[Tensor], base: Tensor | None, job: Job, tile: int, out: torch.dtype):
    """The merged tensor, what the passes found, and the passes that were plain."""
    form, method = form_of(name), methods.get(name)
    rows = rows_of([*(() if base is None else (base,)), *values])
    known: Any = None
    plain = []
    done = 0
    while (following := form.measure(job, done, known)) is not None:
        tally = Tally()
        for start, stop in _shown(following, job, tile):
            if isinstance(following, FusedRound):
                partial = following.observe(_pick(rows, following, start, stop), start)[0]
            else:
                cut = None if base is None else base[start:stop]
                stack = stack_of(method, [v[start:stop] for v in values], cut, job.dtype)
                partial = following.observe(stack, start, job, known)
                plain.append(done)
            tally.add(partial)
        known = following.conclude(tally.total(), job, known)
        done += 1
    merged = torch.empty(job.numel, dtype=out)
    bits = merged.view(_ROWS[out]).numpy()
    combine = form.combiner(job, known)
    for start, stop in tile_ranges(job.numel, tile):
        combine(np.ascontiguousarray(rows[:, start:stop]), start, bits[start:stop])
    return merged, known, sorted(set(plain))


def _shown(following: Any, job: Job, tile: int) -> list[tuple[int, int]]:
    return [(0, 0)] if getattr(following, "sample", None) else tile_ranges(job.numel, tile)


def _pick(rows: np.ndarray, following: FusedRound, start: int, stop: int) -> np.ndarray:
    if following.sample is None:
        return np.ascontiguousarray(rows[:, start:stop])
    return np.concatenate([rows[:, a:b] for a, b in following.sample], axis=1)


def merge_plain(name: str, values: Sequence[Tensor], base: Tensor | None, job: Job, tile: int, out: torch.dtype):
    """The definition, and what its passes found."""
    method = methods.get(name)
    known: Any = None
    done = 0
    ranges = tile_ranges(job.numel, tile)

    def stack(start: int, stop: int) -> Tensor:
        return stack_of(method, [v[start:stop] for v in values], None if base is None else base[start:stop], job.dtype)

    while (following := method.measure(job, done, known)) is not None:
        tally = Tally()
        for start, stop in ranges:
            tally.add(following.observe(stack(start, stop), start, job, known))
        known = following.conclude(tally.total(), job, known)
        done += 1
    pieces = [combine_tile(method, stack(a, b), None if base is None else base[a:b], a, job, known) for a, b in ranges]
    return round_to(torch.cat(pieces), out), known
