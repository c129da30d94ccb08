"""Small tables and configurations of ensembles, as files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("oak", "pine", "yew")
CONFIG = """\
label: kind
id: tree
members:
  - {name: lr, kind: sklearn, estimator: logistic-regression, settings: {C: 0.5}}
  - {name: nb, kind: sklearn, estimator: gaussian-nb}
  - {name: knn, kind: sklearn, estimator: k-nearest-neighbours, settings: {n_neighbors: 7}}
combiner: {name: greedy, settings: {rounds: 10}}
"""


def trees(count: int, seed: int = 0, start: int = 0) -> list[dict[str, Any]]:
    """Rows of three kinds of trees that overlap; every tenth has no girth."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        kind = number % 3
        height, girth = rng.normal((12 + 4 * kind, 3 - kind), (2.0, 0.8))
        cell = "" if number % 10 == 9 else round(girth, 3)
        row = {
            "tree": f"t{start + number}",
            "height": round(height, 3),
            "girth": cell,
            "note": f"{KINDS[kind][0]} tree",
        }
        rows.append({**row, "kind": KINDS[kind]})
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], leave: Sequence[str] = ()) -> Path:
    """Rows as CSV, some columns left out."""
    with path.open("w", newline="", encoding="utf-8") as file:
        names = [name for name in rows[0] if name not in leave]
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path
