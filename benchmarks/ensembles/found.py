"""What the benchmarks of ensembles have in common: predictions out of fold, tables, and where figures are written."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cuvee.predict import Bank
from cuvee.predict.bank import Provenance

RESULTS = Path(__file__).parents[1] / "results"
Array = np.ndarray[Any, Any]
Makers = Mapping[str, Callable[[], Any]]


def out_of_fold(makers: Makers, x: Array, y: Array, classes: int, *, folds: int, seed: int) -> Bank:
    """What models say of rows that they were not trained on: a bank of N rows."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    said = {name: cross_val_predict(make(), x, y, cv=splits, method="predict_proba") for name, make in makers.items()}
    return bank_of(said, y, classes, "out-of-fold", x)


def asked(models: Mapping[str, Any], x: Array, y: Array, classes: int, how: Provenance = "hold-out") -> Bank:
    """What trained models say of rows."""
    return bank_of({name: model.predict_proba(x) for name, model in models.items()}, y, classes, how, x)


def bank_of(said: Mapping[str, Array], y: Array, classes: int, how: Provenance, x: Array | None = None) -> Bank:
    """A bank of probabilities; `x` are the rows' own numbers."""
    p = np.stack(list(said.values())).astype(np.float64)
    labels = tuple(range(classes))
    ids = tuple(map(str, range(len(y))))
    members, mask = tuple(said), np.ones(p.shape[:2], bool)
    return Bank(
        "classification", members, labels, p, mask, ids, np.asarray(y), (how,) * len(p), (True,) * len(p), features=x
    )


def accuracy(p: Array, y: Array) -> float:
    return float((p.argmax(axis=1) == y).mean())


def log_loss(p: Array, y: Array) -> float:
    from cuvee.judging.answers import Answers
    from cuvee.judging.metrics import score_of

    ids = tuple(map(str, range(len(y))))
    return score_of(Answers("classification", {"truth": y, "probabilities": p}, ids), "log_loss").value


def table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table of Markdown; numbers with four digits, bold ones as they are."""
    cells = [[f"{one:.4f}" if isinstance(one, float) else str(one) for one in row] for row in rows]
    lines = ["| " + " | ".join(heading) + " |", "| --- |" + " ---: |" * (len(heading) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in cells)])


def bars(found: Mapping[str, tuple[float, str, float]]) -> str:
    """What was to be shown: figure, relation and bar, and whether it holds."""
    rows = [
        (what, value, f"{how} {bar:g}", "yes" if holds(value, how, bar) else "**no**")
        for what, (value, how, bar) in found.items()
    ]
    return table(("bar", "measured", "asked", "kept"), rows)


def holds(value: float, how: str, bar: float) -> bool:
    return {"≤": value <= bar, "≥": value >= bar, "<": value < bar, "=": value == bar}[how]


def written(name: str, title: str, text: str, data: Mapping[str, Any], out: Path) -> None:
    """The figures as a page and as JSON; nothing in them tells whose machine it was."""
    page = f"# {title}\n\n{text}\n\nMade by `benchmarks/ensembles/{name}.py`. {_versions()}\n"
    out.mkdir(parents=True, exist_ok=True)
    (out / f"ensemble-{name}.md").write_text(page)
    (out / f"ensemble-{name}.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    print(page)


def _versions() -> str:
    named = ", ".join(f"{one} {version(one)}" for one in ("scikit-learn", "numpy", "cuvee"))
    return f"{named}, Python {platform.python_version()}; the figures depend on seeds and versions, not on the machine."


def kept(found: Mapping[str, tuple[float, str, float]]) -> int:
    """Exit status: whether all bars hold."""
    return 0 if all(holds(*one) for one in found.values()) else 1


def one_thread() -> None:
    """Threads of numerical libraries only wait for each other here; must be called before they are loaded."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.dont_write_bytecode = True
