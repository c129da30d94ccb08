"""From a task's file to a task: structure, data and rows, with everything that is wrong told before any model runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from cuvee.data.functions import names_function
from cuvee.judging.tasks.model import (
    ChoiceOptions,
    FunctionOptions,
    ImageOptions,
    LikelihoodOptions,
    LmEvalOptions,
    MatchOptions,
    Options,
    RetrievalOptions,
    Task,
    TextOptions,
)
from cuvee.judging.tasks.rows import read_documents, read_rows
from cuvee.judging.tasks.schema import AnyTask, LmEvalTask
from cuvee.judging.tasks.structure import read_structure

_OPTIONS: Final[Mapping[str, Callable[..., Options]]] = {
    "classification": TextOptions,
    "regression": TextOptions,
    "exact-match": MatchOptions,
    "multiple-choice": ChoiceOptions,
    "perplexity": LikelihoodOptions,
    "image-classification": ImageOptions,
    "embedding-retrieval": RetrievalOptions,
    "function": FunctionOptions,
}


def read_task(given: str | os.PathLike[str], *, limit: int | None = None, seed: int | None = None) -> Task:
    """A task of a file, or of a function's name.

    Args:
        given: the path of a YAML file, or `module:function`, or `file.py:function`.
        limit: most rows, instead of what the file says.
        seed: what they are drawn by, instead of what the file says.

    Raises:
        InputError: with every fault of the file, or else of its data.
        UsageError: the function is not there; or what reads the data is not installed.
    """
    text = os.fspath(given)
    if names_function(text):
        return Task(text.rpartition(":")[2], "function", FunctionOptions(text))
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - the Path method raises on `~nobody`
    item = read_structure(path)
    changed = {key: value for key, value in (("limit", limit), ("seed", seed)) if value is not None}
    item = item.model_copy(update={key: value for key, value in changed.items() if key in type(item).model_fields})
    return task_of(item, path)


def task_of(item: AnyTask, path: Path) -> Task:
    """The task that a structure describes.

    Args:
        item: the structure.
        path: its file: paths start from its folder, and it is called like it if it has no name.
    """
    folder = path.absolute().parent
    name, metrics = item.name or path.stem, tuple(item.metric or ())
    if isinstance(item, LmEvalTask):
        return Task(
            name,
            "lm-eval",
            LmEvalOptions(tuple(item.tasks), folder / item.include, item.shots, item.limit),
            metrics=metrics,
        )
    made = Task(name, item.kind, _options(item, folder), metrics=metrics)  # type: ignore[arg-type]
    if getattr(item, "data", None) is None:
        return made
    documents = read_documents(item, folder) if item.kind == "embedding-retrieval" else ()
    data, rows, groups = read_rows(item, folder, documents)
    return replace(made, rows=rows, groups=groups, documents=documents, data=data)


def _options(item: AnyTask, folder: Path) -> Options:
    kind = _OPTIONS[item.kind]
    names = {field.name for field in fields(kind)} - {"start"}  # type: ignore[arg-type]
    given: dict[str, Any] = {name: getattr(item, name, None) for name in names}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return kind(**given, **({"start": folder} if item.kind == "function" else {}))
