"""Where tiles are worked on: by the processor, or on a GPU if there is one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch

from cuvee.errors import Fault, ResourceError, UsageError
from cuvee.planning.devices import fit_device, why_not
from cuvee.planning.model import Plan
from cuvee.planning.room import Workers, fit_workers


@dataclass(frozen=True, slots=True)
class Place:
    """A device.

    Attributes:
        device: torch's name for it.
        title: what people call it.
        free: bytes of its memory that are free.
    """

    device: torch.device
    title: str
    free: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What a run is carried out with.

    Attributes:
        place: the device; `None` where the processor does it.
        workers: how many, and their tiles.
        why: why `auto` chose so; empty where nothing was to be chosen.
    """

    place: Place | None
    workers: Workers
    why: str = ""

    @property
    def name(self) -> str:
        """The device as it is asked for: `cpu` or `cuda:0`."""
        return "cpu" if self.place is None else str(self.place.device)


def find(asked: str) -> Place:
    """The GPU that is asked for as `cuda` or `cuda:1`; this starts CUDA.

    Raises:
        UsageError: there is none, or none of that number.
        ResourceError: `memory`: it has no room even for CUDA itself.
    """
    names, doubt = _gpus()
    if not names:
        message = f"`device` {asked} asks for a GPU; {doubt}"
        raise UsageError(Fault("bad-argument", message, subject="device", hint="take cpu, or auto"))
    number = int(asked.partition(":")[2]) if ":" in asked else torch.cuda.current_device()
    if number >= len(names):
        there = ", ".join(f"cuda:{i} ({name})" for i, name in enumerate(names))
        raise UsageError(Fault("bad-argument", f"`device` {asked} is not there; found {there}", subject="device"))
    try:
        free, _ = torch.cuda.mem_get_info(number)
    except RuntimeError as error:
        told = (str(error).splitlines() or ["no reason given"])[0]
        hint = "end what else runs there, choose another GPU, or take --device cpu"
        raise ResourceError(Fault("memory", f"cuda:{number} cannot be started: {told}", hint=hint)) from error
    return Place(torch.device("cuda", number), names[number], free)


def _gpus() -> tuple[list[str], str]:
    """The names of all GPUs; and why there is none."""
    if torch.version.cuda is None and torch.version.hip is None:
        return [], f"torch {torch.__version__} was built without CUDA"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    reason = f": {str(told[0].message).splitlines()[0]:.300}" if told else ""
    return [torch.cuda.get_device_name(i) for i in range(count)], f"torch {torch.__version__} finds none{reason}"


def choose(
    asked: str | Place,
    plan: Plan,
    *,
    limit: int | None = None,
    threads: int | None = None,
    tile: int | None = None,
    runner: str = "threaded",
    kernels: str = "auto",
) -> Choice:
    """Where to carry out a plan, and with how many workers and tiles of which size.

    Args:
        asked: `cpu`, `cuda`, `cuda:1`, `auto`, or a place that was found before.
        plan: the plan.
        limit: most memory of the host, in bytes.
        threads: workers, if they are given.
        tile: elements per tile, if they are given.
        runner: as in `execute`; the plain one leaves `auto` no choice.
        kernels: likewise; fused ones leave none.

    Raises:
        UsageError: the GPU that is asked for is not there.
        ResourceError: `memory`: not enough of it here or there.
    """
    if asked == "auto":
        return _choose(plan, limit, threads, tile, why_not(plan, runner, kernels))
    if asked == "cpu":
        return Choice(None, fit_workers(plan, limit, threads, tile))
    place = find(asked) if isinstance(asked, str) else asked
    return Choice(place, fit_device(plan, place.free, limit, threads, tile))


def _choose(plan: Plan, limit: int | None, threads: int | None, tile: int | None, against: str | None) -> Choice:
    """A GPU where there is one that has room, and nothing speaks against it."""
    if against is None:
        try:
            place = find("cuda")
            return Choice(place, fit_device(plan, place.free, limit, threads, tile), "the job is large enough for it")
        except (UsageError, ResourceError) as error:
            against = error.faults[0].message
    return Choice(None, fit_workers(plan, limit, threads, tile), against)
