"""Figures from runs: ratios, a table for the terminal, JSON and Markdown to keep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from cases import FLOOR, START, Case, floor_name
from measure import Run, Spread, spread
from targets import told

COLUMNS = (
    "who",
    "what",
    "runs",
    "wall s",
    "CPU s",
    "peak MiB",
    "GB/s",
    "net ÷ floor",
    "mergekit ÷ Cuvee",
    "… in CPU time",
    "target (moonshot)",
)
EXPLAINED = (
    "*wall*: median (least – largest) of whole processes, start to exit. *GB/s*: bytes read and written by wall time. "
    "*net ÷ floor*: (wall − start-up) ÷ floor, the floor being `cat` of as many models to /dev/null and `cp` of one. "
    "*mergekit ÷ Cuvee*: of whole processes; in brackets, both less their start-up; then the same in CPU time, which "
    "other processes on the machine disturb less. *peak*: the most anonymous memory (RssAnon, sampled) in any run; "
    "mapped files do not count. Ratios are of medians. Before the first round every case of Cuvee was run once without "
    "being counted, so that kernels are compiled and libraries are cached; mergekit, which compiles nothing, "
    "was only started up once. The inputs have just been read by the run before, so that as much of them as fits is in "
    "the page cache, for all alike."
)

PREDICTED = (
    "Predicted as by `cuvee plan`, after a calibration in the folder of the outputs just before the first round. "
    "Measured is the median. The memory said by a plan is a bound, not an estimate."
)


@dataclass(frozen=True)
class Row:
    """The figures of one case; a ratio that was not measured is `None`."""

    who: str
    what: str
    runs: int
    wall: Spread
    cpu: Spread
    anonymous: int
    gigabytes_per_second: float | None
    net_by_floor: float | None = None
    peer_by_ours: float | None = None
    peer_by_ours_net: float | None = None
    peer_by_ours_cpu: float | None = None
    peer_by_ours_cpu_net: float | None = None


Times = Mapping[tuple[str, str], float]
"""Medians by who and what."""


def rows(cases: Sequence[Case], runs: Mapping[Case, Sequence[Run]]) -> list[Row]:
    """One row per case that has been run."""
    done = [case for case in cases if runs[case]]
    walls = {(c.who, c.what): median(r.wall for r in runs[c]) for c in done}
    cpus = {(c.who, c.what): median(r.cpu for r in runs[c]) for c in done}
    return [_row(case, runs[case], walls, cpus) for case in done]


def _row(case: Case, runs: Sequence[Run], walls: Times, cpus: Times) -> Row:
    wall, cpu = spread([run.wall for run in runs]), spread([run.cpu for run in runs])
    row = Row(
        case.who,
        case.what,
        len(runs),
        wall,
        cpu,
        anonymous=max(run.anonymous for run in runs),
        gigabytes_per_second=case.moved / wall.middle / 1e9 if case.moved else None,
    )
    if case.who == FLOOR or case.what == START:
        return row
    floor, start = walls.get((FLOOR, floor_name(case.reads))), walls.get((case.who, START))
    if floor is not None and start is not None:
        row = replace(row, net_by_floor=(wall.middle - start) / floor)
    if {("cuvee", START), ("mergekit", START)} - walls.keys():
        return row
    if case.who != "cuvee" or ("mergekit", case.what) not in walls:
        return row
    (whole, net), (cpu_whole, cpu_net) = _ratios(case.what, walls), _ratios(case.what, cpus)
    return replace(
        row, peer_by_ours=whole, peer_by_ours_net=net, peer_by_ours_cpu=cpu_whole, peer_by_ours_cpu_net=cpu_net
    )


def _ratios(method: str, times: Times) -> tuple[float, float]:
    """mergekit's time by ours: of the whole processes, and of both less their start-up."""
    theirs, ours = times["mergekit", method], times["cuvee", method]
    return theirs / ours, (theirs - times["mergekit", START]) / (ours - times["cuvee", START])


