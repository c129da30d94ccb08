"""The threaded runner: tiles of several tensors at once, the same bytes as the plain one.

A tensor passes through phases — one per round of its method, then the combination — and each phase is a set of tiles
that any worker may take. The worker that finishes a phase's last tile concludes it from the partial statistics, which
add up to the same bytes in any order, and opens the next phase. A new tensor is opened only when a worker would stand
idle, so that memory stays within a few tiles per worker, whatever the size of the tensors.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from cuvee.execute import fast, offload
from cuvee.execute.course import Course, Task, sample_of
from cuvee.execute.hands import Hands
from cuvee.execute.single import SINGLE
from cuvee.execute.trouble import told_of
from cuvee.execute.work import Bench, copy_tile, merge_tile, read_tile
from cuvee.methods import Job
from cuvee.methods.job import AnyMeasure
from cuvee.methods.tiles import observed, tile_ranges
from cuvee.planning.model import Step

if TYPE_CHECKING:
    from cuvee.fused.model import Fused

Finished = Callable[[Step], None]
"""Called from a worker when a step is complete."""
_GLANCE = 0.2
"""Seconds after which the waiting caller looks for an interrupt."""


class _Board:
    """What is to be done next; shared by the workers under one lock."""

    def __init__(self, bench: Bench, tile: int, finished: Finished, workers: int, form: Fused | None) -> None:
        self.bench = bench
        self.form = form
        self.tile = tile
        self.finished = finished
        self.waiting: Iterator[Step] = iter(
            [s for s in bench.plan.steps if bench.ledger.left(s, tile_ranges(s.out.numel, tile, s.grain))]
        )
        self.ready: deque[Task] = deque()
        self.running = 0
        self.exhausted = False
        self.error: BaseException | None = None
        self.changed = threading.Condition()
        self.workers = workers
        self.far: offload.Far | None = None
        self.over = threading.Event()

    def take(self) -> Task | None:
        """The next tile, `None` when there is nothing left or a worker failed."""
        with self.changed:
            while self.error is None:
                if self.ready:
                    self.running += 1
                    return self.ready.popleft()
                if not self.exhausted:
                    self._open_next()
                elif self.running == 0:
                    return None
                else:
                    self.changed.wait(_GLANCE)  # an interrupt is noted without the lock, so nobody is woken for it
            return None

    def _open_next(self) -> None:
        step = next(self.waiting, None)
        if step is None:
            self.exhausted = True
            self.changed.notify_all()
            return
        bench, is_copy = self.bench, step.action == "copy"
        job = Job({}, step.out.numel, torch.float32) if is_copy else bench.job(step)
        form = self.form if self.form is not None and fast.is_served(bench.readers, step) else None
        course = Course(step, job, tile_ranges(step.out.numel, self.tile, step.grain), form)
        if step.action == "merge":
            course.turn(self._measure(course))
        self._enqueue(course)

    def _measure(self, course: Course) -> AnyMeasure:
        return self.bench.method.measure if course.form is None else course.form.measure

    def _enqueue(self, course: Course) -> None:
        """Put all tiles of the current phase first in the queue, so that open tensors are finished before new ones."""
        sample = sample_of(course.round)
        # For a pass every tile is needed, those of finished ranges too.
        measuring = course.round is not None
        ranges = course.ranges if measuring else self.bench.ledger.left(course.step, course.ranges)
        tasks = [Task(course, sample)] if sample else [Task(course, [run]) for run in ranges]
        course.left = len(tasks)
        self.ready.extendleft(reversed(tasks))
        self.changed.notify_all()

    def complete(self, task: Task, partial: Any) -> None:
        """Note that a tile is done; the last one of a phase opens the next."""
        course = task.course
        with self.changed:
            if course.round is not None:
                course.tally.add(partial)
            course.left -= 1
            last = course.left == 0
        over = last and not self._advance(course)
        if over:
            self.finished(course.step)
        with self.changed:
            self.running -= 1
            self.changed.notify_all()

    def _advance(self, course: Course) -> bool:
        """Conclude a round and open the next phase; `False` when the step is complete."""
        if course.round is None:
            return False
        course.conclude()
        course.turn(self._measure(course))
        with self.changed:
            self._enqueue(course)
        return True

    def leave(self) -> None:
        """A worker has nothing left to do; the last one to leave ends the run."""
        with self.changed:
            self.workers -= 1
            if self.workers == 0:
                self.over.set()

    def fail(self, error: BaseException) -> None:
        """Stop everybody; the first error is the one that is told."""
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()


def _do(bench: Bench, task: Task, hands: Hands, errands: offload.Errands | None) -> Any:
    course, (start, stop) = task.course, task.runs[0]
    if course.step.action == "copy":
        return copy_tile(bench, course.step, start, stop)
    if errands is not None and offload.is_served(bench, course.step):
        return _do_far(task, errands)
    if course.form is not None:
        return _do_fast(bench, task, hands)
    tile = read_tile(bench, course.step, start, stop, course.job, first=not course.seen)
    if course.round is not None:
        return observed(course.round, tile.stack, start, course.job, course.known)
    return merge_tile(bench, course.step, tile, course.job, course.known)


def _do_fast(bench: Bench, task: Task, hands: Hands) -> Any:
    course = task.course
    first = not course.seen and not sample_of(course.round)
    shown = fast.read_rows(bench, course.step, task.runs, hands, first=first)
    if course.combine is None:
        return fast.observe(bench, shown, course.job, course.round, course.known)
    return fast.merge(bench, shown, course.job, course.known, course.combine, hands)


def _do_far(task: Task, errands: offload.Errands) -> Any:
    course, run, first = task.course, task.runs[0], not task.course.seen
    if course.round is not None:
        return errands.observe(course.step, run, course.job, course.round, course.known, first=first)
    return errands.merge(course.step, run, course.job, course.known, first=first)


def _work(board: _Board) -> None:
    """A worker: one tile after the other, each on one core."""
    try:
        torch.set_num_threads(1)  # tiles are the unit of parallel work; more threads inside them only contend
        hands = Hands()
        errands = None if board.far is None else offload.Errands(board.far, board.bench)
        with torch.no_grad():  # parameters of a live model may be among the inputs
            while (task := board.take()) is not None:
                with told_of(task.course.step.out.name):
                    found = _do(board.bench, task, hands, errands)
                board.complete(task, found)
    except BaseException as error:
        board.fail(error)
    finally:
        board.leave()


def _wait_for(board: _Board, workers: list[threading.Thread]) -> None:
    """Wait until no worker writes any more, however often the caller is interrupted meanwhile."""
    started = sum(worker.ident is not None for worker in workers)
    for _ in range(len(workers) - started):
        board.leave()
    while not board.over.is_set():
        try:
            board.over.wait(_GLANCE)
        except KeyboardInterrupt:
            continue
    for worker in workers:
        if worker.ident is not None:
            worker.join()


def run_threaded(
    bench: Bench,
    *,
    threads: int,
    tile: int,
    finished: Finished,
    form: Fused | None = None,
    device: torch.device | None = None,
) -> None:
    """Carry out every step of the plan with several workers.

    Args:
        bench: what to do.
        threads: workers, at least 1.
        tile: elements per tile, rounded up to whole blocks.
        finished: told of every completed step, from the worker that completed it.
        form: the fused form of the method, for the steps that it serves.
        device: where tiles are worked on; by the workers themselves without it.

    Raises:
        Whatever a worker raised first; `KeyboardInterrupt` when the caller is interrupted. All workers have stopped.
    """
    board = _Board(bench, tile, finished, threads, form)
    board.far = None if device is None else offload.Far(device, threads, bench.method.name)
    workers = [threading.Thread(target=_work, args=(board,), name=f"cuvee-{i}") for i in range(threads)]
    SINGLE.enter()
    try:
        for worker in workers:
            worker.start()
        while not board.over.wait(_GLANCE):  # not Thread.join: an interrupt inside it leaves a live thread unjoinable
            pass
    except BaseException as interrupt:
        board.error = board.error or interrupt  # without the lock: a second interrupt might leave it taken for ever
        raise
    finally:
        _wait_for(board, workers)
        SINGLE.leave()
    if board.error is not None:
        raise board.error
