"""Checking a pack: that it can be read, that its base is there, and that delta, masks and base are what they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint import open_checkpoint
from cuvee.checkpoint.pack_form import read_pack_form
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import CuveeError
from cuvee.execute.checks import Check, checked
from cuvee.execute.verify import Verification
from cuvee.execute.work import all_finite
from cuvee.types import DTYPES, ModelRef

_PIECE: Final = 1 << 22

Meter = Callable[[int, int], None]


def verify_pack(folder: Path, task: str | None = None, progress: Meter | None = None) -> Verification:
    """Look at every tensor of every task, or of one, as it would be read.

    Args:
        folder: the pack.
        task: the task; all of them without it.
        progress: called with tensors looked at and their number.
    """
    try:
        tasks = list(read_pack_form(folder).tasks) if task is None else [task]
    except CuveeError as error:
        return Verification(folder, (Check("readable", "failed", str(error)),))
    checks = [Check("readable", "ok", f"{len(tasks)} tasks; pack.json is complete")]
    for number, name in enumerate(tasks):
        checks.append(_task(folder, name, _part(progress, number, len(tasks))))
    return Verification(folder, tuple(checks))


def _part(progress: Meter | None, number: int, parts: int) -> Meter | None:
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, parts * total)


def _task(folder: Path, name: str, progress: Meter | None) -> Check:
    """Whether a task can be read, with the fingerprints of all it is made from, and is finite."""
    try:
        with closing(open_checkpoint(ModelRef(f"{folder}#{name}"))) as reader:
            bad = _odd(reader, progress)
            good = f"{len(reader.specs)} tensors; base, delta and masks as recorded"
            return checked(f"task {name}", bad, good, "NaN or infinity in")
    except CuveeError as error:
        return Check(f"task {name}", "failed", str(error))


def _odd(reader: Reader, progress: Meter | None) -> Sequence[str]:
    bad: list[Any] = []
    for i, spec in enumerate(reader.specs.values()):
        pieces = (reader.read(spec.name, a, min(a + _PIECE, spec.numel)) for a in range(0, spec.numel, _PIECE))
        is_float = DTYPES[spec.dtype].kind == "float"
        if not all(not is_float or all_finite(piece) for piece in pieces):
            bad.append(spec.name)
        if progress:
            progress(i + 1, len(reader.specs))
    return bad
