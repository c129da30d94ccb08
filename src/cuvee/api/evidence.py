"""Gather what there is to tell of a merge: its record, and files that other commands wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cuvee.api.arguments import as_path
from cuvee.api.records import record_in
from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.errors import Fault, InputError, ResourceError, attempt
from cuvee.execute.record_form import RECORD_LIMIT
from cuvee.reporting.evidence import COMPARISON, EXPLANATION, SEARCH, Data, Evidence, fit

_TOLD = ("compare", "explain")
"""Commands whose printed JSON is evidence."""


def gather(
    folder: str | os.PathLike[str],
    files: Sequence[str | os.PathLike[str]] = (),
    searches: Sequence[str | os.PathLike[str]] = (),
) -> Evidence:
    """What there is to tell of a merged model.

    Args:
        folder: the folder of a merge, with its record.
        files: what `cuvee compare --json` and `cuvee explain --json` printed.
        searches: folders that `cuvee search` wrote.

    Raises:
        InputError: the folder has no record, or files are not what they should be: all of them at once.
    """
    place = as_path(folder, "folder", "the model must be a folder")
    faults: list[Fault] = []
    record = attempt(lambda: record_in(place), faults) or {}
    told: dict[str, list[Data]] = {command: [] for command in _TOLD}
    for file in files:
        path = as_path(file, "files", "evidence must be a file's name")
        if (answer := _answer(path, faults)) is not None:
            told[answer["command"]].append(answer)
    found = (_search(as_path(one, "searches", "a search must be a folder"), faults) for one in searches)
    searched = tuple(one for one in found if one is not None)
    if len(told["compare"]) > 1:
        message = f"one comparison should be told of; found {len(told['compare'])}"
        faults.append(Fault("bad-argument", message, subject="files", hint="compare all models in one call"))
    if faults:
        raise InputError(faults)
    explained = tuple(
        {**one, "citations": answer["citations"]} for answer in told["explain"] for one in answer["explanations"]
    )
    return Evidence(place, record, _config(place), next(iter(told["compare"]), None), searched, explained)


def _search(folder: Path, faults: list[Fault]) -> Data | None:
    """What a search wrote, with its trials; `None`, and a fault, where it is none."""
    from cuvee.searching.journal import NAME, trials_in
    from cuvee.searching.outcome import RESULT

    try:
        found, _ = parse_json(read_capped(folder / RESULT, RECORD_LIMIT))
        tried = [asdict(trial) for trial in trials_in(folder / NAME)]
    except (ValueError, OSError, ResourceError) as error:
        message = f"{folder} should be the folder of a search that has ended; {error}"
        faults.append(Fault("bad-data", message, subject=str(folder), hint="give the folder that `search -o` named"))
        return None
    whole = {**found, "tried": tried} if isinstance(found, dict) else found
    wrong = fit(whole, SEARCH)
    faults += [Fault("bad-data", f"{folder / RESULT}: {one}", subject=str(folder)) for one in wrong]
    return None if wrong else whole


def _config(folder: Path) -> Data:
    """The configuration; nothing where there is none that can be read: `verify` judges it."""
    try:
        found, _ = parse_json(read_capped(folder / "config.json", RECORD_LIMIT))
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _answer(path: Path, faults: list[Fault]) -> dict[str, Any] | None:
    """What a command printed; `None`, and a fault, where it is nothing of the kind."""
    try:
        found, _ = parse_json(read_capped(path, RECORD_LIMIT))
    except (ValueError, OSError) as error:
        faults.append(Fault("bad-data", f"{path} cannot be read as JSON: {error}", subject=str(path)))
        return None
    if isinstance(found, dict) and found.get("command") in _TOLD:
        wrong = fit(found, COMPARISON if found["command"] == "compare" else EXPLANATION)
        faults += [Fault("bad-data", f"{path}: {one}", subject=str(path)) for one in wrong]
        return None if wrong else found
    message = f"{path} should hold what `cuvee compare --json` or `cuvee explain --json` printed; it does not"
    faults.append(Fault("bad-data", message, subject=str(path)))
    return None
