"""What was learned: a recipe, and a log of how."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.single_file import write_single
from cuvee.coefficients.asked import Asked
from cuvee.errors import Fault, OutputExists, ResourceError, UsageError
from cuvee.planning.moving import moved
from cuvee.recipe import Recipe, recipe_hash, to_yaml
from cuvee.types import Cite

SCHEMA: Final = 1
"""Version of the log's form."""

CITES: Final = {
    "entropy": Cite("Yang et al. 2024, AdaMerging: Adaptive model merging for multi-task learning", arxiv="2310.02575"),
    "linear": Cite("Wortsman et al. 2022, Model soups (appendix I, learned soup)", arxiv="2203.05482"),
}
"""Where an objective, or what is learned for a method, comes from."""


@dataclass(frozen=True, slots=True)
class LearnResult:
    """What was learned.

    Attributes:
        recipe: with the learned weights; its model paths start where those of the given recipe do.
        coefficients: by model and group (`all`; or `outside` and the layers).
        curve: the objective at every step, on the step's batches, summed over data sets.
        before, after: the objective by data set, over its first 256 rows, at the start and at the end.
        temperature: what logits were multiplied with at the end, where that is learned; it is no part of the recipe.
        log: everything above and how it was asked for, ready for JSON.
        notes: what the user should know.
        path: the recipe's file, if one was written; the log stands beside it.
    """

    recipe: Recipe
    coefficients: Mapping[str, Mapping[str, float]]
    curve: tuple[float, ...]
    before: Mapping[str, float]
    after: Mapping[str, float]
    temperature: float | None
    log: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    path: Path | None = None


def log_of(result: LearnResult, asked: Asked, data: Sequence[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """The log of a run: same run, same text.

    Args:
        result: what was learned.
        asked: how.
        data: of every data set its name, file, number of rows and how many were cut.
        version: the Cuvee that learned.
    """
    settings = {**asdict(asked), "lr": asked.rate}
    del settings["rate"]
    keys = {asked.objective, result.recipe.method}
    return {
        "schema": SCHEMA,
        "cuvee": version,
        **settings,
        "method": result.recipe.method,
        "recipe_sha256": recipe_hash(result.recipe),
        "data": list(data),
        "coefficients": {model: dict(values) for model, values in result.coefficients.items()},
        "temperature": result.temperature,
        "before": dict(result.before),
        "after": dict(result.after),
        "losses": list(result.curve),
        "notes": list(result.notes),
        "citations": [asdict(cite) for key, cite in CITES.items() if key in keys],
    }


def log_beside(out: Path) -> Path:
    """Where the log of a recipe file is written."""
    return out.with_suffix(".json")


def check_out(out: Path, overwrite: bool, read: Sequence[Path]) -> None:
    """Refuse a place that nothing can be written to, before anything is learned.

    Args:
        out: the recipe's file to be.
        overwrite: whether files that are there may be replaced.
        read: files that are read, and must not be.

    Raises:
        UsageError: `bad-argument`: its name ends like that of the log.
        OutputExists: it or its log is there, or is a folder or one of the files read.
        ResourceError: its folder is not there or cannot be written to.
    """
    log = log_beside(out)
    if log == out:
        message = f"the learned recipe should be a YAML file, its log takes the name {log.name}; found {out}"
        raise UsageError(Fault("bad-argument", message, subject="out", hint="name it learned.yml, say"))
    for path in (out, log):
        if any(path.exists() and other.exists() and path.samefile(other) for other in read) or path.is_dir():
            message = f"{path} is a folder or one of the files that are read, and will not be replaced"
            raise OutputExists(Fault("unsafe-overwrite", message, subject=str(path), hint="choose another name"))
        if path.exists() and not overwrite:
            message = f"{path} is there already"
            raise OutputExists(
                Fault("output-exists", message, subject=str(path), hint="choose another name, or --overwrite")
            )
    folder = out.absolute().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        what = "cannot be written to" if folder.is_dir() else "is not there"
        raise ResourceError(Fault("not-writable", f"the folder {folder} {what}", subject=str(out)))


def write(result: LearnResult, out: Path) -> None:
    """Write recipe and log, each complete or not at all, the recipe last.

    Raises:
        ResourceError: the system refuses.
    """
    text = json.dumps(result.log, indent=1) + "\n"
    write_single(log_beside(out), [text.encode("utf-8")], overwrite=True)
    recipe = to_yaml(moved(result.recipe, out.absolute().parent))
    write_single(out, [recipe.encode("utf-8")], overwrite=True)
