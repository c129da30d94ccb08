"""What is measured: the floor, starting up, and every method through both tools."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes import PEER, models_read, recipe

SMOKE_METHODS = ("linear", "ties")
FLOOR, START = "floor", "start-up"


@dataclass(frozen=True)
class Case:
    """One command.

    Attributes:
        who: `floor`, `cuvee` or `mergekit`.
        what: a method, `start-up`, or for the floor the number of models read.
        command: the process.
        out: what it writes; removed after every run.
        moved: bytes read and written.
        reads: how many models it reads.
    """

    who: str
    what: str
    command: Sequence[str]
    out: Path
    moved: int
    reads: int


def floor_name(reads: int) -> str:
    """What the floor of so many models is called."""
    return f"{reads} model" if reads == 1 else f"{reads} models"


def cases(methods: Sequence[str], large: Path, tiny: Path, room: Path, peer: Path | None) -> list[Case]:
    """Every case.

    Args:
        methods: the methods to measure.
        large: the models to measure with.
        tiny: models that take no time, for the start-up.
        room: where recipes and outputs go.
        peer: interpreter that has mergekit.
    """
    one = (large / "a" / "model.safetensors").stat().st_size
    counts = sorted({models_read(method) for method in methods})
    found = [_floor(large, room, count, one) for count in counts]
    tools: dict[str, Any] = {"cuvee": cuvee} | ({"mergekit": lambda *p: _mergekit(peer, *p)} if peer else {})
    for who, command in tools.items():
        out = room / "out"
        start = write(room / "start-up.yml", recipe("linear", tiny))
        found.append(Case(who, START, command(start, out), out, 0, 0))
        for method in methods:
            if who == "mergekit" and method not in PEER:
                continue
            asked = write(room / f"{method}.yml", recipe(method, large))
            reads = models_read(method)
            found.append(Case(who, method, command(asked, out), out, (reads + 1) * one, reads))
    return found


def _floor(models: Path, room: Path, count: int, one: int) -> Case:
    """Read `count` models to nowhere, then copy one."""
    names = ("a", "b", "c", "base")[:count]
    files = " ".join(shlex.quote(str(models / name / "model.safetensors")) for name in names)
    out = room / "out"
    first = shlex.quote(str(models / "a"))
    copy = "cp -r --reflink=never" if sys.platform == "linux" else "cp -r"  # a reflink moves no bytes
    script = f"cat {files} > /dev/null && {copy} {first} {shlex.quote(str(out))}"
    return Case(FLOOR, floor_name(count), ("sh", "-c", script), out, (count + 1) * one, count)


def cuvee(asked: Path, out: Path, *options: str) -> Sequence[str]:
    """The command of a merge by Cuvee."""
    return (sys.executable, "-m", "cuvee", "merge", str(asked), "-o", str(out), *options)


def _mergekit(peer: Path, asked: Path, out: Path) -> Sequence[str]:
    program = peer.with_name("mergekit-yaml")
    options = ("--no-copy-tokenizer", "--no-write-model-card", "--quiet", "--random-seed", "0")
    return (str(peer), str(program), str(asked), str(out), *options)


def write(path: Path, content: Mapping[str, Any]) -> Path:
    """JSON is YAML."""
    path.write_text(json.dumps(content, indent=1), "utf-8")
    return path
