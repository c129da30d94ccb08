"""`cuvee env`: what Cuvee runs on, and how fast it is."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter
from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import plain
from cuvee.cli.options import COMMON, Common, Switch
from cuvee.cli.progress import metered
from cuvee.cli.tables import Column, facts, table
from cuvee.errors import Fault, UsageError

if TYPE_CHECKING:
    from cuvee.api.calibration import Calibration

LIBRARIES: Final = ("cuvee", "torch", "numpy", "numba", "transformers", "huggingface_hub")
_REQUIREMENT: Final = re.compile(r"^([A-Za-z0-9._-]+)(?:\[([^\]]+)\])?.*;.*\bextra\s*==\s*['\"]([^'\"]+)['\"]")


def env(
    *,
    calibrate: Switch = False,
    folder: Annotated[Path | None, Parameter(name="--folder")] = None,
    common: Common = COMMON,
) -> int:
    """Say what Cuvee runs on: versions, cores, memory, extras, how fast it is.

    With --calibrate it measures how fast methods and disk are, in about half a
    minute, and keeps that in the cache folder: `cuvee plan` then tells how long
    a merge takes on this machine, and not on any. The first time, loops are
    compiled too.

    For example:

        cuvee env
        cuvee env --calibrate --folder /big/disk
        cuvee env --json

    Args:
        calibrate: Measure this machine, for `cuvee plan`.
        folder: Folder on the disk that outputs will go to; the working folder
            without it.
        common: How to print.
    """
    if folder is not None and not calibrate:
        raise UsageError(Fault("bad-argument", "--folder is for --calibrate", hint="leave it out, or give both"))
    found = data_of(_measured(folder or Path()) if calibrate else _kept())
    return deliver(Answer("env", found, text_of(found)), common)


def _measured(folder: Path) -> Calibration:
    from cuvee.api.calibrating import calibrate
    from cuvee.execute.heap import keep_freed_memory

    keep_freed_memory()  # as `cuvee merge` does
    with metered("measuring", "step") as meter:
        return calibrate(folder, progress=meter)


def _kept() -> Calibration | None:
    from cuvee.api.calibration import load

    return load()


def data_of(calibration: Calibration | None) -> dict[str, Any]:
    """Everything that is told, ready for JSON."""
    from cuvee.api.calibration import calibration_file
    from cuvee.planning import default_threads
    from cuvee.planning.free import free_memory

    return {
        "versions": {"python": platform.python_version()} | {name: version_of(name) for name in LIBRARIES},
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "python": sys.executable,
        "cores": default_threads(),
        "memory": {"total": _total_memory(), "free": free_memory()},
        "cache": calibration_file().parent,
        "extras": {name: {"complete": not lacking, "missing": lacking} for name, lacking in extras().items()},
        "calibration": None if calibration is None else asdict(calibration),
    }


def version_of(name: str) -> str | None:
    """The version of an installed library; `None` for one that is not."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def extras() -> Mapping[str, list[str]]:
    """For every extra of Cuvee the libraries that it asks for and that are not installed; extras in extras count."""
    asked: dict[str, set[str]] = {}
    inner: dict[str, set[str]] = {}
    for line in requires("cuvee") or ():
        if found := _REQUIREMENT.match(line):
            name, within, extra = found.groups()
            asked.setdefault(extra, set())
            if name == "cuvee":
                inner.setdefault(extra, set()).update(part.strip() for part in within.split(","))
            else:
                asked[extra].add(name)
    return {extra: sorted(n for n in _all_of(extra, asked, inner) if version_of(n) is None) for extra in sorted(asked)}


def _all_of(extra: str, asked: Mapping[str, set[str]], inner: Mapping[str, set[str]]) -> set[str]:
    return asked.get(extra, set()).union(*(_all_of(part, asked, inner) for part in inner.get(extra, ())))


def _total_memory() -> int | None:
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    if not all(name in os.sysconf_names for name in names):
        return None
    return os.sysconf(names[0]) * os.sysconf(names[1])


def text_of(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The same for people."""
    from cuvee.checkpoint.layout import format_size

    memory = found["memory"]
    sizes = [f"{format_size(memory[key])} {key}" for key in ("total", "free") if memory[key] is not None]
    yield facts([(name, number or "not installed") for name, number in found["versions"].items()])
    yield ""
    yield facts(
        [
            ("system", found["system"]),
            ("cores", str(found["cores"])),
            ("memory", ", ".join(sizes)),
            ("cache", str(found["cache"])),
        ]
    )
    yield ""
    yield plain("Extras", "bold")
    yield facts((name, _told(one["missing"])) for name, one in found["extras"].items())
    yield ""
    yield plain("Speed", "bold")
    yield from _speed(found["calibration"])


def _told(missing: list[str]) -> str:
    return f"missing: {', '.join(missing)}" if missing else "installed"


def _speed(calibration: Mapping[str, Any] | None) -> Iterator[RenderableType]:
    """What was measured, or how to measure it."""
    from cuvee.checkpoint.layout import format_size

    if calibration is None:
        yield "not measured; plans assume a small server. `cuvee env --calibrate` measures this machine"
        return
    machine = calibration["machine"]
    speeds = [(name, f"{format_size(round(machine[name]))}/s") for name in ("read", "write", "sync")]
    start = f"{machine['start_up']:.1f} s, and {machine['fused_start']:.1f} s for fused kernels"
    yield facts([("measured", f"{calibration['when']} in {calibration['folder']}"), ("start-up", start), *speeds])
    yield ""
    yield "ns per entry and model, from file to file, by one worker and by one for every core:"
    columns = [Column("method"), Column("plain", True), Column("", True), Column("fused", True), Column("", True)]
    yield table(columns, (_paces(machine, name) for name in machine["plain"]))


def _paces(machine: Mapping[str, Any], method: str) -> list[str]:
    """A method's row."""
    found = [machine[form].get(method) for form in ("plain", "fused")]
    return [method, *(f"{pace[key]:.2f}" if pace else "" for pace in found for key in ("one", "all"))]
