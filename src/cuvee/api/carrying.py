"""How a recipe is carried out: by threads of this process, or by a crew of others."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cuvee import methods
from cuvee.api.arguments import unfit
from cuvee.errors import Fault
from cuvee.recipe.reference import adapters_of
from cuvee.types import scheme_of

if TYPE_CHECKING:
    from cuvee.checkpoint import FolderWriter
    from cuvee.checkpoint.protocol import Layout, Reader
    from cuvee.execute import Digests, FormSoon, Kernels, Progress, Runner
    from cuvee.execute.batchnorm import Batches
    from cuvee.execute.place import Choice
    from cuvee.execute.spread import Crew
    from cuvee.planning import Plan, Workers

Executor = Literal["threads", "ray"]


@dataclass(frozen=True)
class Way:
    """How a recipe is carried out; see `merge`. Only the seed and what may pass can change a byte of a tensor."""

    seed: int
    threads: int | None
    tile: int | None
    limit: int | None
    shard_bytes: int
    allow_nonfinite: bool
    sha256: bool
    runner: Runner
    kernels: Kernels
    device: str
    executor: Executor
    address: str | None
    progress: Callable[[Progress], None] | None
    recalibration: Batches | None = None


def way_faults(way: Way) -> list[Fault]:
    """What is wrong with how a recipe should be carried out."""
    from cuvee.planning.devices import device_faults

    devices = device_faults(way.device, way.runner, way.kernels)
    return [*_plain_faults(way), *_executor_faults(way.executor, way.address, way.runner), *devices, *_far_faults(way)]


def _far_faults(way: Way) -> list[Fault]:
    if way.executor != "ray" or way.device == "cpu":
        return []
    message = f"Ray's tasks work on processors; found `device` {way.device!r:.40}"
    return [Fault("bad-argument", message, subject="device", hint="leave out one of the two")]


def _plain_faults(way: Way) -> list[Fault]:
    if way.runner != "plain" or way.limit is None:
        return []
    message = "`max_memory` cannot be kept by the plain runner, which takes tensors whole"
    return [Fault("bad-argument", message, subject="max_memory", hint="leave out one of the two")]


def _executor_faults(executor: object, address: object, runner: str) -> list[Fault]:
    faults: list[Fault] = []
    if executor not in ("threads", "ray"):
        message = f"`executor` must be one of threads, ray; found {executor!r}"
        faults.append(Fault("bad-argument", message, subject="executor"))
    if executor == "ray" and runner == "plain":
        message = "the plain runner takes tensors whole, one at a time, and cannot be spread over a Ray cluster"
        faults.append(Fault("bad-argument", message, subject="runner", hint="leave out one of the two"))
    if address is not None and not (isinstance(address, str) and address):
        faults.append(unfit("address", "the address of a Ray cluster, `auto` or `local`", address))
    if address is not None and executor == "threads":
        message = "`address` is that of a Ray cluster, and the work is done by threads of this process"
        faults.append(Fault("bad-argument", message, subject="address", hint="add --executor ray, or leave it out"))
    return faults


@contextmanager
def crew_for(way: Way) -> Iterator[Crew | None]:
    """The workers of other processes, if they are asked for: found before anything is begun."""
    if way.executor == "threads":
        yield None
        return
    from cuvee.execute.ray_tasks import ray_crew

    with ray_crew(way.address, way.threads) as crew:
        yield crew


def filled(
    plan: Plan,
    readers: list[Reader],
    writer: FolderWriter,
    layout: Layout,
    job: Mapping[str, Any],
    choice: Choice,
    way: Way,
    by: Crew | FormSoon,
) -> Digests:
    """Fill the tensors of the output.

    Args:
        plan: what is done.
        readers: the input models, in the plan's order.
        writer: the output, open.
        layout: its layout.
        job: its job.
        choice: the workers of this process, and the device they work on.
        way: how.
        by: the workers of others, or the form of the arithmetic for those of this process.
    """
    from cuvee.execute import FormSoon

    if isinstance(by, FormSoon):
        return _run(plan, readers, writer, choice, way, by)
    return _spread(plan, readers, writer, layout, job, choice.workers, way, by)


@contextmanager
def form_soon(plan: Plan, readers: list[Reader], choice: Choice, way: Way) -> Iterator[FormSoon]:
    """The form of the arithmetic for this process, begun to be made ready: none is where others do the work."""
    from cuvee.execute import FormSoon

    is_here = way.executor == "threads" and way.runner == "threaded" and choice.place is None
    kernels = way.kernels if is_here else "plain"
    method = methods.get(plan.recipe.method)
    soon = FormSoon(plan, readers, method, seed=way.seed, kernels=kernels, allow_nonfinite=way.allow_nonfinite)
    try:
        yield soon
    finally:
        soon.let_go()


def _run(plan: Plan, readers: list[Reader], writer: FolderWriter, choice: Choice, way: Way, form: FormSoon) -> Digests:
    """Fill the tensors of the output."""
    from cuvee.execute import execute

    return execute(
        plan,
        readers,
        writer,
        methods.get(plan.recipe.method),
        seed=way.seed,
        threads=choice.workers.threads,
        tile=choice.workers.tile,
        allow_nonfinite=way.allow_nonfinite,
        runner=way.runner,
        kernels=way.kernels,
        form=form,
        device=choice.place or "cpu",
        progress=way.progress,
        journal=writer,
    )


def _spread(
    plan: Plan,
    readers: list[Reader],
    writer: FolderWriter,
    layout: Layout,
    job: Mapping[str, Any],
    workers: Workers,
    way: Way,
    crew: Crew,
) -> Digests:
    """Have the tensors of the output filled by a crew."""
    from cuvee.checkpoint.folder import local_path
    from cuvee.execute.errand import Errand, portable
    from cuvee.execute.spread import execute_spread

    root = (plan.recipe.root or Path()).absolute()
    named = [part for facts in plan.models for part in (facts.ref, *adapters_of(facts.ref))]
    paths = [local_path(part.path, root) for part in named if scheme_of(part.path) is None]
    errand = Errand(
        run=uuid.uuid4().hex[:12],
        plan=portable(plan),
        layout=layout,
        out=writer.out,
        root=root,
        paths=tuple(path for path in paths if path.exists()),
        job=job,
        seed=way.seed,
        allow_nonfinite=way.allow_nonfinite,
        kernels=way.kernels,
        threads=crew.threads,
        tile=way.tile,
        limit=way.limit,
    )
    method = methods.get(plan.recipe.method)
    return execute_spread(plan, readers, writer, method, errand, crew, here=workers, progress=way.progress)
