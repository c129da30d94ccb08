"""Predictions written as a table: JSON lines, CSV or TSV, complete or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cuvee.api.arguments import as_output, refuse
from cuvee.errors import Fault

_ENDINGS: Final = (".jsonl", ".csv", ".tsv")


def checked_target(out: str | os.PathLike[str] | None, *, overwrite: bool) -> Path | None:
    """A file that can be written, refused now rather than after the work.

    Raises:
        UsageError: its name is none, or of another kind.
        OutputExists: it is there already.
    """
    if out is None:
        return None
    from cuvee.checkpoint.single_file import exists

    target = as_output(out, "predictions must be written to a file")
    if target.suffix.lower() not in _ENDINGS:
        message = f"predictions are written as {', '.join(_ENDINGS)}; found {target.name!r}"
        refuse([Fault("bad-argument", message, subject="out")])
    if target.is_dir() or (os.path.lexists(target) and not overwrite):
        raise exists(target)
    return target


def write_rows(target: Path, rows: Sequence[Mapping[str, Any]], *, overwrite: bool) -> None:
    """Write rows.

    Raises:
        OutputExists, ResourceError: it cannot be written.
    """
    from cuvee.checkpoint.single_file import write_single

    write_single(target, [_text(target, rows).encode()], overwrite=overwrite)


def _text(target: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    if target.suffix.lower() == ".jsonl":
        return "".join(f"{json.dumps(dict(row), ensure_ascii=False)}\n" for row in rows)
    made = io.StringIO()
    names = list(rows[0]) if rows else ["id", "prediction"]
    delimiter = "\t" if target.suffix.lower() == ".tsv" else ","
    writer = csv.DictWriter(made, names, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return made.getvalue()
