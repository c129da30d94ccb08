"""Measure the published claims again and write `benchmarks/results/claims/`: `make claims`.

    python -m benchmarks.claims [--tier 0 1] [--seeds 0 1 2] [--jobs 2] [--quick] [--page-only]

Tier 0 (digits) and 1 (glyphs, soups) take ten minutes on two idle cores, tier 2 (language models) a quarter of an hour
per seed. Models are kept in `benchmarks/cache/claims/`, so that a second run only merges and judges. A track's results
of a seed stand in a file of their own; the page is made of all that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks.claims.measuring import read, run, wanted
from benchmarks.claims.page import page, summary

RESULTS = Path(__file__).parents[1] / "results" / "claims"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--tier", nargs="+", type=int, choices=(0, 1, 2), default=[0, 1], help="what is measured")
    parser.add_argument("--seeds", nargs="+", type=int, help="instead of each track's own")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="tracks measured side by side")
    parser.add_argument("--quick", action="store_true", help="a smoke test: hardly trained, says nothing of any claim")
    parser.add_argument("--page-only", action="store_true", help="only write the page again")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/claims")
    asked = parser.parse_args()
    if asked.quick and not asked.out:
        parser.error("--quick needs --out: its results must not stand beside real ones")
    out = asked.out or RESULTS
    well = asked.page_only or run(wanted(asked.tier, asked.seeds), asked.jobs, asked.quick, out)
    out.mkdir(parents=True, exist_ok=True)
    units = read(out)
    (out / "README.md").write_text(page(units), encoding="utf-8")
    (out / "verdicts.json").write_text(json.dumps(summary(units), indent=1) + "\n", encoding="utf-8")
    print(page(units, tables=False))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
