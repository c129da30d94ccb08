"""What models answered, kept in the user's cache folder by what it depends on: model, task, settings, arithmetic.

An entry is named after the hash of all of these, holds the answers, and is written whole or not at all. One that is
damaged, or of another form, counts as absent.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np

from cuvee.checkpoint.digest import digest_tensor
from cuvee.checkpoint.fingerprint import digest_bytes, digest_file
from cuvee.checkpoint.os_errors import told
from cuvee.fused.compiler import cache_folder
from cuvee.judging.answers import Answers, about, answers_from
from cuvee.judging.asking.subject import config_text
from cuvee.judging.tasks.model import LmEvalOptions, Task, TaskRow
from cuvee.types.scores import Score

ARITHMETIC: Final = 1
"""Number of the way in which answers are found; it goes up with every change that changes a number."""
_UNREAD: Final = (".md", ".png", ".jpg", ".gitattributes", ".gitignore")
_DAMAGE: Final = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, RecursionError)


def store_folder() -> Path | None:
    """Where entries are kept; `None` for who has no home."""
    folder = cache_folder()
    return None if folder is None else folder.parent / "answers"


def digest_of_folder(folder: Path) -> str:
    """The fingerprint of a model's folder: names and bytes of its files, what only people read left out."""
    with told("read", folder):
        return _digest_of_files(folder)


def _digest_of_files(folder: Path) -> str:
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    read = [path for path in files if path.suffix not in _UNREAD and path.name != "cuvee.json"]
    return _digest([[path.name, digest_file(path)] for path in read])


def digest_of_model(model: Any, beside: str = "") -> str:
    """The fingerprint of a model in memory: its class, its configuration and all its tensors.

    Args:
        model: a torch module.
        beside: the fingerprint of what stands beside it, its tokenizer.
    """
    told = config_text(getattr(model, "config", None))
    tensors = [[n, str(t.dtype), list(t.shape), digest_tensor(t)] for n, t in sorted(model.state_dict().items())]
    return _digest([type(model).__qualname__, told, tensors, beside])


def digest_of_ensemble(members: Sequence[str | None]) -> str | None:
    """The fingerprint of an ensemble, from those of its members in their order; `None` where one has none."""
    return None if None in members else _digest(["PredictionMean", *members])


def digest_of_task(task: Task) -> str:
    """The fingerprint of what a task asks: kind, options and rows, whatever it is called and however it is judged."""
    options = asdict(task.options)
    if isinstance(task.options, LmEvalOptions):
        options["include"] = digest_of_tree(task.options.include)
        options["lm_eval"] = _version("lm_eval")
    rows, documents = _rows(task.rows), _rows(task.documents)
    return _digest([task.kind, options, rows, documents, task.groups])


def digest_of_tree(folder: Path) -> str:
    """The fingerprint of all files under a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return _digest([[path.relative_to(folder).as_posix(), digest_file(path)] for path in files])


def entry_name(model: str, task: str, settings: Mapping[str, Any]) -> str:
    """The name of an entry.

    Args:
        model: fingerprint of the model.
        task: fingerprint of the task.
        settings: what else answers depend on.
    """
    tools = {name: version(name) for name in ("torch", "transformers")}
    return _digest([ARITHMETIC, tools, model, task, dict(settings)])


def is_cached(task: Task) -> bool:
    """Whether a task's answers may be kept: what a function of the user's own depends on cannot be told."""
    return task.kind != "function"


def store(name: str, found: Answers | Sequence[Score], notes: Sequence[str] = ()) -> None:
    """Keep answers, or the scores of a task that gives no more; where that cannot be done, they are not kept.

    Args:
        name: of the entry.
        found: what was found.
        notes: what should be known of it.
    """
    folder = store_folder()
    if folder is None:
        return
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                _write(file, found, list(notes))
            Path(beside).replace(folder / f"{name}.npz")
        finally:
            Path(beside).unlink(missing_ok=True)


def load(name: str) -> tuple[Answers | tuple[Score, ...], tuple[str, ...]] | None:
    """What is kept under a name, and its notes; `None` where nothing is, or where it is damaged."""
    folder = store_folder()
    if folder is None:
        return None
    try:
        with (folder / f"{name}.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            told_of = json.loads(bytes(arrays["about"]).decode("utf-8"))
            notes = tuple(told_of["notes"])
            if told_of["form"] == "scores":
                scores = (Score(**{**one, "rows": one["rows"] and tuple(one["rows"])}) for one in told_of["scores"])
                return tuple(scores), notes
            made = answers_from(told_of, {column: arrays[f"column {column}"] for column in told_of["columns"]})
            fits = all(len(values) == len(made) for values in made.columns.values())
    except _DAMAGE:
        return None
    return (made, notes) if fits else None


def _write(file: Any, found: Answers | Sequence[Score], notes: list[str]) -> None:
    if not isinstance(found, Answers):
        scores = [asdict(score) for score in found]
        np.savez(file, about=_text({"form": "scores", "notes": notes, "scores": scores}))
        return
    told_of = _text({"form": "answers", **about(found), "notes": notes, "columns": list(found.columns)})
    columns: dict[str, Any] = {f"column {name}": values for name, values in found.columns.items()}
    np.savez(file, about=told_of, **columns)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _rows(rows: Sequence[TaskRow]) -> list[Any]:
    return [[row.id, {role: _plain(value) for role, value in row.values.items()}] for row in rows]


def _plain(value: Any) -> Any:
    """A value as JSON can say it; of pictures their bytes' fingerprint."""
    if isinstance(value, Path):
        return digest_file(value)
    return digest_bytes(value) if isinstance(value, bytes) else value


def _text(data: Any) -> Any:
    return np.frombuffer(json.dumps(data).encode("utf-8"), dtype=np.uint8)


def _digest(data: Any) -> str:
    return digest_bytes(json.dumps(data, sort_keys=True, default=str).encode("utf-8"))
