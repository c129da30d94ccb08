"""Check a folder: readable, complete, finite, tied as it says, the files its record promises, and loadable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cuvee.checkpoint import open_stored
from cuvee.checkpoint.equality import begins_alike, same_tensors
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import CuveeError, Fault, InputError, UsageError
from cuvee.execute.checks import Check, checked
from cuvee.execute.recorded import recorded
from cuvee.execute.work import all_finite
from cuvee.families import Anatomy, study
from cuvee.types import DTYPES, ModelRef

_PIECE: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class Verification:
    """All checks of a folder; `ok` when none failed."""

    path: Path
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(check.outcome != "failed" for check in self.checks)


def verify_folder(path: Path, progress: Callable[[int, int], None] | None = None) -> Verification:
    """Run every check; a folder that cannot be opened fails the first one.

    The record holds hashes of everything else and none of itself: damage and slips are found, and so is a change of
    what a hash is of, or of one of two places that must agree. Who changes a file and its hash alike, or says another
    seed or other inputs, is not found out.

    Args:
        path: a model folder or weight file.
        progress: called with tensors looked at and their number.

    Raises:
        InputError: there is nothing at `path`.
    """
    if not os.path.exists(path):  # noqa: PTH110 - the Path method raises on names too long to be any file's
        raise InputError(Fault("model-missing", f"{path}: no such file or folder", subject=str(path)))
    try:
        reader = open_stored(ModelRef(str(path)), None)
    except CuveeError as error:
        return Verification(path, (Check("readable", "failed", str(error)),))
    try:
        return Verification(path, tuple(_checks(path, reader, progress)))
    finally:
        reader.close()


def _checks(path: Path, reader: Reader, progress: Callable[[int, int], None] | None) -> Iterator[Check]:
    anatomy = study(reader.specs, reader.config)
    yield Check("readable", "ok", f"{len(reader.specs)} tensors; headers and index are complete")
    yield _finite(reader, progress)
    yield _tied(reader, anatomy)
    yield from recorded(path, reader)
    yield _loads(path, reader)


def _finite(reader: Reader, progress: Callable[[int, int], None] | None) -> Check:
    bad = []
    floats = [s for s in reader.specs.values() if DTYPES[s.dtype].kind == "float"]
    for i, spec in enumerate(floats):
        pieces = (reader.read(spec.name, a, min(a + _PIECE, spec.numel)) for a in range(0, spec.numel, _PIECE))
        if not all(map(all_finite, pieces)):
            bad.append(spec.name)
        if progress:
            progress(i + 1, len(floats))
    return checked("finite", bad, f"{len(floats)} tensors", "NaN or infinity in")


def _tied(reader: Reader, anatomy: Anatomy) -> Check:
    """A stored copy of a tied tensor must hold the same values; a head of its own is none, whatever is said of it."""
    copies = {head: tied for head, tied in anatomy.tied.items() if begins_alike(reader, head, tied)}
    bad = [head for head, tied in copies.items() if not same_tensors(reader, head, reader, tied)]
    own = ", ".join(head for head in anatomy.tied if head not in copies)
    good = (
        f"stored with values of its own, as some classes do: {own}"
        if own
        else "no tied tensor is stored with other values"
    )
    return checked("tied", bad, good, "differs from what it is tied to:")


def _loads(path: Path, reader: Reader) -> Check:
    """Whether transformers, if it is installed and knows the class, finds exactly the tensors it expects."""
    if reader.config is None or not reader.config.get("architectures"):
        return Check("loads", "skipped", "config.json names no architecture")
    from cuvee.families.pretrained import CannotJudge, load_report

    try:
        report = load_report(path)
    except (UsageError, CannotJudge) as error:
        return Check("loads", "skipped", error.faults[0].message)
    except Exception as error:  # whatever a model class raises is the answer to the question
        return Check("loads", "failed", f"transformers: {type(error).__name__}: {error}")
    bad = [*(f"{n} (missing)" for n in report.missing), *(f"{n} (unexpected)" for n in report.unexpected)]
    bad += [f"{m.name} ({list(m.found)} instead of {list(m.expected)})" for m in report.mismatched]
    bad += report.failed
    return checked(
        "loads", bad, f"{report.architecture}: no missing, unexpected or mismatched tensors", "transformers:"
    )
