"""Measure plans of giants, and merges of a tensor that is larger than the memory allowed.

    python benchmarks/giants.py                 plans of 64 B models, merges of a 4.3 GB embedding: needs 20 GB of disk
    python benchmarks/giants.py --smoke         small ones: only to see that this script works

What matters here is memory: the most anonymous memory (RssAnon, sampled) against the limit and the plan's estimate.
Every merge is compared with the formulas in `formulas.py` in a few ranges. What was written is removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import embedding
import formulas
import machine
import models
import numpy as np
import sparse
from measure import Run, watch

HERE = Path(__file__).parent
LIMIT = "1GiB"
TUNES = 8
METHODS = ("linear", "slerp", "ties", "dare_ties")
SMALL_SHAPE, SMALL_SHARD = (4096, 1024), 10**6
LOOK = 1 << 18
"""Entries of a range that is compared."""
EXPLAINED = (
    "*peak*: the most anonymous memory (RssAnon, sampled every 5 ms); pages of files do not count. *estimate*: what "
    "`cuvee plan` says of that merge. *unlike*: entries that differ from the formulas in numpy, of those "
    "compared, which may round another way in float32; *apart*: by how many steps of bfloat16 at most. "
    "Wall times are of a machine that had other work to do."
)


@dataclass(frozen=True)
class Planned:
    """A plan of a giant: what was planned, seconds of wall and CPU time, and peak memory in bytes."""

    model: str
    tensors: int
    parameters: int
    form: str
    wall: float
    cpu: float
    peak: int


@dataclass(frozen=True)
class Merged:
    """A merge of the embedding; memory in bytes."""

    method: str
    limit: str
    threads: int
    tile: int
    wall: float
    peak: int
    estimate: int
    compared: int
    unlike: int
    apart: int


def plans(room: Path, smoke: bool) -> Iterator[Planned]:
    """Plan TIES of a base and eight fine-tunes, as text and as JSON."""
    giants = {"tiny": models.SHAPES["tiny"]} if smoke else sparse.GIANTS
    for name, shape in giants.items():
        folders = [room / name / model for model in ("base", *(f"tune-{i}" for i in range(1, TUNES + 1)))]
        for folder in folders:
            sparse.write_sparse(folder, shape, SMALL_SHARD if smoke else sparse.SHARD)
        each = {"weight": 0.3, "density": 0.5}
        asked = _write(room / f"{name}.yml", "ties", folders[1:], each, base_model=str(folders[0]))
        for form, options in (("text", ()), ("JSON", ("--json",))):
            run = watch(_cuvee("plan", str(asked), *options), f"plan of {name}")
            count = len(list(shape.tensors()))
            times = round(run.wall, 2), round(run.cpu, 2)
            yield Planned(name, count, sparse.parameters(shape), form, *times, run.anonymous)


def merges(room: Path, methods: Sequence[str], smoke: bool) -> Iterator[Merged]:
    """Merge the embedding by some methods under the limit, and look at what came out."""
    shape = SMALL_SHAPE if smoke else embedding.SHAPE
    embedding.write_models(room / "models", shape)
    files = {name: room / "models" / f"{name}.safetensors" for name in embedding.MODELS}
    base, *tunes = (embedding.opened(file, shape) for file in files.values())
    expected = formulas.Expected(base, tunes, lambda number, start, stop: _draws(files, number, start, stop))
    for method in methods:
        asked, out = _recipe(room, method, files), room / "out"
        options = ("--max-memory", LIMIT)
        cost = json.loads(subprocess.check_output(_cuvee("plan", str(asked), "--json", *options)))["cost"]
        run = watch(_cuvee("merge", str(asked), "-o", str(out), *options), method)
        yield _merged(method, run, cost, embedding.opened(out / "model.safetensors", shape), expected)
        shutil.rmtree(out)


def _merged(method: str, run: Run, cost: dict[str, int], found: np.ndarray, expected: formulas.Expected) -> Merged:
    """The figures of one merge, and how its output compares at the start, inside and at the end."""
    numel = len(found)
    unlike = apart = 0
    starts = sorted({int(share * (numel - LOOK)) // 1024 * 1024 for share in (0, 0.237, 0.5, 0.811, 1)})
    for start in starts:
        made, wanted = found[start : start + LOOK], expected.of(method, start, start + LOOK)
        steps = np.abs(_ordered(made) - _ordered(wanted))
        unlike, apart = unlike + int(np.count_nonzero(steps)), max(apart, int(steps.max()))
    return Merged(
        method,
        LIMIT,
        cost["threads"],
        cost["tile"],
        round(run.wall, 1),
        run.anonymous,
        cost["memory"],
        LOOK * len(starts),
        unlike,
        apart,
    )


def _ordered(bits: np.ndarray) -> np.ndarray:
    """Bits of bfloat16 as integers that order as the numbers do, with one zero."""
    magnitude = (bits & 0x7FFF).astype(np.int64)
    return np.where(bits >> 15, -magnitude, magnitude)


def _draws(files: dict[str, Path], number: int, start: int, stop: int) -> np.ndarray:
    """The uniform numbers of a fine-tune: what a seed stands for is Cuvee's own affair."""
    from cuvee.methods.tiles import mask_keys
    from cuvee.tensors import uniform

    keys = mask_keys(0, [str(files[name]) for name in embedding.MODELS[1:]], embedding.NAME)
    found: np.ndarray = uniform(keys[number], start, stop).numpy()
    return found


