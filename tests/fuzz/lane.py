"""The fuzz lane: `python -m tests.fuzz.lane`, or `make fuzz`.

Each input depends on the seed, the target and its number alone. What fails is saved, and run again with `--replay`.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random

from tests.fuzz.mutate import make
from tests.fuzz.seeds import seed_record
from tests.fuzz.targets import TARGETS, outcome, scratch

SLOW = 5.0
"""Seconds that no input may take."""


def made(target: str, seed: int, number: int) -> bytes:
    """One input."""
    return make(target, Random(f"{seed}/{target}/{number}"), lambda: seed_record(scratch() / "model"))


def tried(target: str, raw: bytes) -> str:
    """What became of an input: accepted, refused, or `failed` with the reason printed."""
    begin = time.monotonic()
    try:
        found = outcome(target, raw)
    except Exception:
        traceback.print_exc()
        return "failed"
    if time.monotonic() - begin > SLOW:
        print(f"slow: {time.monotonic() - begin:.1f} s", file=sys.stderr)
        return "failed"
    return found


def run(target: str, seed: int, count: int, failures: Path) -> Counter[str]:
    """Try so many inputs; what fails is saved."""
    outcomes: Counter[str] = Counter()
    begin = told = time.monotonic()
    for number in range(count):
        raw = made(target, seed, number)
        found = tried(target, raw)
        outcomes[found] += 1
        if found == "failed":
            failures.mkdir(parents=True, exist_ok=True)
            path = failures / f"{target}-{seed}-{number}"
            path.write_bytes(raw)
            print(f"failed: again with --target {target} --replay {path}", file=sys.stderr)
            if outcomes["failed"] >= 10:
                break
        if time.monotonic() - told > 5:
            told = time.monotonic()
            print(f"{target}: {number + 1:,} of {count:,}", file=sys.stderr, flush=True)
    took = time.monotonic() - begin
    total = sum(outcomes.values())
    words = ", ".join(f"{outcomes[word]:,} {word}" for word in ("accepted", "refused", "failed"))
    print(f"{target}: {total:,} inputs in {took:.0f} s ({total / max(took, 1e-9):,.0f}/s): {words}", flush=True)
    return outcomes


def main() -> int:
    """The exit code is 1 if an input failed."""
    parser = argparse.ArgumentParser(description="Fuzz the parsers.")
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=None, help="the time, if not given")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="all, if not given")
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"), help="folder for what fails")
    parser.add_argument("--replay", type=Path, help="a saved input to run once")
    asked = parser.parse_args()
    targets = asked.target or sorted(TARGETS)
    if asked.replay:
        found = [tried(target, asked.replay.read_bytes()) for target in targets]
        print(*found)
        return int("failed" in found)
    seed = int(time.time()) if asked.seed is None else asked.seed
    print(f"seed {seed}", flush=True)
    outcomes = [run(target, seed, asked.inputs, asked.failures) for target in targets]
    return int(any(found["failed"] for found in outcomes))


if __name__ == "__main__":
    sys.exit(main())
