"""Measure merges against the floor that the hardware sets, and against mergekit where PEER_PYTHON names one.

    python benchmarks/run.py                    0.1 billion parameters, five repeats: a few minutes
    python benchmarks/run.py --size 0.5
    python benchmarks/run.py --smoke            tiny models, once: only to see that this script works

The models are built once under benchmarks/cache; for the run they are copied to a folder in memory if there is room.
Everything is run in turn, again and again, so that a slow minute of the machine slows all alike.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import machine
import measure
import models
import report
from cases import METHODS, SMOKE_METHODS, START, Case, cases

HERE = Path(__file__).parent
CACHE = HERE / "cache"
MEMORY = Path("/dev/shm")
ROOM = 6.0
"""Free space wanted in memory, in models: four inputs, one output, and some to spare."""


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=models.SHAPES, default="0.1", help="billions of parameters per model")
    parser.add_argument("--repeats", type=int, default=5, help="times that every case is run")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--folder", type=Path, help="where inputs and outputs lie; in memory if there is room")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where JSON and Markdown go")
    parser.add_argument("--note", default="", help="a sentence to keep with the results")
    parser.add_argument("--smoke", action="store_true", help="tiny models, one repeat, two methods")
    asked = parser.parse_args(given)
    if asked.repeats < 1:
        parser.error("--repeats must be at least 1")
    if asked.smoke:
        asked.size, asked.repeats, asked.methods = "tiny", 1, SMOKE_METHODS
    return asked


def peer_python() -> Path | None:
    """The interpreter that has mergekit, if one is named."""
    named = os.environ.get("PEER_PYTHON")
    if named and not Path(named).with_name("mergekit-yaml").exists():
        sys.exit(f"PEER_PYTHON names {named}, and there is no mergekit-yaml beside it")
    return Path(named) if named else None


def has_room(folder: Path, wanted: float) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= wanted


@contextmanager
def workplace(asked: Path | None, wanted: float) -> Iterator[Path]:
    """A folder of our own inside the one asked for, in memory, or in the cache; removed afterwards."""
    parent = asked or (MEMORY if has_room(MEMORY, wanted) else CACHE)
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cuvee-bench-", dir=parent) as folder:
        yield Path(folder)


def interleaved(todo: Sequence[Case], repeats: int) -> dict[Case, list[measure.Run]]:
    """Run every case in turn, `repeats` times, each round beginning one case later."""
    runs: dict[Case, list[measure.Run]] = {case: [] for case in todo}
    for turn in range(repeats):
        begin = turn % len(todo)
        for case in (*todo[begin:], *todo[:begin]):
            runs[case].append(measure.run(case))
            print(f"{turn + 1}/{repeats} {case.who} {case.what}: {runs[case][-1].wall:.2f} s", file=sys.stderr)
    return runs


def main(given: Sequence[str]) -> None:
    asked, peer = arguments(given), peer_python()
    count = models.parameters(asked.size)
    with workplace(asked.folder, ROOM * count * models.BYTES) as room:
        cache = room / "cache" if asked.smoke else CACHE
        large, tiny = (models.place(models.build(size, cache), room) for size in (asked.size, "tiny"))
        todo = cases(asked.methods, large, tiny, room, peer)
        before = machine.load()
        for case in todo:
            if case.what == START:
                measure.run(case)  # once unmeasured: byte code is compiled, libraries come into the page cache
        found = report.rows(todo, interleaved(todo, asked.repeats))
        about = {
            "size": asked.size,
            "parameters": count,
            "bytes_per_model": models.nbytes(large / "a"),
            "repeats": asked.repeats,
            "load_before": before,
            "load_after": machine.load(),
            "note": asked.note,
        }
        report.show(found, f"{count:,} parameters per model, {asked.repeats} repeats")
        report.keep(found, about, machine.facts(room, peer), asked.results, asked.size)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder in memory is removed then too
    main(sys.argv[1:])
