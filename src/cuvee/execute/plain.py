"""The plain runner: every tensor taken whole. The definition of a correct result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from cuvee.execute.resume import Range
from cuvee.execute.trouble import told_of
from cuvee.execute.work import Bench, Tile, copy_tile, merge_tile, read_tile
from cuvee.methods import Round
from cuvee.methods.call import cut
from cuvee.methods.tiles import findings, observed
from cuvee.planning.model import Step


@torch.no_grad()
def run_step(bench: Bench, step: Step) -> None:
    """Carry out one step on whole tensors: every round, then the combination; an empty tensor needs nothing.

    What an earlier run finished of the tensor is not written again.
    """
    left = bench.ledger.left(step, [(0, step.out.numel)] if step.out.numel else [])
    if step.action == "copy":
        for start, stop in left:
            copy_tile(bench, step, start, stop)
    elif left:
        with told_of(step.out.name):
            _merge(bench, step, left)


def _merge(bench: Bench, step: Step, left: Sequence[Range]) -> None:
    job = bench.job(step)
    whole = read_tile(bench, step, 0, step.out.numel, job)

    def shown(following: Round, known: Any) -> Any:
        return observed(following, whole.stack, 0, job, known)

    known = findings(bench.method.measure, job, shown)
    for start, stop in left:
        base = None if whole.base is None else whole.base[start:stop]
        part = Tile(whole.stack[:, start:stop], base, start, cut(bench.method, whole.collected, start, stop))
        merge_tile(bench, step, part, job, known)
