"""Does a search pay on rows it never saw? CMA-ES over one coefficient per specialist against the best uniform one.

    python benchmarks/search.py [--trials 200] [--models FOLDER] [--out benchmarks/results]

Eight specialists of the demo are trained (half a minute) or taken from FOLDER. All settings are chosen on the
validation strings; what counts are the test strings, which are inputs in nobody's training or validation.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import machine
import torch
from report import machine_line

import cuvee
from cuvee.demo.score import exact
from cuvee.demo.skills import Document, Split, items
from cuvee.demo.specialists import BASE, FINE_TUNING, copy_base, save, train_specialists
from cuvee.families import pretrained
from cuvee.searching.grading import Estimate, verdict
from cuvee.searching.outcome import SearchResult
from cuvee.types import Score

WORDS = ("reverse", "sort", "next", "swap", "rotate", "ends", "double", "previous")
VALIDATION, TEST = 100, 300
MOST_SECONDS = 180


class Skill:
    """Exact match on a skill of the demo."""

    def __init__(self, word: str, split: Split, count: int) -> None:
        self.name, self.count = word, count
        self._items: Sequence[Document] = items(word, split, count, 0)

    def score(self, model: Any, rows: Sequence[int] | None = None) -> Score:
        asked = self._items if rows is None else [self._items[i] for i in rows]
        hits = tuple(map(float, exact(model, asked)))
        p = sum(hits) / len(hits)
        return Score("exact match", p, math.sqrt(p * (1 - p) / max(1, len(hits) - 1)), len(hits), "higher", hits)


def train(folder: Path) -> None:
    """The base and a specialist per skill, as folders."""
    base = pretrained.load_causal_lm(BASE)
    copy_base(folder / "base")
    for word, model in train_specialists(base, WORDS, FINE_TUNING, 0, lambda: None).items():
        save(model, folder / word)


def recipe(folder: Path, hole: dict[str, Any]) -> dict[str, Any]:
    """Task arithmetic with a hole for the weight of every specialist."""
    models = [{"model": str(folder / word), "parameters": {"weight": hole}} for word in WORDS]
    return {"merge_method": "task_arithmetic", "base_model": str(folder / "base"), "models": models}


def timed(data: dict[str, Any], strategy: str, trials: int | None, out: Path) -> tuple[SearchResult, dict[str, float]]:
    """A search with its seconds: the search itself, without the judging of its parents."""
    marks: list[tuple[float, float]] = [(time.perf_counter(), time.process_time())]
    result = cuvee.search(
        data,
        [Skill(word, "validation", VALIDATION) for word in WORDS],
        report=[Skill(word, "test", TEST) for word in WORDS],
        strategy=strategy,
        trials=trials,
        halving=False,
        out=out,
        overwrite=True,
        progress=lambda *_: marks.append((time.perf_counter(), time.process_time())),
    )
    wall, cpu = (marks[-1][i] - marks[0][i] for i in (0, 1))
    return result, {"seconds": round(wall, 1), "cpu_seconds": round(cpu, 1)}


def told(result: SearchResult, spent: dict[str, float]) -> dict[str, Any]:
    figures = {"search": result.search, "held_out": result.held_out, "optimism": result.optimism}
    return {
        "evaluations": result.log["evaluations"],
        **spent,
        **{name: [round(one.value, 4), round(one.stderr, 4)] for name, one in figures.items()},
        "values": dict(result.values),
    }


def measure(folder: Path, trials: int) -> dict[str, Any]:
    """Both searches, and the difference of what they found, item by item, on the test strings."""
    with tempfile.TemporaryDirectory() as work:
        shared, first = timed(
            recipe(folder, {"search": [0, 1], "step": 0.05, "name": "weight"}), "grid", None, Path(work)
        )
        own, second = timed(recipe(folder, {"search": [0, 1], "start": 0.35}), "cma-es", trials, Path(work))
    gap = _gap(own, shared)
    return {
        "machine": machine.facts(folder, None),
        "load": machine.load(),
        "specialists": list(WORDS),
        "items": {"validation": VALIDATION, "test": TEST},
        "uniform": told(shared, first),
        "cma_es": told(own, second),
        "difference": [round(gap.value, 4), round(gap.stderr, 4)],
        "verdict": verdict(gap),
        "average_weights": own.log["uniform"]["held_out"],
        "best_parent": own.log["best_parent"]["held_out"],
    }


def _gap(own: SearchResult, shared: SearchResult) -> Estimate:
    """How much more the one is worth on the test strings, paired by item."""
    from cuvee.searching.grading import difference

    tasks = [Skill(word, "test", TEST) for word in WORDS]
    scores = [[task.score(cuvee.load(one.recipe, dtype="float32")) for task in tasks] for one in (own, shared)]
    return difference(*scores)


def page(found: dict[str, Any]) -> str:
    """The figures as a page."""
    rows = [
        f"| {name} | {one['evaluations']} | {one['search'][0]:.3f} ± {one['search'][1]:.3f} "
        f"| **{one['held_out'][0]:.3f} ± {one['held_out'][1]:.3f}** "
        f"| {one['optimism'][0]:+.3f} ± {one['optimism'][1]:.3f} "
        f"| {one['seconds']:.0f} s | {one['cpu_seconds']:.0f} s |"
        for name, one in (
            ("best uniform weight (grid of 21)", found["uniform"]),
            ("CMA-ES, 8 weights", found["cma_es"]),
        )
    ]
    gap, noise = found["difference"]
    return "\n".join(
        [
            "# Search on string skills",
            "",
            f"Task arithmetic of {len(WORDS)} specialists of the demo; mean exact match over their skills. Chosen on "
            f"{VALIDATION} validation strings per skill, held out are {TEST} test strings per skill. Made by "
            "`benchmarks/search.py`; one thread of torch; the seconds are those of the search.",
            "",
            "| | evaluations | searched on | held out | optimism | wall | CPU |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"Held out, the eight weights are worth {gap:+.3f} ± {noise:.3f} more, paired by string: "
            f"{found['verdict']}. The average of all weights has {found['average_weights']['value']:.3f}, the best "
            f"specialist by itself {found['best_parent']['value']:.3f}.",
            "",
            f"{machine_line(found['machine'])} Processes that wanted a core meanwhile: {found['load']}.",
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        folder = asked.models or Path(made) / "models"
        if not folder.exists():
            train(folder)
        found = measure(folder, asked.trials)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "search.json").write_text(json.dumps(found, indent=1) + "\n")
    (asked.out / "search.md").write_text(page(found))
    print(page(found))
    quick = found["cma_es"]["cpu_seconds"] <= MOST_SECONDS * min(2, os.cpu_count() or 1)
    return 0 if found["verdict"] == "better" and quick else 1


if __name__ == "__main__":
    sys.exit(main())
