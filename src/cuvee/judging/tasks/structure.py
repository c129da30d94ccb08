"""A task's YAML read strictly: everything that is wrong with it at once, with line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from cuvee.errors import Fault, InputError, RecipeError, nearest
from cuvee.judging.answers import Kind
from cuvee.judging.metrics import metrics_for
from cuvee.judging.tasks.schema import ITEMS, AnyTask, known_keys
from cuvee.recipe.document import Document
from cuvee.recipe.files import documents_in
from cuvee.recipe.findings import Finding, described, dotted, to_faults
from cuvee.recipe.structure import item_finding, told

ANSWERS: Final[Mapping[str, Kind]] = {
    "classification": "classification",
    "regression": "regression",
    "exact-match": "match",
    "multiple-choice": "match",
    "perplexity": "likelihood",
    "image-classification": "classification",
    "embedding-retrieval": "retrieval",
}
"""The kind of answers that each kind of task gives."""


def read_structure(path: Path) -> AnyTask:
    """The one document of a task's file.

    Raises:
        InputError: with every fault of its structure; `task-missing` if the file cannot be read.
    """
    try:
        documents = documents_in(str(path))
    except RecipeError as error:
        raise InputError(_as_task(fault) for fault in error.faults) from None
    if len(documents) > 1:
        message = f"{path}: a task's file should hold one document; found {len(documents)}"
        raise InputError(Fault("wrong-value", message, subject=str(path)))
    return checked(documents[0])


def checked(document: Document) -> AnyTask:
    """The structure of a document, which names its kind.

    Raises:
        InputError: with every fault.
    """
    data, found = document.data, list(document.findings)
    if not isinstance(data, Mapping):
        found.append(Finding("wrong-type", f"a task should be a mapping with `kind`, found {described(data)}", ()))
    elif (kind := data.get("kind")) not in ITEMS:
        found.append(_unknown_kind(kind))
    else:
        found += _metric_findings(str(kind), data.get("metric"))
        try:
            item = ITEMS[str(kind)].model_validate(data)
        except ValidationError as error:
            found += [_finding(each, ITEMS[str(kind)]) for each in error.errors(include_url=False)]
    if found:
        raise InputError(_as_task(fault) for fault in to_faults(told(found), document.positions))
    return item


def _as_task(fault: Fault) -> Fault:
    """A fault of the shared reader in a task's words."""
    code = {"recipe-missing": "task-missing", "recipe-syntax": "task-syntax", "recipe-too-large": "task-syntax"}
    message = fault.message.replace("a recipe", "a task's file").replace("the recipe", "the task's file")
    return replace(fault, code=code.get(fault.code, fault.code), message=message)


def _unknown_kind(kind: object) -> Finding:
    if kind is None:
        hint = f"one of {', '.join(ITEMS)}"
        return Finding("missing-key", "a task should have the key `kind`, found none", (), hint, "kind")
    message = f"`kind` should be {', '.join(ITEMS)}, found {described(kind)}"
    return Finding("wrong-value", message, ("kind",), nearest(str(kind), ITEMS), "kind")


def _finding(error: Mapping[str, Any], item: type[AnyTask]) -> Finding:
    """One of pydantic's errors in our words."""
    path = tuple(step for step in error["loc"] if not str(step).startswith(("function-", "constrained")))
    return item_finding(
        error,
        path,
        owner=f"`{path[-2]}`" if len(path) > 1 else "the task",
        name=f"`{dotted(path)}`",
        known=lambda: known_keys(item, path[:-1]),
        kind=f" of kind `{_kind_of(item)}`",
    )


def _kind_of(item: type[AnyTask]) -> str:
    return next(kind for kind, one in ITEMS.items() if one is item)


def _metric_findings(kind: str, given: object) -> Iterator[Finding]:
    """Metrics that the kind's answers have not."""
    if kind not in ANSWERS:
        return
    known = metrics_for(ANSWERS[kind])
    for name in given if isinstance(given, list) else [given]:
        if isinstance(name, str) and name not in known and not (kind == "embedding-retrieval" and _is_recall(name)):
            message = f"`metric` should be one of those of {kind}, found {described(name)}"
            yield Finding("wrong-value", message, ("metric",), nearest(name, known), name)


def _is_recall(name: str) -> bool:
    """Whether a name is `recall@k` with any k."""
    start, _, k = name.partition("@")
    return start == "recall" and k.isascii() and k.isdigit() and int(k) > 0