def _recipe(room: Path, method: str, files: dict[str, Path]) -> Path:
    base, *tunes = files.values()
    at = room / f"{method}.yml"
    if method == "slerp":
        return _write(at, method, [base, tunes[0]], {}, base_model=str(base), parameters={"t": formulas.T})
    density = {} if method == "linear" else {"density": formulas.DENSITY}
    origin = {} if method == "linear" else {"base_model": str(base)}
    listed = [{"weight": weight, **density} for weight in formulas.WEIGHTS]
    return _write(at, method, tunes, *listed, **origin)


def _write(at: Path, method: str, listed: Sequence[Path], *each: dict[str, float], **more: Any) -> Path:
    """A recipe; JSON is YAML. The parameters are for all models, or one set for each."""
    own = each * len(listed) if len(each) == 1 else each
    entries = [{"model": str(model), "parameters": given} for model, given in zip(listed, own, strict=True)]
    at.write_text(json.dumps({"merge_method": method, "models": entries, **more}, indent=1), "utf-8")
    return at


def _cuvee(*words: str) -> Sequence[str]:
    """The command of the very package that this interpreter would import."""
    import cuvee

    source = Path(cuvee.__file__).parents[1]
    return ("env", f"PYTHONPATH={source}", sys.executable, "-m", "cuvee", *words)


def keep(planned: Sequence[Planned], merged: Sequence[Merged], facts: dict[str, Any], results: Path) -> None:
    """Write `giants.json` and `giants.md`."""
    results.mkdir(parents=True, exist_ok=True)
    data = {"format": 1, "machine": facts, "plans": [asdict(p) for p in planned], "merges": [asdict(m) for m in merged]}
    (results / "giants.json").write_text(json.dumps(data, indent=2) + "\n", "utf-8")
    (results / "giants.md").write_text(markdown(planned, merged, facts), "utf-8")


def markdown(planned: Sequence[Planned], merged: Sequence[Merged], facts: dict[str, Any]) -> str:
    """The figures as a page."""
    lines = [
        "# Giants",
        "",
        f"`cuvee plan` of TIES: a base and {TUNES} fine-tunes with true headers, and holes for numbers.",
        "",
        "| model | parameters | tensors | printed as | wall s | CPU s | peak MiB |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: |",
        *(
            f"| {p.model} | {p.parameters / 1e9:.1f} B | {p.tensors:,} | {p.form} | {p.wall} | {p.cpu} "
            f"| {p.peak / 2**20:.0f} |"
            for p in planned
        ),
        "",
        f"`cuvee merge --max-memory {LIMIT}` of one embedding of 128 Ki × 16 Ki in bfloat16, 4.3 GB per model.",
        "",
        "| method | threads | tile | wall s | peak MiB | estimate MiB | compared | unlike | apart |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {m.method} | {m.threads} | {m.tile:,} | {m.wall} | {m.peak / 2**20:.0f} | {m.estimate / 2**20:.0f} "
            f"| {m.compared:,} | {m.unlike:,} | {m.apart} |"
            for m in merged
        ),
        "",
        EXPLAINED,
        "",
        "Machine: " + "; ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def main(given: Sequence[str]) -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE / "cache", help="where the models are written")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where JSON and Markdown go")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--smoke", action="store_true", help="small models")
    asked = parser.parse_args(given)
    asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="giants-", dir=asked.folder) as folder:
        room = Path(folder).resolve()
        facts = machine.facts(room, None)
        planned = list(plans(room / "sparse", asked.smoke))
        merged = list(merges(room / "embedding", asked.methods, asked.smoke))
    keep(planned, merged, facts, asked.results)
    print(markdown(planned, merged, facts))


if __name__ == "__main__":
    main(sys.argv[1:])
