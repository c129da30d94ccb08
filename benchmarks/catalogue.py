"""Every method on the demo's models: at published defaults and tuned on a validation draw, with error bars.

    python benchmarks/catalogue.py [--seeds 0 1 2] [--methods ties tsv_m] [--quick]

Trains the demo's specialists for each seed, merges all of them with every method, and judges each merge on all skills:
once with the settings that its paper or tool publishes, once with the best of a small grid on the validation draw.
Methods of one or two models merge the first ones and are judged on their skills only, in a table of their own.
Writes `results/catalogue.json` and `.md`. The error of a figure is that of the mean over skills, items and seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from catalogue_settings import LEFT_OUT, TRIALS, Settings, Trial

import cuvee
from cuvee import methods
from cuvee.demo.perform import FULL, QUICK, Size
from cuvee.demo.score import Hits, judge, mean, mean_stderr
from cuvee.demo.skills import items
from cuvee.demo.specialists import BASE, train_specialists, weights, with_weights
from cuvee.demo.train import one_thread
from cuvee.families import pretrained
from cuvee.types import MethodSpec

RESULTS = Path(__file__).parent / "results"
StateDict = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Row:
    """One method on one seed: means over skills with their errors, and the settings that were chosen."""

    method: str
    seed: int
    skills: tuple[str, ...]
    published: float
    published_error: float
    tuned: float
    tuned_error: float
    chosen: Settings


@dataclass(frozen=True)
class Bench:
    """The models of one seed, what was collected of them, and what they are asked."""

    seed: int
    size: Size
    model: Any
    base: StateDict
    specialists: Mapping[str, StateDict]
    collected: Mapping[str, Sequence[StateDict]]
    folder: Path

    def exam(self, words: Sequence[str], split: str) -> Mapping[str, Any]:
        count = self.size.test if split == "test" else self.size.validation
        return {word: items(word, split, count, self.seed) for word in words}

    def merged(self, spec: MethodSpec, words: Sequence[str], settings: Settings) -> StateDict:
        if "layer_scaling" in settings:
            return self.scaled(spec.name, words, settings)
        chosen = {word: self.specialists[word] for word in words}
        given: dict[str, Any] = {("lambda_" if k == "lambda" else k): v for k, v in settings.items()}
        models, base = chosen, self.base if spec.base == "required" else None
        if spec.base == "required" and spec.space == "weight" and spec.models == (1, 1) and len(words) == 2:
            first, second = words  # the base of an interpolation is one of its ends
            models, base = {second: chosen[second]}, chosen[first]
        if spec.collected:
            given["statistics"] = [self.collected[spec.collected][list(self.specialists).index(w)] for w in words]
        return cuvee.merge_state_dicts(models, spec.name, base=base, seed=self.seed, **given)

    def scaled(self, name: str, words: Sequence[str], settings: Settings) -> StateDict:
        """Merged by a recipe, which state dicts have none of: the layers of a merge are those of its configuration."""
        recipe = {
            "merge_method": name,
            "base_model": str(self.folder / "base"),
            "models": [{"model": str(self.folder / word)} for word in words],
            "parameters": {key: value for key, value in settings.items() if key != "layer_scaling"},
            "layer_scaling": settings["layer_scaling"],
        }
        return weights(cuvee.load(cuvee.recipe_from(recipe), seed=self.seed))

    def graded(self, state: StateDict, exam: Mapping[str, Any]) -> Hits:
        return judge(with_weights(self.model, state), exam)


def prepared(seed: int, size: Size, folder: Path) -> Bench:
    """The models of a seed, trained, and written into a folder that is not there yet."""
    base = pretrained.load_causal_lm(BASE)
    taught = train_specialists(base, size.words, size.schedule, seed, lambda: None)
    states = {word: weights(model) for word, model in taught.items()}
    for word, model in {"base": base, **taught}.items():
        pretrained.save(model, folder / word)
    return Bench(
        seed, size, pretrained.load_causal_lm(BASE), weights(base), states, collected(folder, states, seed), folder
    )


def collected(folder: Path, words: Iterable[str], seed: int) -> Mapping[str, Sequence[StateDict]]:
    """What `cuvee collect` finds out about every specialist on lessons of its own skill."""
    from safetensors.torch import load_file

    found: dict[str, list[StateDict]] = {"gram": [], "fisher": []}
    for word in words:
        lines = [json.dumps({"input_ids": list(document.ids)}) for document in items(word, "train", 256, seed)]
        data = folder / f"{word}.jsonl"
        data.write_text("\n".join(lines) + "\n")
        for kind, states in found.items():
            out = folder / f"{word}.{kind}.safetensors"
            cuvee.collect(folder / word, data=data, kind=kind, out=out)
            states.append(load_file(out))
    return found


def row_of(bench: Bench, name: str, trial: Trial) -> Row:
    spec = methods.get(trial.method or name).spec
    words = list(bench.specialists)[: trial.models]
    validation, test = bench.exam(words, "validation"), bench.exam(words, "test")
    published = bench.graded(bench.merged(spec, words, trial.published), test)
    choices = [trial.published, *({**trial.published, **one} for one in trial.tuned)]
    if bench.size is QUICK:
        choices = choices[:2]
    grades = [mean(bench.graded(bench.merged(spec, words, one), validation)) for one in choices]
    chosen = choices[grades.index(max(grades))]
    tuned = bench.graded(bench.merged(spec, words, chosen), test)
    figures = (mean(published), mean_stderr(published), mean(tuned), mean_stderr(tuned))
    return Row(name, bench.seed, tuple(words), *figures, chosen)


def reference_rows(bench: Bench) -> Iterable[tuple[str, float]]:
    """The base and the specialists, on all skills."""
    exam = bench.exam(list(bench.specialists), "test")
    yield "base", mean(bench.graded(bench.base, exam))
    scores = [mean(bench.graded(state, exam)) for state in bench.specialists.values()]
    yield "best specialist", max(scores)
    own = [mean(bench.graded(s, {w: exam[w]})) for w, s in bench.specialists.items()]
    yield "each specialist on its own skill", statistics.mean(own)


def told(bench: Bench, name: str) -> Row:
    """A row, which is shown."""
    began = time.perf_counter()
    row = row_of(bench, name, TRIALS[name])
    took = time.perf_counter() - began
    print(f"seed {bench.seed} {name}: {row.published:.3f} {row.tuned:.3f} ({took:.1f} s)", file=sys.stderr)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=sorted(TRIALS), default=None)
    parser.add_argument("--quick", action="store_true", help="little training, few items, two settings: a smoke test")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    known = set(methods.names())
    if unknown := known - TRIALS.keys() - LEFT_OUT.keys():
        raise SystemExit(f"no settings for {sorted(unknown)}: add them to catalogue_settings.py")
    chosen = asked.methods or [name for name, trial in TRIALS.items() if (trial.method or name) in known]
    rows, references = [], {}
    with one_thread():
        for seed in asked.seeds:
            with TemporaryDirectory() as folder:
                bench = prepared(seed, QUICK if asked.quick else FULL, Path(folder))
                references[seed] = dict(reference_rows(bench))
                rows += [told(bench, name) for name in chosen]
    data = {"seeds": asked.seeds, "quick": asked.quick, "references": references, "rows": [asdict(r) for r in rows]}
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "catalogue.json").write_text(json.dumps(data, indent=1) + "\n")
    (asked.out / "catalogue.md").write_text(page(rows, references, asked.quick))


def page(rows: Sequence[Row], references: Mapping[int, Mapping[str, float]], quick: bool) -> str:
    """The tables, best tuned first."""
    seeds = sorted({row.seed for row in rows})
    lines = ["# Every method on the demo's models", ""]
    lines += [
        f"Exact match in per cent, mean over skills, {len(seeds)} seeds ({', '.join(map(str, seeds))}): of training, "
        "items and masks. ± is the standard error: of the items, or of the seeds where there are several, whichever "
        "is larger. Tuned: the best of a small grid on the validation draw, judged on the test draw. "
        "`python benchmarks/catalogue.py` writes this page. Small models, short strings: orders, not laws.",
        "",
    ]
    if quick:
        lines += ["**A smoke test: little training, few items. Do not quote.**", ""]
    names = list(next(iter(references.values())))
    for name in names:
        found = [references[seed][name] for seed in seeds]
        lines.append(f"- {name}: {_cell(found, [0.0] * len(found))}")
    for title, chosen in (
        ("All specialists", [r for r in rows if TRIALS[r.method].models is None]),
        ("Two specialists, judged on their two skills", [r for r in rows if TRIALS[r.method].models == 2]),
        ("One specialist and the base, judged on its skill", [r for r in rows if TRIALS[r.method].models == 1]),
    ):
        if chosen:
            lines += ["", f"## {title}", "", *_table(chosen)]
    left = ", ".join(f"`{name}` ({why})" for name, why in LEFT_OUT.items() if name in methods.names())
    lines += ["", f"Not in the tables: {left}.", ""]
    return "\n".join(lines)


def _table(rows: Sequence[Row]) -> Iterable[str]:
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.method, []).append(row)
    yield "| method | published defaults | tuned | whose defaults | chosen, by seed |"
    yield "| --- | --- | --- | --- | --- |"
    for name, found in sorted(by_name.items(), key=lambda one: -statistics.mean(r.tuned for r in one[1])):
        first = _cell([r.published for r in found], [r.published_error for r in found])
        second = _cell([r.tuned for r in found], [r.tuned_error for r in found])
        settings = "; ".join(_settings(r.chosen) for r in found)
        yield f"| `{name}` | {first} | {second} | {TRIALS[name].source} | {settings} |"


def _settings(settings: Settings) -> str:
    plain = [(key, value) for key, value in settings.items() if key not in ("weight", "layer_scaling")]
    scaling = [(key, value) for key, value in settings.get("layer_scaling", {}).items() if key != "policy"]
    return ", ".join(f"{key} {value}" for key, value in (*plain, *scaling)) or "–"


def _cell(values: Sequence[float], errors: Sequence[float]) -> str:
    of_items = math.sqrt(sum(error**2 for error in errors)) / len(errors)
    of_seeds = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.1f} ± {100 * max(of_items, of_seeds):.1f}"


if __name__ == "__main__":
    main()
