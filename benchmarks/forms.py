"""The forms that a method's arithmetic has, each bound to tiles in memory: eager, fused, compiled by torch."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from recipes import SETTINGS, Setting, has_base, settings, tunes_of
from torch import Tensor

from cuvee import fused, methods
from cuvee.fused.model import FusedRound
from cuvee.methods import Job
from cuvee.methods.call import bind
from cuvee.methods.job import argument
from cuvee.methods.tiles import Tally, combine_tile, mask_keys, stack_of, tile_ranges
from cuvee.planning import DEFAULT_TILE
from cuvee.tensors.random import _GAMMA, _MIX_1, _MIX_2
from cuvee.tensors.rounding import round_to

_BITS = {torch.bfloat16: torch.uint16, torch.float32: torch.uint32}
COMBINE = "combine"
MATRIX = 1 << 20
"""Most entries of a tensor for methods that work on rows or matrices, which is square."""
_CONSTANTS = tuple(torch.tensor(number) for number in (_GAMMA, _MIX_1, _MIX_2))


@dataclass(frozen=True)
class Bed:
    """One tensor of every model, in memory.

    Attributes:
        method: name of the method.
        rows: `[K, n]`, the base first where there is one.
        tunes: how many of the rows are the models of the recipe.
        job: the method's view of the tensor.
        collected: what was collected of each model, for methods that ask for it.
    """

    method: str
    rows: Tensor
    tunes: int
    job: Job
    collected: tuple[Tensor, ...] = ()

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The tiles."""
        return tile_ranges(self.job.numel, DEFAULT_TILE, self.job.grain)

    @property
    def base(self) -> Tensor | None:
        """The row that the method subtracts or starts from, if the recipe has one besides its models."""
        return self.rows[0] if len(self.rows) > self.tunes else None

    def stack(self, start: int, stop: int) -> Tensor:
        """A tile as the eager form sees it."""
        values = list(self.rows[len(self.rows) - self.tunes :, start:stop])
        base = None if self.base is None else self.base[start:stop]
        return stack_of(methods.get(self.method), values, base, self.job.dtype)

    def beside(self, start: int, stop: int) -> list[Tensor] | None:
        """What was collected about a tile: of each entry, or all of it where it is a matrix."""
        return [one[start:stop] if one.dim() == 1 else one for one in self.collected] or None


def bed_of(method: str, entries: int, dtype: torch.dtype) -> Bed:
    """Random models as in the large benchmark: a base, and fine-tunes with noise of a tenth of its size."""
    made = torch.Generator().manual_seed(0)
    spec = methods.get(method).spec
    side = math.isqrt(min(entries, MATRIX))
    shape = (entries,) if spec.scope == "element" and not spec.collected else (side, side)
    entries = math.prod(shape)
    base = torch.randn(entries, generator=made) * 0.02
    tunes = tunes_of(method)
    rows = [base + torch.randn(entries, generator=made) * 0.002 for _ in range(tunes)]
    rows = [base, *rows] if has_base(method) else rows
    inputs = tunes - 1 if SETTINGS.get(method, Setting()).base_is_a else tunes
    shared, each = settings(method, inputs)
    given = {argument(k): v for k, v in shared.items()}
    given |= {argument(k): [one[k] for one in each] for k in each[0]}
    bound = bind(spec, given, inputs, torch.device("cpu"))
    job = Job(bound, entries, torch.float32, mask_keys(0, "abc"[:inputs], "tensor"), shape, spec.scope)
    drawn = [torch.randn(shape, generator=made) for _ in range(inputs if spec.collected else 0)]
    collected = tuple((one.T @ one / side) if spec.collected == "gram" else one.square().flatten() for one in drawn)
    return Bed(method, torch.stack(rows).to(dtype), inputs, job, collected)


