"""How time grows: with the number of models, with their size, and with the number of workers.

    python benchmarks/scaling.py                1–8 models; 0.1, 0.5 and 1.24 B parameters; 1–2 workers
    python benchmarks/scaling.py --repeats 1 --sizes 0.1 --counts 1 2 4

Whole processes of linear and TIES, interleaved, less nothing: start-up is told beside them. Inputs and outputs lie in
memory where there is room, else on disk. Writes scaling.json, scaling.md and scaling.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import machine
import measure
import models
from cases import START, Case, cuvee, write
from recipes import has_base, recipe
from report import machine_line, put
from run import CACHE, ROOM, workplace

HERE = Path(__file__).parent
LETTERS = "abcdefgh"
EXPLAINED = (
    "A method with a base reads it besides the models told. *net*: less the start-up, which is a merge of tiny models. "
    "Models beyond the third are the first three again, under other names."
)


@dataclass(frozen=True)
class Point:
    """One thing to measure: a method, a size, so many models (the base not counted), so many workers."""

    method: str
    size: str
    count: int
    workers: int

    @property
    def name(self) -> str:
        return f"{self.method}, {self.size} B, {self.count} models, {self.workers} workers"


@dataclass(frozen=True)
class Figure:
    """What was measured of it: seconds, and nanoseconds per entry and model read, start-up taken off."""

    point: Point
    wall: measure.Spread
    cpu: measure.Spread
    nanoseconds: float


def arguments(given: Sequence[str]) -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["linear", "ties"])
    parser.add_argument("--counts", nargs="+", type=int, choices=range(1, 9), default=[1, 2, 3, 4, 6, 8])
    parser.add_argument("--count-size", choices=models.SHAPES, default="0.1", help="size of the curve over models")
    parser.add_argument("--sizes", nargs="+", choices=models.SHAPES, default=["0.1", "0.5", "1.24"])
    parser.add_argument("--workers", nargs="+", type=int, default=sorted({1, 2, cores}))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where inputs and outputs lie; in memory if there is room")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the models are built")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--note", default="", help="a sentence to keep with the results")
    parser.add_argument("--smoke", action="store_true", help="one method, tiny models, once: does the script work?")
    asked = parser.parse_args(given)
    if asked.smoke:
        asked.methods, asked.counts, asked.count_size, asked.sizes = ["linear"], [3], "tiny", ["tiny"]
        asked.workers, asked.repeats = [1], 1
    return asked


def points(asked: argparse.Namespace) -> list[Point]:
    """Three curves per method: over models and over sizes with all workers, over workers with three models."""
    most, found = max(asked.workers), []
    for method in asked.methods:
        found += [Point(method, asked.count_size, count, most) for count in asked.counts]
        found += [Point(method, size, 3, workers) for size in asked.sizes for workers in asked.workers]
    return list(dict.fromkeys(found))


def prepared(size: str, wanted: Sequence[Point], asked: argparse.Namespace, room: Path) -> Iterator[tuple[Point, Case]]:
    """The commands of the points of one size; models beyond the third are links to the first ones."""
    large = models.place(models.build(size, asked.cache), room)
    folder = room / f"names-{size}"
    folder.mkdir()
    for i, letter in enumerate(LETTERS):
        (folder / letter).symlink_to((large / LETTERS[i % 3]).resolve())
    (folder / "base").symlink_to((large / "base").resolve())
    for point in wanted:
        asked_for = recipe(point.method, folder, tunes=LETTERS[: point.count])
        file = write(room / f"{point.method}-{size}-{point.count}.yml", asked_for)
        command = cuvee(file, room / "out", "--threads", str(point.workers))
        yield point, Case("cuvee", point.name, command, room / "out", 0, point.count + has_base(point.method))


def figures(size: str, wanted: Sequence[Point], asked: argparse.Namespace, room: Path) -> Iterator[Figure]:
    """Measure the points of one size, interleaved; every one is run once before that."""
    tiny = models.place(models.build("tiny", asked.cache), room)
    out, first = room / "out", write(room / "start-up.yml", recipe("linear", tiny))
    start = Case("cuvee", START, cuvee(first, out), out, 0, 0)
    todo = dict(prepared(size, wanted, asked, room))
    for case in () if asked.smoke else (start, *todo.values()):
        measure.run(case)
    runs: dict[Case, list[measure.Run]] = {case: [] for case in (start, *todo.values())}
    for turn in range(asked.repeats):
        for case, taken in runs.items():
            taken.append(measure.run(case))
            print(f"{turn + 1}/{asked.repeats} {case.what}: {taken[-1].wall:.2f} s", file=sys.stderr)
    begun = measure.spread([run.wall for run in runs[start]]).middle
    for point, case in todo.items():
        wall, cpu = (measure.spread([getattr(run, key) for run in runs[case]]) for key in ("wall", "cpu"))
        entries = models.parameters(size) * case.reads
        yield Figure(point, wall, cpu, (wall.middle - begun) / entries * 1e9)


def keep(found: Sequence[Figure], asked: argparse.Namespace, facts: Mapping[str, Any]) -> None:
    """Write the three files."""
    asked.results.mkdir(parents=True, exist_ok=True)
    about = {"repeats": asked.repeats, "load_after": machine.load(), "note": asked.note}
    data = {"format": 1, **about, "machine": dict(facts), "figures": [asdict(one) for one in found]}
    put(asked.results / "scaling.json", json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    put(asked.results / "scaling.md", page(found, about, facts))
    draw(found, asked)


def page(found: Sequence[Figure], about: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    heading = ("method", "B parameters", "models", "workers", "wall s", "CPU s", "ns per entry and model read, net")
    rows = [
        (
            one.point.method,
            one.point.size,
            str(one.point.count),
            str(one.point.workers),
            f"{one.wall.middle:.2f} ({one.wall.low:.2f} – {one.wall.high:.2f})",
            f"{one.cpu.middle:.2f}",
            f"{one.nanoseconds:.2f}",
        )
        for one in found
    ]
    how = f"{about['repeats']} repeats, interleaved; medians (least – largest) of whole processes. {about['note']}"
    lines = ["# How time grows", "", how.rstrip()]
    lines += ["", "![Seconds over models, parameters and workers](scaling.svg)", ""]
    lines += ["| " + " | ".join(heading) + " |", "| --- |" + " ---: |" * 6]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["", EXPLAINED, ""]
    return "\n".join([*lines, machine_line(facts)]) + "\n"


def draw(found: Sequence[Figure], asked: argparse.Namespace) -> None:
    """Three small panels; one line per method, from the least to the largest of its runs."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "cuvee"  # the same figures give the same file
    from matplotlib import pyplot

    most = max(asked.workers)
    largest = found[-1].point.size
    full = [f for f in found if f.point.workers == most]
    curves = {
        f"models, {asked.count_size} B": ("count", [f for f in full if f.point.size == asked.count_size]),
        "B parameters, 3 models": ("size", [f for f in full if f.point.count == 3]),
        f"workers, {largest} B": ("workers", [f for f in found if f.point.count == 3 and f.point.size == largest]),
    }
    figure, panels = pyplot.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for panel, (label, (key, those)) in zip(panels, curves.items(), strict=True):
        for method in asked.methods:
            line = [(_place(f.point, key), f.wall) for f in those if f.point.method == method]
            line.sort(key=lambda pair: pair[0])
            xs, walls = [x for x, _ in line], [wall for _, wall in line]
            low = [w.middle - w.low for w in walls]
            high = [w.high - w.middle for w in walls]
            panel.errorbar(xs, [w.middle for w in walls], yerr=(low, high), marker="o", capsize=3, label=method)
        panel.set(xlabel=label, ylim=(0, None))
    panels[0].set_ylabel("seconds, whole process")
    panels[0].legend(frameon=False)
    figure.savefig(asked.results / "scaling.svg", metadata={"Date": None})
    pyplot.close(figure)


def _place(point: Point, key: str) -> float:
    """Where a point stands along a curve."""
    return models.parameters(point.size) / 1e9 if key == "size" else float(getattr(point, key))


def main(given: Sequence[str]) -> None:
    asked = arguments(given)
    wanted, found, facts = points(asked), [], {}
    for size in dict.fromkeys(point.size for point in wanted):
        with workplace(asked.folder, "", ROOM * models.parameters(size) * models.BYTES) as room:
            facts = facts or machine.facts(room, None)
            found += list(figures(size, [point for point in wanted if point.size == size], asked, room))
            keep(found, asked, facts)
    print(page(found, {"repeats": asked.repeats, "note": asked.note}, facts))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder in memory is removed then too
    main(sys.argv[1:])
