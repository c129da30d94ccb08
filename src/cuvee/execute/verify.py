"""Check a folder: readable, complete, finite, tied as it says, the bytes its record promises, and loadable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from cuvee.checkpoint import content_hash, open_checkpoint
from cuvee.checkpoint.equality import begins_alike, same_tensors
from cuvee.checkpoint.fingerprint import digest_file, sha256_file
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import CuveeError, Fault, InputError, UsageError
from cuvee.execute.record import RECORD_NAME
from cuvee.families import Anatomy, study
from cuvee.recipe.write import hash_of_data
from cuvee.types import DTYPES, ModelRef, TensorSpec

Outcome = Literal["ok", "failed", "skipped"]
_PIECE = 1 << 22


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what was looked at, how it came out, and what was found."""

    name: str
    outcome: Outcome
    found: str


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

    Args:
        path: a model folder or weight file.
        progress: called with tensors looked at and their number.

    Raises:
        InputError: there is nothing at `path`.
    """
    if not os.path.exists(path):  # noqa: PTH110 - the Path method raises on names too long to be any file's
        raise InputError(Fault("model-missing", f"{path}: no such file or folder", subject=str(path)))
    try:
        reader = open_checkpoint(ModelRef(str(path)), None)
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
    yield from _recorded(path, reader)
    yield _loads(path, reader)


def _finite(reader: Reader, progress: Callable[[int, int], None] | None) -> Check:
    bad = []
    floats = [s for s in reader.specs.values() if DTYPES[s.dtype].kind == "float"]
    for i, spec in enumerate(floats):
        pieces = (reader.read(spec.name, a, min(a + _PIECE, spec.numel)) for a in range(0, spec.numel, _PIECE))
        if not all(bool(torch.isfinite(piece).all()) for piece in pieces):
            bad.append(spec.name)
        if progress:
            progress(i + 1, len(floats))
    return _check("finite", bad, f"{len(floats)} tensors", "NaN or infinity in")


def _check(name: str, bad: list[str], good: str, trouble: str) -> Check:
    if not bad:
        return Check(name, "ok", good)
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    return Check(name, "failed", f"{trouble} {', '.join(bad[:5])}{more}")


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
    return _check("tied", bad, good, "differs from what it is tied to:")


def _recorded(path: Path, reader: Reader) -> Iterator[Check]:
    """The hashes of `cuvee.json`, if there is one."""
    file = path / RECORD_NAME
    if not file.is_file():
        yield Check("hashes", "skipped", f"no {RECORD_NAME}: the folder was not made by Cuvee")
        return
    try:
        record = json.loads(file.read_text("utf-8"))
        output = {"sha256": {}, **record["output"]}
        tensors, files, sums = ({**output[key]} for key in ("tensors", "files", "sha256"))
        contradictions = _contradictions(record)
        hashes = _tensor_hashes(reader, tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield Check("hashes", "failed", f"{RECORD_NAME} cannot be read: {type(error).__name__}: {error}")
        return
    yield hashes
    yield _check("record", contradictions, "agrees with itself", "contradicts itself:")
    yield _files("files", path, files, digest_file)
    if sums:
        yield _files("sha256", path, sums, sha256_file)


def _contradictions(record: Mapping[str, Any]) -> list[str]:
    """Hashes of the record that are not those of what it says."""
    output = record["output"]
    said = {
        name: (TensorSpec(name, t["dtype"], tuple(t["shape"])), t["xxh3_128"]) for name, t in output["tensors"].items()
    }
    found = []
    if content_hash(said) != output["content"]:
        found.append("content")
    if hash_of_data(record["recipe"]) != record["recipe_sha256"]:
        found.append("recipe_sha256")
    return found


def _files(name: str, path: Path, recorded: Mapping[str, str], digest: Callable[[Path], str]) -> Check:
    """Files of the folder against their recorded hashes; a name that leads out of it is none of its files."""
    bad = [file for file, found in recorded.items() if not _is_inside(file) or _hash_of(path / file, digest) != found]
    return _check(name, bad, f"{len(recorded)} files as recorded", "changed or missing since the merge:")


def _is_inside(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _hash_of(file: Path, digest: Callable[[Path], str]) -> str | None:
    """The hash of a file, `None` where there is none or it cannot be read."""
    try:
        return digest(file) if file.is_file() else None
    except OSError:
        return None


def _tensor_hashes(reader: Reader, recorded: Mapping[str, Mapping[str, Any]]) -> Check:
    bad = sorted(recorded.keys() ^ reader.specs.keys())
    for name in recorded.keys() & reader.specs.keys():
        spec = reader.specs[name]
        same_kind = recorded[name].get("dtype") == spec.dtype and recorded[name].get("shape") == list(spec.shape)
        if not same_kind or recorded[name].get("xxh3_128") != reader.digest(name):
            bad.append(name)
    return _check("hashes", sorted(bad), f"{len(recorded)} tensors as recorded", "not as recorded:")


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
    return _check("loads", bad, f"{report.architecture}: no missing, unexpected or mismatched tensors", "transformers:")
