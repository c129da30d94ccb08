"""Measure this machine, so that plans tell how long they take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from cuvee.api.arguments import as_path, callback_faults, refuse
from cuvee.checkpoint.os_errors import told
from cuvee.errors import Fault, ResourceError, number_faults

if TYPE_CHECKING:
    from cuvee.api.calibration import Calibration

ENTRIES: Final = 1 << 24
"""Entries of each of the small models: tensors of two million, because TIES needs a larger sample of a smaller one."""


def calibrate(
    folder: str | os.PathLike[str],
    *,
    entries: int = ENTRIES,
    runs: int = 3,
    keep: bool = True,
    progress: Callable[[int, int, str], None] | None = None,
) -> Calibration:
    """Measure starting up, every method, and the disk of a folder.

    Args:
        folder: where outputs will go; some hundred MB are written there and removed again.
        entries: of each of the small models that are merged, 1 or more.
        runs: times that each thing is measured, 1 or more; the middle one counts.
        keep: write the figures to the user's cache folder, for `cuvee plan`.
        progress: called with what is done, how much there is, and what is measured now.

    Returns:
        The figures.

    Raises:
        UsageError: `folder` is empty or no path.
        ResourceError: the folder, or the cache, cannot be written to.
    """
    from importlib.metadata import version

    from cuvee.api.calibration import Calibration, save
    from cuvee.execute.probe import algebra_speed, disk_speeds, measure_paces
    from cuvee.planning import Machine, default_threads

    refuse([*callback_faults(progress), *number_faults(seed=0, entries=entries, runs=runs)])
    place = as_path(folder, "folder", "the folder must be one that is there")
    with told("measure in", place), tempfile.TemporaryDirectory(prefix=".cuvee-calibrate-", dir=place) as name:
        room = Path(name)
        speeds = disk_speeds(room, max(1, entries >> 17))
        paces = measure_paces(room, entries, runs, progress)
        plain, fused = _starts(room, runs, has_fused=bool(paces.fused))
        machine = Machine(
            start_up=plain,
            fused_start=max(fused - plain, 0.001),
            tensor=paces.tensor,
            read=speeds.read,
            write=speeds.write,
            sync=speeds.sync,
            cores=default_threads(),
            algebra=algebra_speed(runs),
            copy=paces.copy,
            plain=paces.plain,
            fused=paces.fused,
        )
        device = room.stat().st_dev
    when = datetime.now(UTC).isoformat(timespec="seconds")
    found = Calibration(machine, str(place.absolute()), device, when, version("cuvee"))
    if keep:
        save(found)
    return found


def _starts(room: Path, runs: int, *, has_fused: bool) -> tuple[float, float]:
    """Seconds of whole processes that merge next to nothing, plain and fused; each the middle one."""
    from cuvee.execute.probe import recipe_for, write_models

    write_models(room / "tiny", 4, 4)
    recipe = room / "tiny.yml"
    recipe.write_text(json.dumps(recipe_for("linear", room / "tiny")), "utf-8")
    kinds = ("plain", "fused") if has_fused else ("plain",)
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(runs):
        for kind in kinds:
            taken[kind].append(_run(recipe, room / "out", kind))
    return median(taken["plain"]), median(taken[kinds[-1]])


def _run(recipe: Path, out: Path, kernels: str) -> float:
    command = [sys.executable, "-m", "cuvee", "merge", str(recipe), "-o", str(out), "--overwrite", "--kernels", kernels]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = f"a merge of tiny models must work to be measured; it said: {done.stderr.strip()[-500:]}"
        raise ResourceError(Fault("io-error", message, hint="try `cuvee demo`"))
    return time.perf_counter() - begin