def cells(row: Row, size: str) -> tuple[str, ...]:
    """A row as it is printed."""
    return (
        row.who,
        row.what,
        str(row.runs),
        _spread(row.wall),
        f"{row.cpu.middle:.2f}",
        f"{row.anonymous / 2**20:.0f}" if row.anonymous and row.who != FLOOR else "",
        "" if row.gigabytes_per_second is None else f"{row.gigabytes_per_second:.2f}",
        "" if row.net_by_floor is None else f"{row.net_by_floor:.2f}",
        _pair(row.peer_by_ours, row.peer_by_ours_net),
        _pair(row.peer_by_ours_cpu, row.peer_by_ours_cpu_net),
        told(size, row.what, row.net_by_floor, row.peer_by_ours) if row.who == "cuvee" else "",
    )


def _pair(whole: float | None, net: float | None) -> str:
    return "" if whole is None else f"{whole:.1f} ({net:.1f})"


def _spread(value: Spread) -> str:
    return f"{value.middle:.2f} ({value.low:.2f} – {value.high:.2f})"


def show(found: Sequence[Row], title: str, size: str) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, title=title)
    for row in found:
        table.add_row(*cells(row, size))
    Console(width=max(Console().width, 180)).print(table)


def keep(found: Sequence[Row], about: Mapping[str, Any], machine: Mapping[str, Any], results: Path, name: str) -> None:
    """Write `NAME.json` and `NAME.md`."""
    results.mkdir(parents=True, exist_ok=True)
    data = {"format": 2, **about, "machine": dict(machine), "rows": [asdict(row) for row in found]}
    put(results / f"{name}.json", json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    put(results / f"{name}.md", markdown(found, about, machine))


def put(path: Path, text: str) -> None:
    """Write a whole file or nothing: a benchmark may be interrupted at any time, and its last figures are kept."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, "utf-8")
    beside.replace(path)


def markdown(found: Sequence[Row], about: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    """The same as a page."""
    failed = [f"Not measured: {what} ({why})." for what, why in about["failed"].items()]
    lines = [
        f"# Benchmark, size {about['size']}",
        "",
        f"{about['parameters']:,} parameters and {about['bytes_per_model']:,} bytes (bfloat16) per model; "
        f"{about['repeats']} repeats asked for, interleaved. Load average: {about['load_before']} just before, "
        f"{about['load_after']} at the end. {about['note']}".rstrip(),
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "| --- | --- |" + " ---: |" * (len(COLUMNS) - 2),
        *("| " + " | ".join(cells(row, str(about["size"]))) + " |" for row in found),
        "",
        EXPLAINED,
        "",
        *(text for line in failed for text in (line, "")),
        *predicted(about["predictions"]),
        machine_line(machine),
    ]
    return "\n".join(lines) + "\n"


def machine_line(machine: Mapping[str, Any]) -> str:
    """The facts of the machine in a sentence."""
    return "Machine: " + "; ".join(f"{key.replace('_', ' ')} {value}" for key, value in machine.items()) + "."


def predicted(predictions: Sequence[Mapping[str, Any]]) -> list[str]:
    """What `cuvee plan` says of the same merges, beside what they took; nothing where nothing was predicted."""
    if not predictions:
        return []
    heading = ("what", "predicted s", "measured s", "predicted ÷ measured", "memory at most MiB", "measured MiB")
    lines = ["## Prediction and measurement", "", "| " + " | ".join(heading) + " |", "| --- |" + " ---: |" * 5]
    for one in predictions:
        figures = (f"{one['seconds']:.2f}", f"{one['measured']:.2f}", f"{one['seconds'] / one['measured']:.2f}")
        memory = (f"{one['memory'] / 2**20:.0f}", f"{one['measured_memory'] / 2**20:.0f}")
        lines.append("| " + " | ".join((one["what"], *figures, *memory)) + " |")
    return [*lines, "", PREDICTED, ""]
