"""Measure merges against the floor that the hardware sets, and against mergekit where PEER_PYTHON names one.

    python benchmarks/run.py                    0.5 B parameters in memory and 1.24 B on disk, five repeats each
    python benchmarks/run.py --size 0.1         a few minutes
    python benchmarks/run.py --budget 30 --peer-repeats 1
    python benchmarks/run.py --smoke            tiny models, once: only to see that this script works

The models are built once under benchmarks/cache. Those of 1.24 B parameters are read there and the outputs written
beside them; smaller ones are copied to a folder in memory if there is room. Everything is run in turn, again and again,
so that a slow minute of the machine slows all alike; JSON and page are written after every round.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
import measure
import models
import prediction
import report
from cases import SMOKE_METHODS, START, Case, cases
from recipes import methods

from cuvee.methods import specs

HERE = Path(__file__).parent
CACHE = HERE / "cache"
MEMORY = Path("/dev/shm")
ON_DISK = ("1.24",)
ROOM = 6.0
"""Free space wanted in memory, in models: four inputs, one output, and some to spare."""


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=models.SHAPES, default=["0.5", "1.24"], help="billions per model")
    parser.add_argument("--repeats", type=int, default=5, help="times that every case is run")
    parser.add_argument("--peer-repeats", type=int, help="times that mergekit's cases are run, if fewer")
    parser.add_argument("--budget", type=float, help="minutes per size; no further round is begun after them")
    parser.add_argument("--methods", nargs="+", choices=methods(), default=methods())
    parser.add_argument("--folder", type=Path, help="where inputs and outputs lie, whatever the size")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where JSON and Markdown go")
    parser.add_argument("--note", default="", help="a sentence to keep with the results")
    parser.add_argument("--cold", action="store_true", help="no unmeasured round, no predictions")
    parser.add_argument("--smoke", action="store_true", help="tiny models, one repeat, two methods")
    asked = parser.parse_args(given)
    if asked.repeats < 1 or (asked.peer_repeats is not None and asked.peer_repeats < 0):
        parser.error("--repeats must be at least 1, --peer-repeats at least 0")
    if asked.smoke:
        asked.size, asked.repeats, asked.methods = ["tiny"], 1, SMOKE_METHODS
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
def workplace(asked: Path | None, size: str, wanted: float) -> Iterator[Path]:
    """A folder of our own inside the one asked for, in memory, or in the cache; removed afterwards."""
    # Whole: paths in a recipe are relative to the recipe.
    parent = (asked or (MEMORY if size not in ON_DISK and has_room(MEMORY, wanted) else CACHE)).absolute()
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cuvee-bench-", dir=parent) as folder:
        yield Path(folder)


@dataclass
class Rounds:
    """The runs so far, and the cases that cannot be run.

    Attributes:
        todo: the cases, in order.
        repeats: rounds.
        peer_repeats: rounds in which mergekit takes part.
        ends: when no further run is begun; the first round of Cuvee's own cases is always finished.
    """

    todo: Sequence[Case]
    repeats: int
    peer_repeats: int
    ends: float
    runs: dict[Case, list[measure.Run]] = field(init=False)
    failed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runs = {case: [] for case in self.todo}

    def warm_up(self) -> None:
        """Once unmeasured: kernels and byte code are compiled, libraries come into the page cache."""
        for case in self.todo:
            if case.who == "cuvee" or (case.what == START and self.peer_repeats):
                self._attempt(case)

    def turns(self) -> Iterator[int]:
        """Run every case in turn, each round beginning one case later; gives the number of each round done."""
        for turn in range(self.repeats):
            begin = turn % len(self.todo)
            for case in (*self.todo[begin:], *self.todo[:begin]):
                if self._is_due(case, turn) and (taken := self._attempt(case)) is not None:
                    self.runs[case].append(taken)
                    print(f"{turn + 1}/{self.repeats} {case.who} {case.what}: {taken.wall:.2f} s", file=sys.stderr)
            yield turn + 1
            if time.monotonic() > self.ends:
                return

    def _is_due(self, case: Case, turn: int) -> bool:
        late = time.monotonic() > self.ends and (turn > 0 or case.who == "mergekit")
        absent = case.who == "mergekit" and turn >= self.peer_repeats
        return not late and not absent and f"{case.who} {case.what}" not in self.failed

    def _attempt(self, case: Case) -> measure.Run | None:
        """A run; one of mergekit that fails is told of and not tried again."""
        try:
            return measure.run(case)
        except RuntimeError as error:
            if case.who != "mergekit":
                raise
            self.failed[f"{case.who} {case.what}"] = str(error).strip().splitlines()[-1][:200]
            print(error, file=sys.stderr)
            return None


def bench(asked: argparse.Namespace, size: str, peer: Path | None) -> None:
    """Measure one size."""
    count = models.parameters(size)
    with workplace(asked.folder, size, ROOM * count * models.BYTES) as room:
        cache = room / "cache" if asked.smoke else CACHE
        large, tiny = (models.place(models.build(one, cache), room) for one in (size, "tiny"))
        kinds = {kind for method in asked.methods if (kind := specs()[method].collected)}
        models.collect(large, size, kinds)
        todo = cases(asked.methods, large, tiny, room, peer)
        about: dict[str, Any] = {
            "size": size,
            "parameters": count,
            "bytes_per_model": models.nbytes(large / "a"),
            "repeats": asked.repeats,
            "load_before": machine.load(),
            "note": asked.note,
        }
        ends = time.monotonic() + (float("inf") if asked.budget is None else asked.budget * 60)
        rounds = Rounds(todo, asked.repeats, asked.repeats if asked.peer_repeats is None else asked.peer_repeats, ends)
        if not asked.smoke and not asked.cold:
            rounds.warm_up()
        predicted = {} if asked.cold else prediction.predict_all(asked.methods, room, quick=asked.smoke)
        facts = machine.facts(room, peer)
        for done in rounds.turns():
            found = report.rows(todo, rounds.runs)
            about |= {"rounds": done, "load_after": machine.load(), "failed": rounds.failed}
            about["predictions"] = prediction.compared(predicted, found)
            report.keep(found, about, facts, asked.results, size)
        report.show(found, f"{count:,} parameters per model, {about['rounds']} rounds", size)


def main(given: Sequence[str]) -> None:
    asked, peer = arguments(given), peer_python()
    for size in asked.size:
        bench(asked, size, peer)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder in memory is removed then too
    main(sys.argv[1:])
