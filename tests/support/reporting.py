"""A small merge with everything that a report may tell of it; names in it would break a page that does not escape."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cuvee
from cuvee.judging.answers import Answers
from tests.support.merging import decoder, write

HOSTILE = '"><img src=x onerror=alert(1)>'
"""A model's folder."""
SCRIPT = "</script><script>alert(2)</script><!--"
"""A task, a hole, a note."""
ROWS = 40


def folder_of(root: Path) -> Path:
    """Models, and a merge of two of them over a base, whose recipe's paths lead from the folder above the merge."""
    base = decoder(0, layers=3)
    for number, name in enumerate(("base", "one", HOSTILE)):
        drawn = decoder(number + 1, layers=3)
        values = {key: value + (0.1 * drawn[key] if number else 0) for key, value in base.items()}
        write(root / "models" / name, values)
    recipe = {
        "merge_method": "ties",
        "base_model": "./models/base",
        "models": [
            {"model": "./models/one", "parameters": {"weight": [0.2, 1.0], "density": 0.5}},
            {"model": f"./models/{HOSTILE}", "parameters": {"weight": 0.5, "density": 0.5}},
        ],
        "parameters": {"normalize": True, "lambda": 0.8},
    }
    cuvee.merge(cuvee.recipe_from(recipe, root=root), root / "merged", seed=3)
    return root / "merged"


def answers(hits: Sequence[int]) -> Answers:
    """Right and wrong answers of a model on rows of two groups."""
    import numpy as np

    ids = tuple(f"r{n}" for n in range(len(hits)))
    groups = {"language": tuple("en" if n % 2 else "de" for n in range(len(hits)))}
    columns = {"correct": np.array(hits, dtype=np.uint8), "parsed": np.ones(len(hits), dtype=np.uint8)}
    return Answers("match", columns, ids=ids, groups=groups)


def hits(share: float, shift: int = 0) -> list[int]:
    """So many right ones of `ROWS`, beginning somewhere."""
    return [int((n + shift) % ROWS < share * ROWS) for n in range(ROWS)]


def comparison(root: Path) -> dict[str, Any]:
    """What `cuvee compare --json` prints of the models, the merge and an ensemble; the merge is better."""
    shares = {
        str(root / "models/base"): (0.2, 0.3),
        str(root / "models/one"): (0.8, 0.3),
        str(root / "models" / HOSTILE): (0.3, 0.7),
        str(root / "merged"): (0.95, 0.9),
        "ensemble": (0.9, 0.9),
    }
    given = {(m, task): answers(hits(s)) for m, both in shares.items() for task, s in zip(("sums", SCRIPT), both)}
    found = cuvee.compare(answers=given, parents=list(shares)[:3], groups=["language"], draws=200)
    return {"schema": 1, "command": "compare", **plain(found.as_data())}


def plain(value: Any) -> Any:
    """As JSON has it: nothing where there is no number."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and value != value else value


def explanation() -> dict[str, Any]:
    """What `cuvee explain --json` prints."""

    def gain(value: float) -> dict[str, float]:
        return {"value": value, "stderr": 0.02, "low": value - 0.04, "high": value + 0.04}

    parts = [
        {
            "name": "models/one",
            "shapley": gain(0.5),
            "leave_one_out": gain(0.4),
            "alone": {"value": 0.8, "stderr": 0.06},
        },
        {"name": f"models/{HOSTILE}", "shapley": gain(0.25), "leave_one_out": gain(-0.1), "alone": None},
    ]
    one = {
        "subject": "merge",
        "task": "sums",
        "metric": "correct",
        "direction": "higher",
        "n": ROWS,
        "of": "models",
        "whole": {"value": 0.95, "stderr": 0.03},
        "nothing": {"what": "the base", "value": 0.2, "stderr": 0.06},
        "exact": True,
        "coalitions": 4,
        "permutations": None,
        "parts": parts,
    }
    cites = [{"text": "Shapley 1953, A value for n-person games", "arxiv": None}]
    return {"schema": 1, "command": "explain", "path": "merged", "explanations": [one], "notes": [], "citations": cites}


def search_folder(folder: Path) -> Path:
    """What `cuvee search` writes, for two objectives."""
    folder.mkdir()
    gains = [(0.5, 0.6), (0.7, 0.5), (0.4, 0.4), (0.6, 0.9)]
    lines: list[dict[str, Any]] = [{"journal": 1}]
    for number, both in enumerate(gains):
        values = {f"models[0].{SCRIPT}": 0.1 * number}
        lines.append({"number": number, "values": values, "state": "scored", "gains": list(both), "seconds": 0.5})
    lines.append({"number": 4, "values": {}, "state": "failed", "error": "ValueError: no", "seconds": 0.1})
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"number": 5, "val')

    def figure(value: float) -> dict[str, float]:
        return {"value": value, "stderr": 0.02}

    result = {
        "schema": 1,
        "strategy": "nsga2",
        "objectives": [{"task": "sums"}, {"task": SCRIPT}],
        "best": {"trial": 3, "values": lines[4]["values"], "search": figure(0.75), "held_out": figure(0.7)},
        "optimism": figure(0.05),
        "best_parent": {
            "model": "models/one",
            "search": figure(0.6),
            "held_out": figure(0.6),
            "best_is_more_by": figure(0.1),
            "best_is": "better",
        },
        "uniform": None,
        "pareto": [{"trial": 1, "gains": gains[1]}, {"trial": 3, "gains": gains[3]}],
        "notes": [SCRIPT],
        "citations": [{"text": "Deb et al. 2002, NSGA-II", "arxiv": None, "url": None}],
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def evidence_files(root: Path) -> list[Path]:
    """The comparison and the explanation as files."""
    made = []
    for name, told in (("compare", comparison(root)), ("explain", explanation())):
        made.append(root / f"{name}.json")
        made[-1].write_text(json.dumps(told))
    return made