Passes = dict[str, float]
"""Seconds by pass: `pass 1` …, then `combine`."""


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the seconds it took."""
    begin = time.perf_counter()
    found = action()
    return found, time.perf_counter() - begin


def eager(bed: Bed) -> Passes:
    """The definition, tile by tile, the way that the engine runs it."""
    method, taken, known, done = methods.get(bed.method), {}, None, 0
    while (following := method.measure(bed.job, done, known)) is not None:

        def look(following: Any = following, known: Any = known) -> Any:
            tally = Tally()
            for start, stop in bed.ranges:
                tally.add(following.observe(bed.stack(start, stop), start, bed.job, known))
            return following.conclude(tally.total(), bed.job, known)

        known, taken[f"pass {done + 1}"] = timed(look)
        done += 1

    def combine() -> None:
        for start, stop in bed.ranges:
            base = None if bed.base is None else bed.base[start:stop]
            merged = combine_tile(method, bed.stack(start, stop), base, start, bed.job, known, bed.beside(start, stop))
            round_to(merged, bed.rows.dtype)

    _, taken[COMBINE] = timed(combine)
    return taken


def fused_form(bed: Bed) -> Passes:
    """The fused form, on tiles copied to memory of its own as the engine's reading does."""
    form, taken, known, done = fused.form_of(bed.method), {}, None, 0
    bits = bed.rows.view(_BITS[bed.rows.dtype]).numpy()
    while (following := form.measure(bed.job, done, known)) is not None:

        def look(following: Any = following, known: Any = known) -> Any:
            tally = Tally()
            for runs in [following.sample] if getattr(following, "sample", None) else [[run] for run in bed.ranges]:
                if isinstance(following, FusedRound):
                    tally.add(following.observe(_copied(bits, runs), runs[0][0])[0])
                else:
                    tally.add(following.observe(bed.stack(*runs[0]), runs[0][0], bed.job, known))
            return following.conclude(tally.total(), bed.job, known)

        known, taken[f"pass {done + 1}"] = timed(look)
        done += 1
    out = np.empty(min(DEFAULT_TILE, bed.job.numel), bits.dtype)

    def combine() -> None:
        merge = form.combiner(bed.job, known)
        for start, stop in bed.ranges:
            merge(_copied(bits, [(start, stop)]), start, out[: stop - start])

    _, taken[COMBINE] = timed(combine)
    return taken


def _copied(bits: Any, runs: Any) -> Any:
    return np.concatenate([bits[:, start:stop] for start, stop in runs], axis=1)


@dataclass(frozen=True)
class Compiled:
    """The combination of one tile by `torch.compile`: seconds to compile, and per tile then; same bytes as eager?"""

    compiling: float
    per_tile: float
    same: bool


def compiled_by_torch(bed: Bed, repeats: int) -> Compiled:
    """Stack, combine and round in one compiled function; what the passes find is given, draws are made inside.

    The first tile is taken again and again, so that its start is one constant and nothing is compiled twice.
    """
    tile = _tile_of(bed, _known(bed))
    torch.compiler.reset()
    logging.getLogger("torch").setLevel(logging.CRITICAL)  # what cannot be compiled is told in the table
    made = torch.compile(tile, dynamic=False)
    _, compiling = timed(made)
    same = torch.equal(made(), tile())
    return Compiled(compiling, min(timed(made)[1] for _ in range(repeats)), same)


def _tile_of(bed: Bed, known: Any) -> Callable[[], Tensor]:
    """The eager combination of the first tile as a function of nothing."""
    method, (start, stop) = methods.get(bed.method), bed.ranges[0]
    given = {k: v.to(bed.job.dtype) if isinstance(v, Tensor) else v for k, v in bed.job.settings.items()}
    given = {k: v for k, v in (given | {"statistics": known, "start": start}).items() if k in method.wants}
    keys = [torch.tensor(key) for key in bed.job.keys] if "draws" in method.wants else []

    def tile() -> Tensor:
        drawn = {"draws": torch.stack([_uniform(key, start, stop) for key in keys])} if keys else {}
        merged = method.combine(bed.stack(start, stop), **given, **drawn)
        added = merged if method.spec.space == "weight" else bed.rows[0, start:stop].to(bed.job.dtype) + merged
        return added.to(bed.rows.dtype)

    return tile


def _uniform(key: Tensor, start: int, stop: int) -> Tensor:
    """`cuvee.tensors.uniform` as torch operations; constants are tensors, for the compiler folds numbers too wide."""
    gamma, mix_1, mix_2 = _CONSTANTS
    z = torch.arange(start // 2 + 1, (stop + 1) // 2 + 1) * gamma + key
    for shift, mix in ((30, mix_1), (27, mix_2)):
        z = (z ^ ((z >> shift) & ((1 << (64 - shift)) - 1))) * mix
    halves = (z ^ ((z >> 31) & ((1 << 33) - 1))).view(torch.int32)
    return ((halves[: stop - start] >> 8) & 0xFFFFFF).float() * 2.0**-24


def _known(bed: Bed) -> Any:
    """What the eager passes find of the first tile, taken as a tensor of its own."""
    method, known, done = methods.get(bed.method), None, 0
    start, stop = bed.ranges[0]
    job = replace(bed.job, numel=stop - start)
    while (following := method.measure(job, done, known)) is not None:
        known = following.conclude(following.observe(bed.stack(start, stop), start, job, known), job, known)
        done += 1
    return known
