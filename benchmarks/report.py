"""Figures from runs: ratios, a table for the terminal, JSON and Markdown to keep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from cases import FLOOR, START, Case
from measure import Run, Spread, spread

COLUMNS = ("who", "what", "wall s", "CPU s", "peak MiB", "GB/s", "net ÷ floor", "mergekit ÷ Cuvee", "… in CPU time")
EXPLAINED = (
    "*wall*: median (least – largest) of whole processes, start to exit. *GB/s*: bytes read and written by wall time. "
    "*net ÷ floor*: (wall − start-up) ÷ floor, the floor being `cat` of as many models to /dev/null and `cp` of one. "
    "*mergekit ÷ Cuvee*: of whole processes; in brackets, both less their start-up; then the same in CPU time, which "
    "other processes on the machine disturb less. *peak*: the most anonymous memory (RssAnon, sampled) in any run; "
    "mapped files do not count. Ratios are of medians."
)


@dataclass(frozen=True)
class Row:
    """The figures of one case; a ratio that was not measured is `None`."""

    who: str
    what: str
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
    """One row per case."""
    walls = {(c.who, c.what): median(r.wall for r in runs[c]) for c in cases}
    cpus = {(c.who, c.what): median(r.cpu for r in runs[c]) for c in cases}
    return [_row(case, runs[case], walls, cpus) for case in cases]


def _row(case: Case, runs: Sequence[Run], walls: Times, cpus: Times) -> Row:
    wall, cpu = spread([run.wall for run in runs]), spread([run.cpu for run in runs])
    row = Row(
        case.who,
        case.what,
        wall,
        cpu,
        anonymous=max(run.anonymous for run in runs),
        gigabytes_per_second=case.moved / wall.middle / 1e9 if case.moved else None,
    )
    if case.who == FLOOR or case.what == START:
        return row
    floor = walls[FLOOR, f"{case.reads} models"]
    row = replace(row, net_by_floor=(wall.middle - walls[case.who, START]) / floor)
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


def cells(row: Row) -> tuple[str, ...]:
    """A row as it is printed."""
    return (
        row.who,
        row.what,
        _spread(row.wall),
        f"{row.cpu.middle:.2f}",
        f"{row.anonymous / 2**20:.0f}" if row.anonymous and row.who != FLOOR else "",
        "" if row.gigabytes_per_second is None else f"{row.gigabytes_per_second:.2f}",
        "" if row.net_by_floor is None else f"{row.net_by_floor:.2f}",
        _pair(row.peer_by_ours, row.peer_by_ours_net),
        _pair(row.peer_by_ours_cpu, row.peer_by_ours_cpu_net),
    )


def _pair(whole: float | None, net: float | None) -> str:
    return "" if whole is None else f"{whole:.1f} ({net:.1f})"


def _spread(value: Spread) -> str:
    return f"{value.middle:.2f} ({value.low:.2f} – {value.high:.2f})"


def show(found: Sequence[Row], title: str) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, title=title)
    for row in found:
        table.add_row(*cells(row))
    Console(width=max(Console().width, 140)).print(table)


def keep(found: Sequence[Row], about: Mapping[str, Any], machine: Mapping[str, Any], results: Path, name: str) -> None:
    """Write `NAME.json` and `NAME.md`."""
    results.mkdir(parents=True, exist_ok=True)
    data = {"format": 1, **about, "machine": dict(machine), "rows": [asdict(row) for row in found]}
    (results / f"{name}.json").write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")
    (results / f"{name}.md").write_text(markdown(found, about, machine), "utf-8")


def markdown(found: Sequence[Row], about: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    """The same as a page."""
    lines = [
        f"# Benchmark, size {about['size']}",
        "",
        f"{about['parameters']:,} parameters and {about['bytes_per_model']:,} bytes (bfloat16) per model; "
        f"{about['repeats']} repeats, interleaved. Load average: {about['load_before']} just before, "
        f"{about['load_after']} at the end. {about['note']}".rstrip(),
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "| --- | --- |" + " ---: |" * (len(COLUMNS) - 2),
        *("| " + " | ".join(cells(row)) + " |" for row in found),
        "",
        EXPLAINED,
        "",
        "Machine: " + "; ".join(f"{key.replace('_', ' ')} {value}" for key, value in machine.items()) + ".",
    ]
    return "\n".join(lines) + "\n"
