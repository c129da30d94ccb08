"""What is measured: the floor, starting up, and every method through both tools."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METHODS = ("linear", "slerp", "task_arithmetic", "ties", "dare_ties")
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


def recipe(method: str, models: Path) -> dict[str, Any]:
    """The recipe of a method over the models of a folder."""
    tunes = [str(models / name) for name in "abc"]
    if method == "linear":
        return _listed(method, tunes, weight=[0.5, 0.3, 0.2])
    if method == "slerp":
        found = _listed(method, tunes[:2])
        return found | {"base_model": tunes[0], "parameters": {"t": 0.35}}
    found = _listed(
        method, tunes, weight=[0.5, 0.3, 0.4], **({} if method == "task_arithmetic" else {"density": [0.5] * 3})
    )
    return found | {"base_model": str(models / "base")}


def _listed(method: str, models: Sequence[str], **each: Sequence[float]) -> dict[str, Any]:
    listed = [{"model": m, "parameters": {k: v[i] for k, v in each.items()}} for i, m in enumerate(models)]
    return {"merge_method": method, "models": listed, "dtype": "bfloat16"}


def models_read(method: str) -> int:
    """2 for slerp, 3 for linear, 4 where there is a base too."""
    return {"linear": 3, "slerp": 2}.get(method, 4)


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
    tools: dict[str, Any] = {"cuvee": _cuvee} | ({"mergekit": lambda *p: _mergekit(peer, *p)} if peer else {})
    for who, command in tools.items():
        out = room / "out"
        start = _write(room / "start-up.yml", recipe("linear", tiny))
        found.append(Case(who, START, command(start, out), out, 0, 0))
        for method in methods:
            asked = _write(room / f"{method}.yml", recipe(method, large))
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
    return Case(FLOOR, f"{count} models", ("sh", "-c", script), out, (count + 1) * one, count)


def _cuvee(asked: Path, out: Path) -> Sequence[str]:
    return (sys.executable, "-m", "cuvee", "merge", str(asked), "-o", str(out))


def _mergekit(peer: Path, asked: Path, out: Path) -> Sequence[str]:
    program = peer.with_name("mergekit-yaml")
    options = ("--no-copy-tokenizer", "--no-write-model-card", "--quiet", "--random-seed", "0")
    return (str(peer), str(program), str(asked), str(out), *options)


def _write(path: Path, content: Mapping[str, Any]) -> Path:
    """JSON is YAML."""
    path.write_text(json.dumps(content, indent=1), "utf-8")
    return path
