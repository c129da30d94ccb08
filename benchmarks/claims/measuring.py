"""Tracks measured in processes of their own; each result in a file as soon as it is there."""

from __future__ import annotations

import json
import multiprocessing
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.claims.tracks import TRACKS


def measured(track: str, seed: int, quick: bool) -> dict[str, Any]:
    """One track's outcome for one seed, with what it was measured on; run in a process of its own."""
    import torch

    torch.set_num_threads(1)
    began, computed = time.perf_counter(), time.process_time()
    outcome = TRACKS[track].measure()(seed, quick, partial(_told, time.perf_counter()))
    return {
        "track": track,
        "seed": seed,
        "quick": quick,
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - computed, 1),
        "measured": date.today().isoformat(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": platform.machine(),
        "outcome": outcome,
    }


def _told(began: float, text: str) -> None:
    print(f"{time.perf_counter() - began:5.0f} s  {text}", file=sys.stderr, flush=True)


def write(out: Path, unit: Mapping[str, Any]) -> None:
    """One file per track and seed, written whole or not at all; one line per merge, for a readable history."""
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{unit['track']}-{unit['seed']}.json"
    staged = target.with_suffix(".part")
    staged.write_text(json.dumps(unit, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    staged.replace(target)


def read(out: Path) -> dict[str, dict[str, Any]]:
    """What was measured, by track and seed."""
    found: dict[str, dict[str, Any]] = {}
    for track in TRACKS:
        units = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob(f"{track}-*.json")]
        if units:
            found[track] = {str(unit["seed"]): unit for unit in sorted(units, key=lambda unit: unit["seed"])}
    return found


def wanted(tiers: Iterable[int], seeds: Iterable[int] | None) -> list[tuple[str, int]]:
    """Tracks and seeds, those first that take longest."""
    chosen = [(name, track) for name, track in TRACKS.items() if track.tier in tiers]
    units = [(name, seed, track.minutes) for name, track in chosen for seed in (seeds or track.seeds)]
    return [(name, seed) for name, seed, _ in sorted(units, key=lambda unit: -unit[2])]


def run(units: list[tuple[str, int]], jobs: int, quick: bool, out: Path) -> bool:
    """Measure, and write what is measured as soon as it is; false if one broke down, which stops no other."""
    well = True
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        at_work: dict[Future[Any], tuple[str, int]] = {
            pool.submit(measured, track, seed, quick): (track, seed) for track, seed in units
        }
        for done in as_completed(at_work):
            if error := done.exception():
                track, seed = at_work[done]
                print(f"{track}, seed {seed}: {type(error).__name__}: {error}", file=sys.stderr)
                well = False
            else:
                write(out, done.result())
    return well
