"""The plain runner: every tensor taken whole. The definition of a correct result."""

from __future__ import annotations

from typing import Any

import torch

from cuvee.execute.work import Bench, copy_tile, job_of, merge_tile, read_tile
from cuvee.planning.model import Step


@torch.no_grad()
def run_step(bench: Bench, step: Step) -> None:
    """Carry out one step on whole tensors: every round, then the combination; an empty tensor needs nothing."""
    if not step.out.numel:
        return
    if step.action == "copy":
        copy_tile(bench, step, 0, step.out.numel)
        return
    job = job_of(bench, step)
    whole = read_tile(bench, step, 0, step.out.numel, job)
    known: Any = None
    done = 0
    while (following := bench.method.measure(job, done, known)) is not None:
        known = following.conclude(following.observe(whole.stack, 0, job, known), job, known)
        done += 1
    merge_tile(bench, step, whole, job, known)
