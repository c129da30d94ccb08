"""What a recipe leaves to be found from the models before anything is merged: the first factor of layer scaling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cuvee import tensors
from cuvee.checkpoint.protocol import Reader
from cuvee.execute.ledger import Ledger
from cuvee.execute.single import single_threads
from cuvee.execute.surveying import survey
from cuvee.execute.work import Bench, read_tile, seen_by
from cuvee.methods import Method, Round
from cuvee.methods.tiles import Tally, combine_tile, findings, tile_ranges
from cuvee.planning.model import Plan, Step
from cuvee.planning.room import Workers
from cuvee.planning.scaling import is_settled, scaled, scaling_notes
from cuvee.planning.whole import merged_steps


def settle(plan: Plan, readers: Sequence[Reader], method: Method, *, seed: int, workers: Workers) -> Plan:
    """The plan with every factor of its layer scaling known.

    α = ‖Σ τᵢ‖₁ / (N ‖τ_merged‖₁) over all merged tensors, with the merged deltas of an unscaled merge: so that the
    first layer is changed by as much as by the mean of the task vectors. It is 1 where nothing changes.

    Args:
        plan: the plan.
        readers: the input models, in its order.
        method: the recipe's method.
        seed: seed of random masks.
        workers: how many, and their tiles; they change no bit of α.
    """
    scaling = plan.recipe.layer_scaling
    if scaling is None or is_settled(plan):
        return plan
    bench = Bench(plan, readers, _NoWriter(), method, Ledger(plan, hashes=False, progress=None), seed)
    bench = replace(bench, whole=survey(bench, threads=workers.threads, tile=workers.tile))
    alpha = _alpha(bench, workers)
    note = f"layer scaling: alpha was found to be {alpha:.6g}"
    open_still = set(scaling_notes(plan.recipe))
    notes = (*(one for one in plan.notes if one not in open_still), note)
    return replace(plan, steps=scaled(plan.steps, alpha, scaling.beta), notes=notes)


class _NoWriter:
    """Nothing is written while factors are found."""

    def write(self, name: str, start: int, values: Tensor) -> None:
        raise AssertionError(f"{name}: {len(values)} values at {start}")

    def digest(self, name: str) -> str:
        raise AssertionError(name)


def _alpha(bench: Bench, workers: Workers) -> float:
    steps = merged_steps(bench.plan.steps)
    with single_threads(workers.threads, "cuvee-settle") as pool:
        found = list(pool.map(lambda step: _norms(bench, step, workers.tile), steps))
    mean = math.fsum(summed / len(step.inputs) for step, (summed, _) in zip(steps, found, strict=True))
    merged = math.fsum(changed for _, changed in found)
    return mean / merged if merged > 0 else 1.0


@torch.no_grad()
def _norms(bench: Bench, step: Step, tile: int) -> tuple[float, float]:
    """‖Σ τᵢ‖₁ and ‖τ_merged‖₁ of one tensor."""
    job = bench.job(step)

    def shown(following: Round, known: object) -> object:
        return seen_by(following, bench, step, job, known, tile=tile)

    known = findings(bench.method.measure, job, shown)
    tally = Tally()
    for start, stop in tile_ranges(step.out.numel, tile, step.grain):
        part = read_tile(bench, step, start, stop, job, first=False)
        nothing = torch.zeros_like(part.stack[0])
        merged = combine_tile(bench.method, part.stack, nothing, start, job, known, part.collected)
        summed = tensors.weighted_sum(part.stack, part.stack.new_ones(len(part.stack)))
        tally.add(tensors.Blocks.of(torch.stack([summed, merged]).abs(), start))
    total = tally.total().total()
    return total[0], total[1]
