"""The rows of a task: found by split, drawn by seed, their columns checked one by one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cuvee.data.rows import MOST_FAULTS
from cuvee.data.tables import TABLES, Entry, absent_columns, place_in, read_table
from cuvee.errors import Fault, InputError, listed, nearest
from cuvee.judging.tasks.model import TaskRow
from cuvee.judging.tasks.pictures import pictures_in
from cuvee.judging.tasks.schema import COLUMNS, DOCUMENT_COLUMNS
from cuvee.judging.tasks.values import read_value

Groups = Mapping[str, tuple[str, ...]]
_SPLIT: Final = "split"


def read_rows(item: Any, folder: Path, documents: Sequence[TaskRow]) -> tuple[Path, tuple[TaskRow, ...], Groups]:
    """The data's path, the rows and the groups of a task.

    Args:
        item: its structure, with `data`.
        folder: where paths start.
        documents: of a retrieval: what may be relevant.

    Raises:
        InputError: `data-missing`, or `bad-data` with every row that is wrong, up to 20 of them.
    """
    path, entries = _entries(item, folder / item.data)
    names = _columns(item)
    wanted = {role: name for role, name in names.items() if role in COLUMNS[item.kind]}
    groups = item.group or []
    if faults := absent_columns(path, entries, [*wanted.values(), *groups, *([names["id"]] if "id" in names else [])]):
        raise InputError(faults)
    chosen = _drawn(entries, item.limit, item.seed)
    rows = _checked(path, chosen, wanted, item.kind, names.get("id"))
    if item.kind == "embedding-retrieval":
        _check_relevant(path, rows, documents)
    return path, rows, {name: tuple(str(entry.values.get(name)) for entry in chosen) for name in groups}


def read_documents(item: Any, folder: Path) -> tuple[TaskRow, ...]:
    """The documents of a retrieval."""
    path = folder / item.documents
    entries = read_table(path)
    own = item.columns
    names = {role: getattr(own, role, None) or name for role, name in DOCUMENT_COLUMNS.items()}
    if faults := absent_columns(path, entries, list(names.values())):
        raise InputError(faults)
    rows = _checked(path, entries, names, item.kind, None)
    found = Counter(row.values["document"] for row in rows)
    if twice := [name for name, count in found.items() if count > 1]:
        message = f"{path}: documents should have names of their own; several are called {listed(map(repr, twice))}"
        raise InputError(Fault("bad-data", message, subject=str(path)))
    return rows


def _entries(item: Any, data: Path) -> tuple[Path, tuple[Entry, ...]]:
    """The rows of a file, of a file in a folder that is called like the split, or of a folder of pictures."""
    if item.kind == "image-classification" and data.is_dir() and not _tables(data):
        return _of_pictures(data, item.split)
    if data.is_dir():
        return _of_folder(data, item.split)
    entries = read_table(data)
    if item.split is None:
        return data, entries
    column = getattr(item.columns, "split", None) or _SPLIT
    if faults := absent_columns(data, entries, [column]):
        raise InputError(faults)
    kept = tuple(entry for entry in entries if str(entry.values.get(column)) == item.split)
    if not kept:
        there = Counter(str(entry.values.get(column)) for entry in entries)
        raise InputError(_no_split(data, item.split, there))
    return data, kept


def _of_folder(folder: Path, split: str | None) -> tuple[Path, tuple[Entry, ...]]:
    files = _tables(folder)
    named = [path for path in files if split in (None, path.stem)]
    if len(named) == 1:
        return named[0], read_table(named[0])
    if not named:
        raise InputError(_no_split(folder, split, Counter(path.stem for path in files)))
    message = f"{folder} should hold one table of that name; it holds {listed((path.name for path in named), 8)}"
    raise InputError(Fault("bad-data", message, subject=str(folder), hint="name one of them with `split`, or the file"))


def _tables(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLES and path.is_file())


def _of_pictures(folder: Path, split: str | None) -> tuple[Path, tuple[Entry, ...]]:
    home = folder if split is None else folder / split
    if not home.is_dir():
        raise InputError(_no_split(folder, split, Counter(p.name for p in folder.iterdir() if p.is_dir())))
    found = pictures_in(home)
    return home, tuple(Entry(i, {"image": path, "label": label}) for i, (path, label) in enumerate(found, 1))


def _no_split(path: Path, split: str | None, there: Mapping[str, int]) -> Fault:
    known = ", ".join(f"{name} ({count})" for name, count in list(there.items())[:8]) or "none"
    what = "tables" if split is None else f"rows of the split `{split}`"
    message = f"{path} should hold {what}, and holds none; there is {known}"
    return Fault("empty-split", message, subject=split, hint=nearest(split, there) if split and there else None)


def _columns(item: Any) -> dict[str, str]:
    """What columns are for → the column's name; those that need not be there only where they are named."""
    own = item.columns
    known: dict[str, str | None] = {**COLUMNS[item.kind], "id": None}
    given = {role: getattr(own, role, None) or name for role, name in known.items()}
    return {role: name for role, name in given.items() if name is not None}


def _drawn(entries: Sequence[Entry], limit: int | None, seed: int) -> list[Entry]:
    """At most `limit` rows, drawn and put back in their order: data are often sorted by class."""
    if limit is None or limit >= len(entries):
        return list(entries)
    return [entries[i] for i in sorted(random.Random(seed).sample(range(len(entries)), limit))]


def _checked(
    path: Path, entries: Sequence[Entry], names: Mapping[str, str], kind: str, id_column: str | None
) -> tuple[TaskRow, ...]:
    rows, faults = [], []
    for entry in entries:
        values = dict(entry.values) if kind == "function" else {}
        for role, name in names.items():
            found = entry.values.get(name)
            try:
                reader = "number" if (kind, role) == ("regression", "label") else role
                values[role] = read_value(reader, found, path if path.is_dir() else path.parent)
            except ValueError as error:
                what = f"`{name}` should be {error}; found {found!r:.60}"
                faults.append(Fault("bad-data", what, place_in(path, entry.number), name))
        own = entry.number if id_column is None else entry.values.get(id_column)
        rows.append(TaskRow(str(own), entry.number, values))
        if len(faults) >= MOST_FAULTS:
            break
    if faults:
        raise InputError(faults)
    _check_names(path, rows)
    return tuple(rows)


def _check_names(path: Path, rows: Sequence[TaskRow]) -> None:
    """Refuse rows that are called alike: by their names answers of several models are laid side by side."""
    found = Counter(row.id for row in rows)
    rule = "rows should have names of their own; several are called"
    faults = [
        Fault("bad-data", f"{rule} {row.id!r:.60}", place_in(path, row.number)) for row in rows if found[row.id] > 1
    ]
    if faults:
        raise InputError(faults[:MOST_FAULTS])


def _check_relevant(path: Path, rows: Sequence[TaskRow], documents: Sequence[TaskRow]) -> None:
    """Refuse queries whose right document is not there: nobody could find it."""
    known = {row.values["document"] for row in documents}
    faults = [
        Fault(
            "bad-data", f"`relevant` should name a document; there is none called {name!r}", place_in(path, row.number)
        )
        for row in rows
        for name in row.values["relevant"]
        if name not in known
    ]
    if faults:
        raise InputError(faults[:MOST_FAULTS])
