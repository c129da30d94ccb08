"""The one place that knows Ray: a crew of its tasks.

Ray decides where a task runs, and runs it again where its worker died; nothing is scheduled here.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from cuvee.errors import Fault, ResourceError, UsageError
from cuvee.execute.errand import Delivered, Errand, deliver
from cuvee.execute.lots import Lot
from cuvee.planning.room import default_threads

RETRIES: Final = 5
"""Times that a lot is begun again after the death of its worker: a machine may go, a lot that kills its worker may not
do so for ever."""
LOCAL: Final = "local"
AUTO: Final = "auto"
_GLANCE: Final = 0.3
"""Seconds between two looks at how far the workers are."""
_REACH: Final = 5.0
"""Seconds that an address has to answer."""
_STOP: Final = 8.0
"""Seconds that tasks have to end when they are cancelled, each way."""
_STORE: Final = 100 * 1024**2
"""Bytes of Ray's object store where it is started here: tensors never pass through it."""
_START: Final = "start one with `ray start --head`, or give `--address local` to use this machine only"


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
            raise ResourceError(
                Fault("no-cluster", "no machine of the Ray cluster has a CPU to work with", hint=_START)
            )
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
            raise ResourceError(_not_installed(str(error))) from error
        raise (error.cause or error) from error
    except told.OutOfMemoryError as error:
        hint = "give fewer --threads or a --max-memory, or machines with more memory"
        raise ResourceError(Fault("memory", f"workers ran out of memory: {_first(error)}", hint=hint)) from error
    except (told.WorkerCrashedError, told.NodeDiedError) as error:
        message = f"a worker died, and so did {RETRIES} that were given the same work after it: {_first(error)}"
        hint = "Ray's own logs say why; too little memory is the usual reason"
        raise ResourceError(Fault("worker-died", message, hint=hint)) from error
    except told.RayError as error:
        message = f"the Ray cluster failed: {_first(error)}"
        raise ResourceError(Fault("no-cluster", message, hint="look at the cluster with `ray status`")) from error


def _not_installed(text: str) -> Fault:
    last = next((line for line in reversed(text.splitlines()) if "Error" in line), "").strip()
    message = f"Cuvee cannot be imported by the workers of the cluster: {last}"
    return Fault("worker-mismatch", message, hint="install the same Cuvee on all machines of the cluster")


def _first(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


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
    _check_answers(wanted)
    with _keeping_signals():
        try:
            ray.init(address=wanted, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
            raise ResourceError(_no_cluster(wanted, _first(error))) from error


def _check_answers(address: str) -> None:
    """Whether anybody listens at an address; Ray itself takes minutes to say that nobody does."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH).close()
    except (OSError, OverflowError) as error:
        raise ResourceError(_no_cluster(address, str(error))) from error


def _no_cluster(address: str, why: str) -> Fault:
    where = "" if address == AUTO else f" at {address}"
    return Fault("no-cluster", f"there is no Ray cluster{where}: {why}", subject=address, hint=_START)


@contextmanager
def _keeping_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(ValueError):  # not the main thread: then nobody could change it
            signal.signal(signal.SIGTERM, before)
