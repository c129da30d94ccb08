"""Does a depth-up-scaled stack recover? The demo's base with a layer twice, before and after a short tuning.

    python benchmarks/healing.py [--seeds 0 1 2] [--steps 120] [--out benchmarks/results]

The base has three layers; the stack has the first two and then the last two, four in all (SOLAR's way, Kim et al. 2023,
arXiv:2312.15166). It is tuned on the lessons that the base was taught to follow instructions with. What counts are the
test strings, which are inputs in nobody's training. A seed chooses lessons, their order, what is held out of them, and
the test strings. A minute or two.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cuvee
from cuvee.demo.score import judge, mean, mean_stderr
from cuvee.demo.skills import INSTRUCTION_SKILLS, items, lesson
from cuvee.demo.specialists import copy_base
from cuvee.demo.train import IGNORED
from cuvee.families import pretrained

ITEMS, LESSONS, BATCH = 100, 4000, 32
WAYS: Mapping[str, dict[str, Any]] = {
    "all weights": {"learning_rate": 1e-3},
    "LoRA, rank 8": {"learning_rate": 3e-3, "lora": 8},
    "the seam only (layers 1 and 2)": {"learning_rate": 1e-3, "only": ["layers:1-2"]},
}


def write_stack(folder: Path) -> tuple[Path, Path]:
    """The base and the stack of it, as folders."""
    copy_base(folder / "base")
    model = str(folder / "base")
    slices = [{"sources": [{"model": model, "layer_range": span}]} for span in ([0, 2], [1, 3])]
    cuvee.merge({"merge_method": "passthrough", "slices": slices}, folder / "stack")
    return folder / "base", folder / "stack"


def lessons(path: Path, seed: int, count: int = LESSONS) -> Path:
    """A file of lessons of which the answers are to be predicted."""
    rng = random.Random(f"healing/{seed}")
    rows = [lesson(INSTRUCTION_SKILLS, rng) for _ in range(count)]
    lines = [
        json.dumps({"input_ids": list(row.ids), "labels": [IGNORED] * row.start + list(row.ids[row.start :])})
        for row in rows
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def exact_match(folder: Path, seed: int) -> tuple[float, float]:
    """Share of test strings answered exactly, averaged over the base's skills, and its standard error."""
    exam = {word: items(word, "test", ITEMS, seed) for word in INSTRUCTION_SKILLS}
    hits = judge(pretrained.load_causal_lm(folder), exam)
    return mean(hits), mean_stderr(hits)


def measure(folder: Path, seed: int, steps: int) -> dict[str, dict[str, Any]]:
    """Loss on held-out lessons and exact match on test strings, of base and stack before, and after each way."""
    base, stack = folder / "base", folder / "stack"
    data = lessons(folder / f"lessons-{seed}.jsonl", seed)
    untouched = {"steps": 1, "learning_rate": 1e-12}
    found = {"base": _row(base, exact_match(base, seed), _tune(base, folder, data, seed, untouched), before=True)}
    for way, given in WAYS.items():
        start = time.perf_counter()
        result = _tune(stack, folder, data, seed, {"steps": steps, **given})
        seconds = time.perf_counter() - start
        if "stack before" not in found:
            found["stack before"] = _row(stack, exact_match(stack, seed), result, before=True)
        found[way] = _row(result.path, exact_match(result.path, seed), result, before=False)
        found[way] |= {"trained": result.trained, "seconds": round(seconds, 1), "kept": result.kept}
    return found


def _tune(model: Path, folder: Path, data: Path, seed: int, given: Mapping[str, Any]) -> Any:
    return cuvee.tune(model, folder / "out", data=data, seed=seed, batch_size=BATCH, threads=1, overwrite=True, **given)


def _row(path: Path, hits: tuple[float, float], result: Any, *, before: bool) -> dict[str, Any]:
    loss = result.before if before else result.after
    return {
        "exact": [round(one, 4) for one in hits],
        "loss": [round(loss.value, 4), round(loss.stderr, 4)],
        "parameters": sum(p.numel() for p in pretrained.load_causal_lm(path).parameters()),
    }


def summed(runs: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Means over seeds, with the standard error over seeds, and where there is one seed that over rows."""
    found: dict[str, dict[str, Any]] = {}
    for name, first in runs[0].items():
        row: dict[str, Any] = {key: first[key] for key in ("parameters", "trained") if key in first}
        for key in ("exact", "loss"):
            values = [run[name][key][0] for run in runs]
            spread = statistics.stdev(values) / len(values) ** 0.5 if len(runs) > 1 else runs[0][name][key][1]
            row[key] = [round(statistics.mean(values), 4), round(spread, 4)]
        if "seconds" in first:
            row["seconds"] = round(statistics.mean(run[name]["seconds"] for run in runs), 1)
        found[name] = row
    return found


def page(found: Mapping[str, Any]) -> str:
    """The figures as a page."""
    rows = [
        f"| {name} | {row['parameters']:,} | {row.get('trained', 0):,} | {row['loss'][0]:.3f} ± {row['loss'][1]:.3f} "
        f"| **{row['exact'][0]:.3f} ± {row['exact'][1]:.3f}** | {row.get('seconds', 0):.0f} s |"
        for name, row in found["rows"].items()
    ]
    return "\n".join(
        [
            "# Healing a stack",
            "",
            f"The demo's base (layers 0, 1, 2) and a stack of it (layers 0, 1, 1, 2), tuned for {found['steps']} steps "
            f"of {BATCH} of the base's own lessons. Loss in nats per token of the answer on lessons held out; exact "
            f"match on {ITEMS} test strings of each of {len(INSTRUCTION_SKILLS)} skills. Means and standard errors "
            f"over seeds {', '.join(map(str, found['seeds']))}. Made by `benchmarks/healing.py`; one thread of torch.",
            "",
            "| | parameters | trained | loss | exact match | time |",
            "| --- | ---: | ---: | --- | --- | ---: |",
            *rows,
            "",
        ]
    )


def recovers(rows: Mapping[str, Any]) -> bool:
    """Whether every way makes up more than half of what stacking broke, and that is more than noise."""
    base, stack = rows["base"]["exact"], rows["stack before"]["exact"]
    gaps = [(rows[way]["exact"][0] - stack[0], rows[way]["exact"][1] + stack[1]) for way in WAYS]
    return all(gain > max(3 * noise, 0.5 * (base[0] - stack[0])) for gain, noise in gaps)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        write_stack(Path(work))
        runs = [measure(Path(work), seed, asked.steps) for seed in asked.seeds]
    found = {"seeds": asked.seeds, "steps": asked.steps, "rows": summed(runs), "runs": runs}
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "healing.json").write_text(json.dumps(found, indent=1) + "\n")
    (asked.out / "healing.md").write_text(page(found))
    print(page(found))
    return 0 if recovers(found["rows"]) else 1


if __name__ == "__main__":
    sys.exit(main())
