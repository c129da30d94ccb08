"""Carrying out a plan with workers in processes of their own, which write into one staging folder that all of them see.

The publishing run plans, cuts the plan into lots, hands them to a crew, and takes up what the workers' journals say as
it would take up what an interrupted run left: every range is read back and compared with its line, and what does not
stand there is done here. So it needs to believe nobody, and a worker that died costs only its own time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from cuvee.checkpoint import FolderWriter
from cuvee.checkpoint.attached import Following
from cuvee.checkpoint.journal import Entry
from cuvee.checkpoint.protocol import Reader
from cuvee.execute.errand import Errand
from cuvee.execute.forms import FormSoon
from cuvee.execute.ledger import Digests, Ledger, Progress
from cuvee.execute.lots import Lot, cut
from cuvee.execute.preflight import preflight
from cuvee.execute.resume import Finished, Keeper, take_over
from cuvee.execute.run import carry_out
from cuvee.execute.surveying import survey
from cuvee.execute.work import Bench
from cuvee.methods import Method
from cuvee.planning.model import Plan
from cuvee.planning.room import Workers
from cuvee.types import DTYPES

LOTS_PER_WORKER: Final = 4
"""More than one, so that a worker that is slow or dies is waited for less; few, because each opens all models."""


class Crew(Protocol):
    """Workers that can be given lots."""

    @property
    def workers(self) -> int:
        """How many lots are worked on at a time."""

    @property
    def threads(self) -> int:
        """Threads that each of them has."""

    def deliver_all(self, errand: Errand, lots: Sequence[Lot], watch: Callable[[], None]) -> list[str]:
        """Have all lots written; `watch` is called every now and then. Gives the names of the workers' journals.

        Raises:
            CuveeError: what went wrong in a worker, or with all of them. Nobody writes any more.
        """


def execute_spread(
    plan: Plan,
    readers: Sequence[Reader],
    writer: FolderWriter,
    method: Method,
    errand: Errand,
    crew: Crew,
    *,
    here: Workers,
    progress: Callable[[Progress], None] | None = None,
) -> Digests:
    """Do what `execute` does, by other hands.

    Args:
        plan: what to do.
        readers: the input models, in the plan's order.
        writer: the output, open.
        method: the recipe's method.
        errand: what the workers are told.
        crew: the workers.
        here: the workers of this process, for what has to be done again.
        progress: called as the work goes on, from this thread.

    Raises:
        CuveeError: as from `execute`, from whichever process.
    """
    preflight(plan, readers)
    before = take_over(plan, readers, _Looking(writer))
    bench = Bench(
        plan,
        readers,
        writer,
        method,
        Ledger(plan, hashes=False, progress=progress, finished=before),
        errand.seed,
        errand.allow_nonfinite,
    )
    errand = replace(errand, whole=survey(bench, threads=here.threads, tile=here.tile))
    watch = _Watch(plan, before, Following(errand.out, f"{errand.run}-"), progress)
    writer.gather(crew.deliver_all(errand, cut(bench, crew.workers * LOTS_PER_WORKER), watch))
    digests = carry_out(
        plan,
        readers,
        writer,
        method,
        seed=errand.seed,
        workers=here,
        allow_nonfinite=errand.allow_nonfinite,
        form=FormSoon(plan, readers, method, kernels="plain"),
        progress=progress,
        journal=writer,
    )
    return replace(digests, resumed_ranges=before.ranges, resumed_bytes=_bytes_of(plan, before))


class _Looking:
    """What stands there already, without counting it as written: that is done once, at the end."""

    def __init__(self, keeper: Keeper) -> None:
        self.past = keeper.past
        self.touched = keeper.touched
        self.kept = keeper.kept
        self.holds = keeper.holds
        self.note = keeper.note

    def take_over(self, entry: Entry) -> None:
        """Do nothing."""


def _bytes_of(plan: Plan, finished: Finished) -> int:
    return sum(finished.elements(step.out.name) * DTYPES[step.out.dtype].size for step in plan.steps)


class _Watch:
    """Tells how far the workers are, from what they note."""

    def __init__(
        self, plan: Plan, before: Finished, following: Following, progress: Callable[[Progress], None] | None
    ) -> None:
        self._sizes = {step.out.name: DTYPES[step.out.dtype].size for step in plan.steps}
        self._total = sum(step.out.nbytes for step in plan.steps)
        self._done = _bytes_of(plan, before)
        self._following = following
        self._progress = progress

    def __call__(self) -> None:
        """Look, and tell."""
        if self._progress is None:
            return
        name = ""
        for entry in self._following.news():
            name = entry.tensor
            self._done += (entry.stop - entry.start) * self._sizes[name]
        if name:  # a range that two attempts wrote was counted twice
            self._progress(Progress(min(self._done, self._total), self._total, name))
