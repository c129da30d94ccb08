"""The one place that knows Ray: a crew of its tasks, and workers that last.

Ray decides where a task runs, and runs it again where its worker died; jobs of workers that last go to whoever is free.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from cuvee.errors import Fault, ResourceError, UsageError
from cuvee.execute.cluster import (
    AUTO,
    LOCAL,
    START,
    check_answers,
    first_line,
    keeping_signals,
    no_cluster,
    not_installed,
)
from cuvee.execute.errand import Delivered, Errand, deliver
from cuvee.execute.lasting import Done, Lasting
from cuvee.execute.lots import Lot
from cuvee.planning.room import default_threads

RETRIES: Final = 5
"""Times that a lot is begun again after the death of its worker: a machine may go, a lot that kills its worker may not
do so for ever."""
_GLANCE: Final = 0.3
"""Seconds between two looks at how far the workers are."""
_STOP: Final = 8.0
"""Seconds that tasks have to end when they are cancelled, each way."""
_STORE: Final = 100 * 1024**2
"""Bytes of Ray's object store where it is started here: tensors never pass through it."""


class RayCrew:
    """Ray tasks on a cluster that this process is connected to.

    Args:
        threads: threads, and so CPUs, of a task; those of the smallest machine by default.

    Raises:
        ResourceError: `no-cluster`: no machine of it has a CPU.
        UsageError: none has so many.
    """

    def __init__(self, threads: int | None) -> None:
        import ray

        found = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        machines = [count for count in found if count > 0]
        if not machines:
            raise ResourceError(Fault("no-cluster", "no machine of the Ray cluster has a CPU to work with", hint=START))
        if threads is not None and threads > max(machines):
            message = f"`threads` must be at most {max(machines)}, the CPUs of the cluster's largest machine"
            hint = "give fewer --threads: there may be several tasks on a machine"
            raise UsageError(Fault("bad-argument", f"{message}; found {threads}", subject="threads", hint=hint))
        self.threads = threads or min(machines)
        self.workers = sum(count // self.threads for count in machines)

    def deliver_all(self, errand: Errand, lots: Sequence[Lot], watch: Callable[[], None]) -> list[str]:
        """Have all lots written; see `spread.Crew`."""
        import ray

        task = ray.remote(deliver).options(
            num_cpus=self.threads, max_retries=RETRIES, scheduling_strategy="SPREAD", name="cuvee merge"
        )
        with _translated():
            told = ray.put(errand)
            pending = [task.remote(told, number, lot) for number, lot in enumerate(lots)]
        journals: list[str] = []
        try:
            while pending:
                done, pending = ray.wait(pending, timeout=_GLANCE)
                for ref in done:
                    journals += _taken(ref)
                watch()
        except BaseException:
            _stop(pending)
            raise
        return journals


class RayWorkers:
    """Workers of a cluster that last, of which each does one job at a time.

    Args:
        told: what each is made of; see `Lasting`.
        count: how many.
        threads: CPUs of each.

    Raises:
        CuveeError: what the first that is not ready says.
    """

    def __init__(self, told: bytes, count: int, threads: int) -> None:
        import ray

        self._kind = ray.remote(Lasting).options(num_cpus=threads, max_restarts=0, scheduling_strategy="SPREAD")
        self._told = told
        self._idle = [self._kind.remote(told) for _ in range(count)]
        self._all = list(self._idle)
        try:
            for worker in self._idle:
                _once(worker.ready.remote()).given()
        except BaseException:
            self.end()
            raise

    def do_all(self, jobs: Sequence[bytes], lost: Callable[[str], Any]) -> list[Any]:
        """What came of jobs, in their order.

        A job whose worker died is given to a new one, once.

        Args:
            jobs: pickled.
            lost: what comes of a job whose second worker died too, from what Ray says of it.
        """
        import ray

        found: dict[int, Any] = {}
        left, again, running = deque(range(len(jobs))), set[int](), dict[Any, tuple[int, Any]]()
        while left or running:
            while left and self._idle:
                worker, number = self._idle.pop(), left.popleft()
                running[worker.do.remote(jobs[number])] = number, worker
            for ref in ray.wait(list(running), timeout=_GLANCE)[0]:
                number, worker = running.pop(ref)
                try:
                    found[number] = _once(ref).given()
                    self._idle.append(worker)
                except _Dead as error:
                    self._replace(worker)
                    if number in again:
                        found[number] = lost(str(error))
                    else:
                        again.add(number)
                        left.appendleft(number)
        return [found[number] for number in range(len(jobs))]

    def end(self) -> None:
        """End all of them, in the middle of their jobs too."""
        import ray

        with suppress(Exception):  # the cluster may be what failed
            for worker in self._all:
                ray.kill(worker, no_restart=True)

    def _replace(self, worker: Any) -> None:
        self._all.remove(worker)
        new = self._kind.remote(self._told)
        self._all.append(new)
        self._idle.append(new)


class _Dead(Exception):
    """A worker died."""


def _once(ref: Any) -> Done:
    """What a worker that lasts gave back.

    Raises:
        _Dead: nothing, as it died.
    """
    import ray
    from ray import exceptions as told

    while not ray.wait([ref], timeout=_GLANCE)[0]:
        pass
    with _translated():
        try:
            done: Done = ray.get(ref)
        except (told.RayActorError, told.OutOfMemoryError, told.WorkerCrashedError, told.NodeDiedError) as error:
            raise _Dead(first_line(error)) from error
    return done


def packed(thing: Any) -> bytes:
    """Anything that can be sent to another process, functions and classes of a script included, as bytes.

    Raises:
        TypeError: it cannot be sent, and why.
    """
    _imported()
    from ray import cloudpickle

    try:
        return bytes(cloudpickle.dumps(thing))
    except Exception as error:  # whatever an object's own way of pickling raises
        raise TypeError(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error


def _taken(ref: Any) -> tuple[str, ...]:
    """What a task gave back; the error that it told of is raised here."""
    import ray

    with _translated():
        delivered: Delivered = ray.get(ref)
    if delivered.error is not None:
        kind, faults = delivered.error
        raise kind(faults)
    return delivered.journals


def _stop(pending: Sequence[Any]) -> None:
    """End all tasks, with an interrupt or else the hard way, and wait until nobody writes any more."""
    import ray

    left = list(pending)
    with suppress(Exception):  # the cluster may be what failed
        for force in (False, True):
            for ref in left:
                ray.cancel(ref, force=force)
            if left:
                _, left = ray.wait(left, num_returns=len(left), timeout=_STOP)


@contextmanager
def _translated() -> Iterator[None]:
    """Say in our own words what Ray says of its workers; what a task itself raised is raised as it was."""
    from ray import exceptions as told

    try:
        yield
    except told.RayTaskError as error:
        if "failed to import" in str(error):
            raise ResourceError(not_installed(str(error))) from error
        raise (error.cause or error) from error
    except told.OutOfMemoryError as error:
        hint = "give fewer --threads or a --max-memory, or machines with more memory"
        raise ResourceError(Fault("memory", f"workers ran out of memory: {first_line(error)}", hint=hint)) from error
    except (told.WorkerCrashedError, told.NodeDiedError) as error:
        message = f"a worker died, and so did {RETRIES} that were given the same work after it: {first_line(error)}"
        hint = "Ray's own logs say why; too little memory is the usual reason"
        raise ResourceError(Fault("worker-died", message, hint=hint)) from error
    except told.RayError as error:
        message = f"the Ray cluster failed: {first_line(error)}"
        raise ResourceError(Fault("no-cluster", message, hint="look at the cluster with `ray status`")) from error


@contextmanager
def ray_crew(address: str | None, threads: int | None) -> Iterator[RayCrew]:
    """A crew on a cluster; one that this process is connected to already is used, and stays.

    Args:
        address: `host:port`, `auto` for the cluster that `RAY_ADDRESS` or this machine knows of, or `local` for one
            that is started here and ends with the block.
        threads: threads of a task.

    Raises:
        UsageError: `missing-extra`: Ray is not installed; or this process is connected to another cluster.
        ResourceError: `no-cluster`: there is none.
    """
    ray = _imported()
    ours = not ray.is_initialized()
    if ours:
        _connect(address or AUTO)
    elif address not in (None, AUTO, ray.get_runtime_context().gcs_address):
        message = f"this process is connected to the Ray cluster at {ray.get_runtime_context().gcs_address} already"
        hint = "leave `address` out, or call `ray.shutdown()` first"
        raise UsageError(Fault("bad-argument", f"{message}; found {address!r}", subject="address", hint=hint))
    try:
        yield RayCrew(threads)
    finally:
        if ours:
            ray.shutdown()


def _imported() -> Any:
    try:
        import ray
    except ImportError as error:
        message = "`--executor ray` needs Ray, which is not installed"
        raise UsageError(Fault("missing-extra", message, subject="ray", hint="install `cuvee[ray]`")) from error
    return ray


def _connect(address: str) -> None:
    """Connect, quietly, and without the handler that Ray puts in the place of ours for a request to end."""
    import ray

    wanted = os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address
    own: dict[str, Any] = {}
    if wanted == LOCAL:
        own = {"num_cpus": default_threads(), "object_store_memory": _STORE, "include_dashboard": False}
    check_answers(wanted)
    with keeping_signals():
        try:
            ray.init(address=wanted, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
            raise ResourceError(no_cluster(wanted, first_line(error))) from error
