"""Looking at all tensors of a plan before any of them is merged, for methods that must know the whole model."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from threading import Lock
from typing import Any

import torch

from cuvee.execute.single import single_threads
from cuvee.execute.trouble import told_of
from cuvee.execute.work import Bench, seen_by
from cuvee.methods import Job, Round
from cuvee.methods.tiles import survey_of
from cuvee.planning.model import Step
from cuvee.planning.whole import merged_steps


def survey(bench: Bench, *, threads: int, tile: int | None) -> Any:
    """What the surveys of the method conclude; `None` for a method that has none.

    What is read here is hashed and checked when it is read again to be merged.

    Args:
        bench: the run.
        threads: workers; each looks at one tensor at a time, so that the result cannot depend on them.
        tile: elements per tile.
    """
    steps = merged_steps(bench.plan.steps)
    if not steps:
        return None
    job = _of_model(bench, steps)
    if bench.method.survey(job, 0, None) is None:
        return None
    with single_threads(threads, "cuvee-survey") as pool:

        def shown(following: Round, known: Any) -> Any:
            total = _Sum()
            done = pool.map(lambda step: total.add(_concluded(bench, step, following, known, tile)), steps)
            deque(done, maxlen=0)
            return total.value

        return survey_of(bench.method, job, shown)


class _Sum:
    """What was found of the tensors so far: added up as it comes, so that no tensor's is kept."""

    def __init__(self) -> None:
        self.value: Any = None
        self._lock = Lock()

    def add(self, found: Any) -> None:
        with self._lock:
            self.value = found if self.value is None else self.value + found


def _of_model(bench: Bench, steps: list[Step]) -> Job:
    """All tensors as one job."""
    numel = sum(step.out.numel for step in steps)
    dtypes = {step.work for step in steps}
    widest = torch.float64 if "float64" in dtypes else torch.float32
    return replace(bench.job(steps[0]), numel=numel, shape=(numel,), dtype=widest, keys=())


@torch.no_grad()
def _concluded(bench: Bench, step: Step, following: Round, known: Any, tile: int | None) -> Any:
    """What a pass concludes of one tensor."""
    job = bench.job(step)
    with told_of(step.out.name):
        return following.conclude(seen_by(following, bench, step, job, known, tile=tile), job, known)
