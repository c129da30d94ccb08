"""What a recipe leaves to be found from the models before anything is merged: factors of layer scaling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TypeAlias

import torch
from torch import Tensor

from cuvee import tensors
from cuvee.checkpoint.protocol import Reader
from cuvee.execute.ledger import Ledger, Progress
from cuvee.execute.single import single_threads
from cuvee.execute.surveying import survey
from cuvee.execute.work import Bench, read_tile, read_whole, seen_by
from cuvee.methods import Method, Round
from cuvee.methods.tiles import Tally, combine_tile, findings, tile_ranges
from cuvee.planning.model import Plan, Step
from cuvee.planning.room import Workers
from cuvee.planning.scaling import Layer, by_depth, by_layer, is_settled, larv, matrices_of_layers, scaling_notes
from cuvee.planning.whole import merged_steps
from cuvee.recipe.model import Larv
from cuvee.types import rows_of

Look: TypeAlias = Callable[[Step], tuple[float, float]]
"""What is seen of one tensor."""


def settle(
    plan: Plan,
    readers: Sequence[Reader],
    method: Method,
    *,
    seed: int,
    workers: Workers,
    allow_nonfinite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Plan:
    """The plan with every factor of its layer scaling known.

    LiNeS: α = ‖Σ τᵢ‖₁ / (N ‖τ_merged‖₁) over all merged tensors, with the merged deltas of an unscaled merge: so that
    the first layer is changed by as much as by the mean of the task vectors. It is 1 where nothing changes.

    LARV: see `planning.scaling.larv`.

    Args:
        plan: the plan.
        readers: the input models, in its order.
        method: the recipe's method.
        seed: seed of random masks.
        workers: how many, and their tiles; they change no bit of what is found.
        allow_nonfinite: let NaN and infinity pass: tensors that hold one then have no say in the factors.

        progress: called with every tensor that is looked at, from any thread.

    Raises:
        InputError: `non-finite`: LARV looks at a matrix that holds NaN or infinity.
    """
    scaling = plan.recipe.layer_scaling
    if scaling is None or is_settled(plan):
        return plan
    ledger = Ledger(plan, hashes=False, progress=progress)
    bench = Bench(plan, readers, _NoWriter(), method, ledger, seed, allow_nonfinite)
    if isinstance(scaling, Larv):
        factors = larv(plan, _contrasts(bench, workers), scaling)
        return _told(plan, by_layer(plan.steps, factors), "factors were found: " + _listed(factors))
    bench = replace(bench, whole=survey(bench, threads=workers.threads, tile=workers.tile))
    alpha = _alpha(bench, workers)
    return _told(plan, by_depth(plan.steps, alpha, scaling.beta), f"alpha was found to be {alpha:.6g}")


def _told(plan: Plan, steps: tuple[Step, ...], found: str) -> Plan:
    """The plan with its final steps, and a note of what was found in place of the one that it would be."""
    open_still = set(scaling_notes(plan.recipe))
    notes = (*(one for one in plan.notes if one not in open_still), f"layer scaling: {found}")
    return replace(plan, steps=steps, notes=notes)


def _listed(factors: Mapping[Layer, float]) -> str:
    """The factors of every stack, from its first layer to its last."""
    stacks: dict[str, list[str]] = {}
    for (stack, _), factor in sorted(factors.items()):
        stacks.setdefault(stack, []).append(f"{factor:.6g}")
    return "; ".join(f"{stack} {', '.join(of)}" for stack, of in stacks.items()) or "nothing changed in any layer"


def _contrasts(bench: Bench, workers: Workers) -> list[tuple[float, float]]:
    """Contrast and conflict of every matrix of a layer, each the mean over the models that changed it."""
    return _of_each(matrices_of_layers(bench.plan), lambda step: _contrast(bench, step), bench, workers)


def _of_each(steps: Sequence[Step], look: Look, bench: Bench, workers: Workers) -> list[tuple[float, float]]:
    """What is seen of every tensor, each by one worker; nothing more is begun after an interrupt."""

    def told(step: Step) -> tuple[float, float]:
        bench.ledger.looking_at(f"its layer's factor: {step.out.name}")
        return look(step)

    with single_threads(workers.threads, "cuvee-settle") as pool:
        return list(pool.map(told, steps))


@torch.no_grad()
def _contrast(bench: Bench, step: Step) -> tuple[float, float]:
    assert step.base is not None, "a method with a lambda has a base"
    rows, work = rows_of(step.out.shape), getattr(torch, step.work)
    base = read_whole(bench, step.base).view(rows)
    deltas = (read_whole(bench, piece).view(rows).to(work) - base.to(work) for piece in step.inputs)
    seen = [pair for pair in tensors.contrast_and_conflict(base, deltas) if not math.isnan(pair[0])]
    if not seen:
        return math.nan, math.nan
    return fmean(contrast for contrast, _ in seen), fmean(conflict for _, conflict in seen)


class _NoWriter:
    """Nothing is written while factors are found."""

    def write(self, name: str, start: int, values: Tensor) -> None:
        raise AssertionError(f"{name}: {len(values)} values at {start}")

    def digest(self, name: str) -> str:
        raise AssertionError(name)


def _alpha(bench: Bench, workers: Workers) -> float:
    steps = merged_steps(bench.plan.steps)
    found = _of_each(steps, lambda step: _norms(bench, step, workers.tile), bench, workers)
    known = [(of, len(step.inputs)) for step, of in zip(steps, found, strict=True) if all(map(math.isfinite, of))]
    mean = math.fsum(summed / models for (summed, _), models in known)
    merged = math.fsum(changed for (_, changed), _ in known)
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
