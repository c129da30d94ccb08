"""Write a pool of models and its tasks as ordinary folders.

    python -m benchmarks.claims.build NAME --out DIR [--seed 0]

For the string skills (`strings-s-pt`, `strings-m-it`, … and `strings-quick-it`, made in seconds and good for nothing):
`base/`, `experts/SKILL/`, `multitask/`, and `tasks/SKILL/{train,validation,test}.jsonl` with a prompt and its answer in
each row. Models are made once and kept in the cache; a second call copies them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.claims import language
from benchmarks.claims.cache import SETTINGS
from benchmarks.claims.strings import HELD_IN, HELD_OUT, INSTRUCTIONS, SKILLS, write_task

ROWS: Mapping[str, int] = {"train": 1000, "validation": 200, "test": 300}
TASK_SEED = 4242


def copied(models: Mapping[str, Path], out: Path) -> None:
    for name, folder in models.items():
        shutil.copytree(folder, out / name, ignore=shutil.ignore_patterns(SETTINGS))


def build_strings(size: language.Size, kind: language.Kind, seed: int, out: Path) -> None:
    """Write a language pool and the tasks of all its skills."""
    pool = language.pool(size, kind, seed, lambda text: print(text, file=sys.stderr))
    experts = {f"experts/{word}": folder for word, folder in pool.experts.items()}
    copied({"base": pool.base, **experts, "multitask": pool.multitask}, out)
    for word in SKILLS:
        write_task(word, out / "tasks" / word, ROWS, TASK_SEED)
    roles = {"held_in": HELD_IN, "held_out": HELD_OUT, "instructions": INSTRUCTIONS}
    (out / "pool.json").write_text(json.dumps({"seed": seed, "skills": roles}, indent=1) + "\n")


NAMES = tuple(f"strings-{size.lower()}-{kind}" for size in language.SIZES for kind in ("pt", "it"))


def build(name: str, seed: int, out: Path) -> None:
    """Write the pool of this name into a folder that is not there yet, whole or not at all."""
    if out.exists():
        raise SystemExit(f"{out} is there already; name a folder that is not")
    staged = out.with_name(f".{out.name}.part")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    _, size, kind = name.split("-")
    build_strings(language.SIZES[size if size == "quick" else size.upper()], kind, seed, staged)  # type: ignore[arg-type]
    staged.rename(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    build(asked.name, asked.seed, asked.out)


if __name__ == "__main__":
    main()
