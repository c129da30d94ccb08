"""Measure merges on a GPU against the processor, the disk's floor and the floor that the bus sets; bytes are compared.

    python benchmarks/gpu.py                        half a billion parameters, three repeats
    python benchmarks/gpu.py --size 1.24 --device cuda:1
    python benchmarks/gpu.py --tiles 20 22 24       tiles of 2^20, 2^22 and 2^24 entries
    python benchmarks/gpu.py --smoke --device cpu   tiny models: only to see that this script works

The figures go to benchmarks/results/gpu.json and gpu.md. Without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine
import measure
import models
from cases import FLOOR, METHODS, START, Case, cases, models_read, recipe
from run import HERE, ROOM, interleaved, workplace

PIECE = 64 << 20
"""Bytes copied at a time to measure the bus."""
COLUMNS = ("method", "tile", "GPU s", "CPU s", "CPU ÷ GPU", "GPU net ÷ floor", "GPU net ÷ bus", "same bytes")
EXPLAINED = (
    "Medians of whole processes. *net*: less the start-up of that device, on tiny models. *floor*: `cat` of as "
    "many models to /dev/null and `cp` of one. *bus*: the bytes that must cross it once, by its measured speed."
)


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=models.SHAPES, default="0.5", help="billions of parameters per model")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--tiles", nargs="+", type=int, default=[0], help="powers of two; 0 leaves the choice to Cuvee")
    parser.add_argument("--folder", type=Path, help="where inputs and outputs lie; in memory if there is room")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--smoke", action="store_true")
    asked = parser.parse_args(given)
    if asked.smoke:
        asked.size, asked.repeats, asked.methods = "tiny", 1, ("linear", "ties")
    return asked


def bus(device: str) -> dict[str, float]:
    """Gigabytes per second from pinned memory to the device and back."""
    import torch

    is_cuda = device.startswith("cuda")
    here = torch.empty(PIECE, dtype=torch.uint8, pin_memory=is_cuda)
    there = torch.empty(PIECE, dtype=torch.uint8, device=device)

    def speed(into: Any, source: Any) -> float:
        best = 0.0
        for _ in range(10):
            begin = time.perf_counter()
            into.copy_(source, non_blocking=True)
            if is_cuda:
                torch.cuda.synchronize()
            best = max(best, PIECE / (time.perf_counter() - begin) / 1e9)
        return best

    return {"to_device": speed(there, here), "to_host": speed(here, there)}


def on(case: Case, device: str, tile: int) -> Case:
    """The same command on a device."""
    more = ("--device", device, *(("--tile", str(1 << tile)) if tile else ()))
    return replace(case, who=f"{device} {tile}", command=(*case.command, *more))


def same_bytes(method: str, large: Path, room: Path, device: str) -> bool:
    """Whether both devices give one content hash."""
    import cuvee

    found = [
        cuvee.merge(recipe(method, large), room / "same", overwrite=True, device=one).record["output"]["content"]
        for one in ("cpu", device)
    ]
    return found[0] == found[1]


def rows(asked: argparse.Namespace, runs: Any, one: int, speeds: dict[str, float], same: Any) -> list[dict[str, Any]]:
    """One row per method and tile."""
    walls = {(c.who, c.what): measure.spread([r.wall for r in found]).middle for c, found in runs.items()}
    made = []
    for method in asked.methods:
        reads = models_read(method)
        floor, cpu = walls[FLOOR, f"{reads} models"], walls["cuvee", method]
        crossing = reads * one / speeds["to_device"] / 1e9
        for tile in asked.tiles:
            wall = walls[f"{asked.device} {tile}", method]
            net = wall - walls[f"{asked.device} {asked.tiles[0]}", START]
            figures = (wall, cpu, cpu / wall, net / floor, net / crossing)
            made.append(dict(zip(COLUMNS, (method, tile or "auto", *(round(f, 3) for f in figures), same[method]))))
    return made


def keep(found: list[dict[str, Any]], about: dict[str, Any], folder: Path) -> None:
    """JSON and Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.json").write_text(json.dumps({"about": about, "rows": found}, indent=1) + "\n", "utf-8")
    table = [COLUMNS, ["---"] * len(COLUMNS), *([str(row[c]) for c in COLUMNS] for row in found)]
    lines = ["# On a GPU", "", *(f"- {k}: {v}" for k, v in about.items()), ""]
    lines += ["| " + " | ".join(row) + " |" for row in table]
    (folder / "gpu.md").write_text("\n".join([*lines, "", EXPLAINED, ""]), "utf-8")
    print("\n".join(lines))


def main(given: Sequence[str]) -> None:
    asked = arguments(given)
    import torch

    if asked.device != "cpu" and not torch.cuda.is_available():
        sys.exit("torch finds no GPU here: nothing was measured")
    with workplace(asked.folder, ROOM * models.parameters(asked.size) * models.BYTES) as room:
        cache = room / "cache" if asked.smoke else HERE / "cache"
        large, tiny = (models.place(models.build(size, cache), room) for size in (asked.size, "tiny"))
        todo = cases(asked.methods, large, tiny, room, None)
        ours = [case for case in todo if case.who == "cuvee"]
        todo += [on(case, asked.device, tile) for tile in asked.tiles for case in ours]
        for case in todo:
            if case.what == START:
                measure.run(case)
        runs = interleaved(todo, asked.repeats)
        speeds = bus(asked.device)
        same = {method: same_bytes(method, large, room, asked.device) for method in asked.methods}
        name = torch.cuda.get_device_name(asked.device) if asked.device != "cpu" else "the processor"
        about = {"device": name, "bus_gb_per_s": speeds, "size": asked.size, "repeats": asked.repeats}
        one = (large / "a" / "model.safetensors").stat().st_size
        keep(rows(asked, runs, one, speeds, same), about | machine.facts(room, None), asked.results)
    if not all(same.values()):
        sys.exit("the bytes differ")


if __name__ == "__main__":
    main(sys.argv[1:])
