"""What a method's arithmetic costs, in nanoseconds per entry and model: eager, fused, and compiled by torch.

    python benchmarks/micro.py                  every method, bfloat16 and float32
    python benchmarks/micro.py --methods ties --entries 1000000 --no-compile

One thread, tiles in memory, no files. Each pass of a method that needs several is timed by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import forms
import machine
import torch
from recipes import methods, specs
from report import machine_line, put

from cuvee import fused
from cuvee.execute.heap import keep_freed_memory

HERE = Path(__file__).parent
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
COLUMNS = ("method", "dtype", "pass", "eager", "fused", "eager ÷ fused", "torch.compile", "compiling, s", "same bytes")
EXPLAINED = (
    "Nanoseconds per entry and model, medians (least – largest); the base counts as a model. One thread. *eager* is "
    "the plain form as the engine runs it on tiles, *fused* the loop that numba compiles, with the copy of a tile into "
    "the worker's own memory. *torch.compile* is the eager combination — stacking, arithmetic, rounding — of one tile, "
    "best of as many runs; seconds of compiling are those of this process, with whatever its cache held; *same bytes* "
    "says whether it rounds as the eager form does. Passes of the fused form may be other ones than those of the eager "
    "form: a sample first, then what it left open. Methods that work on rows or matrices, and those that are given "
    "what was collected of the models, have one square tensor of 2²⁰ entries at most."
)


@dataclass(frozen=True)
class Row:
    """Nanoseconds per entry and model of one pass; `None` where there is no such form or pass."""

    method: str
    dtype: str
    step: str
    models: int
    eager: tuple[float, float, float] | None
    fused: tuple[float, float, float] | None
    compiled: float | None = None
    compiling_seconds: float | None = None
    compiled_same: bool | None = None
    compile_error: str | None = None


def timed() -> tuple[str, ...]:
    """Every method but those that look at whole models before any tensor is merged."""
    return tuple(name for name in methods() if specs()[name].scope != "model")


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=timed(), default=timed())
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=tuple(DTYPES))
    parser.add_argument("--entries", type=int, default=1 << 23, help="of each model's tensor")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile, which takes seconds each")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--note", default="", help="a sentence to keep with the results")
    return parser.parse_args(given)


def spread(taken: Sequence[forms.Passes], step: str, count: int) -> tuple[float, float, float] | None:
    """Median, least and largest nanoseconds per entry and model of a pass; `total` is all of them together."""
    found = [sum(one.values()) if step == "total" else one.get(step) for one in taken]
    scaled = [seconds / count * 1e9 for seconds in found if seconds is not None]
    return (median(scaled), min(scaled), max(scaled)) if scaled else None


def steps_of(*taken: Sequence[forms.Passes]) -> list[str]:
    """The passes of either form, then the combination, and all of them together if there is more than one."""
    passes = sorted({step for runs in taken for one in runs for step in one} - {forms.COMBINE})
    return [*passes, forms.COMBINE, *(["total"] if passes else [])]


def rows_of(method: str, dtype: str, asked: argparse.Namespace) -> list[Row]:
    """Everything about one method and dtype."""
    bed = forms.bed_of(method, asked.entries, DTYPES[dtype])
    count = bed.rows.numel()
    has_fused = method in fused.SAVES and fused.available()
    if has_fused:
        forms.fused_form(bed)  # compiles
    eager, fast = [], []
    for _ in range(asked.repeats):
        eager.append(forms.eager(bed))
        if has_fused:
            fast.append(forms.fused_form(bed))
    compiled = {} if asked.no_compile else compiled_of(bed, asked.repeats)
    return [
        Row(
            method,
            dtype,
            step,
            len(bed.rows),
            spread(eager, step, count),
            spread(fast, step, count),
            **(compiled if step == forms.COMBINE else {}),
        )
        for step in steps_of(eager, fast)
    ]


def compiled_of(bed: forms.Bed, repeats: int) -> dict[str, Any]:
    """The third column; a form that torch cannot compile is told as such."""
    start, stop = bed.ranges[0]
    try:
        found = forms.compiled_by_torch(bed, repeats)
    except Exception as error:
        return {"compile_error": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:150]}"}
    return {
        "compiled": found.per_tile / ((stop - start) * len(bed.rows)) * 1e9,
        "compiling_seconds": found.compiling,
        "compiled_same": found.same,
    }


def cells(row: Row) -> tuple[str, ...]:
    ratio = f"{row.eager[0] / row.fused[0]:.1f}" if row.eager and row.fused else ""
    compiled = "fails" if row.compile_error else "" if row.compiled is None else f"{row.compiled:.2f}"
    seconds = "" if row.compiling_seconds is None else f"{row.compiling_seconds:.1f}"
    same = "" if row.compiled_same is None else "yes" if row.compiled_same else "no"
    return (row.method, row.dtype, row.step, _told(row.eager), _told(row.fused), ratio, compiled, seconds, same)


def _told(value: tuple[float, float, float] | None) -> str:
    return "" if value is None else f"{value[0]:.2f} ({value[1]:.2f} – {value[2]:.2f})"


def keep(found: Sequence[Row], asked: argparse.Namespace, load: float) -> None:
    """Write `micro.json` and `micro.md`."""
    facts = machine.facts(asked.results, None)
    facts.pop("file_system")
    asked.results.mkdir(parents=True, exist_ok=True)
    about = {"entries": asked.entries, "repeats": asked.repeats, "load_before": load, "note": asked.note}
    data = {"format": 1, **about, "machine": facts, "rows": [asdict(row) for row in found]}
    put(asked.results / "micro.json", json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    head = f"{asked.entries:,} entries per model, {asked.repeats} repeats. Load average {load} before. {asked.note}"
    failed = [f"torch.compile of {r.method}, {r.dtype}: {r.compile_error}" for r in found if r.compile_error]
    lines = ["# Arithmetic of the methods", "", head.rstrip(), ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "| --- | --- | --- |" + " ---: |" * (len(COLUMNS) - 3)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in found]
    lines += ["", EXPLAINED, "", *(text for line in failed for text in (line, "")), machine_line(facts)]
    put(asked.results / "micro.md", "\n".join(lines) + "\n")


def main(given: Sequence[str]) -> None:
    asked = arguments(given)
    keep_freed_memory()
    torch.set_num_threads(1)
    load = machine.load()
    found: list[Row] = []
    for method in asked.methods:
        for dtype in asked.dtypes:
            found += rows_of(method, dtype, asked)
            print(*(" | ".join(cells(row)) for row in found if (row.method, row.dtype) == (method, dtype)), sep="\n")
            keep(found, asked, load)


if __name__ == "__main__":
    main(sys.argv[1:])
