"""What the timed benchmarks of ensembles have in common: how they are run, and how their figures are written."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
RESULTS = Path(__file__).parents[1] / "results"


def one_thread() -> None:
    """Threads of numerical libraries only wait for each other here; to be called before any of them is loaded."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def seconds(step: Callable[[], Any]) -> tuple[float, Any]:
    """How long a step takes, and what it gives."""
    start = time.perf_counter()
    made = step()
    return time.perf_counter() - start, made


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "lower_quartile": low, "upper_quartile": high}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, numbers to the right."""
    ruler = "| --- |" + " ---: |" * (len(head) - 1)
    return [f"| {' | '.join(head)} |", ruler, *(f"| {' | '.join(row)} |" for row in rows)]


def written(name: str, lines: Sequence[str], data: Mapping[str, Any], libraries: Sequence[str], out: Path) -> None:
    """The page and the figures, with what they were measured on."""
    import machine
    from report import machine_line

    facts = machine.facts(Path(__file__).parent, None)
    load = machine.load()
    versions = ", ".join(f"{one} {version(one)}" for one in libraries)
    foot = f"{machine_line(facts)} {versions}. Processes that wanted a core meanwhile: {load}."
    page = "\n".join([*lines, "", f"Made by `benchmarks/ensembles/{name}.py`. {foot}", ""])
    out.mkdir(parents=True, exist_ok=True)
    (out / f"ensemble-{name.replace('_', '-')}.md").write_text(page)
    told = {**data, "machine": facts, "load": load, "versions": versions}
    (out / f"ensemble-{name.replace('_', '-')}.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    print(page)
