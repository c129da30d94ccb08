"""A folder against its record: the tensors and files that `cuvee.json` names, and what else lies there."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cuvee.checkpoint import content_hash
from cuvee.checkpoint.contents import RECORD_NAME, choose_weights, passed_over
from cuvee.checkpoint.fingerprint import digest_file, sha256_file
from cuvee.checkpoint.protocol import Reader
from cuvee.checkpoint.sharded import INDEX_LIMIT, read_index
from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.execute.checks import Check, checked, listed
from cuvee.execute.publish import RECIPE_NAME
from cuvee.execute.record_form import read_record
from cuvee.recipe.write import hash_of_data
from cuvee.types import TensorSpec


@dataclass(frozen=True, slots=True)
class _Weights:
    """Names of the weight files that are read, and of the index that names them, if one does."""

    files: frozenset[str]
    index: str | None


def recorded(path: Path, reader: Reader) -> Iterator[Check]:
    """The checks of the index, and of the record if there is one.

    Args:
        path: a model folder or weight file.
        reader: it, opened.
    """
    try:
        record = read_record(path)
    except (OSError, ValueError) as error:
        yield Check("hashes", "failed", f"{RECORD_NAME} cannot be read: {error}")
        return
    weights = _weights_of(path)
    if weights.index is not None:
        yield _index(path / weights.index, reader, by_cuvee=record is not None)
    if record is None:
        yield Check("hashes", "skipped", f"no {RECORD_NAME}: the folder was not made by Cuvee")
        return
    output = record["output"]
    yield _tensor_hashes(reader, output["tensors"])
    yield checked("record", list(_contradictions(record, weights)), "agrees with itself", "contradicts itself:")
    yield _files("files", path, output["files"], digest_file)
    if "sha256" in output:
        yield _files("sha256", path, output["sha256"], sha256_file)
    yield _extra(path, {RECORD_NAME, *output["files"], *weights.files, *([weights.index] if weights.index else [])})


def _weights_of(path: Path) -> _Weights:
    """What the reader of a folder, which it can open, reads its weights from."""
    if path.is_file():
        return _Weights(frozenset([path.name]), None)
    choice = choose_weights(entry.name for entry in path.iterdir() if entry.is_file())
    if choice is None:
        return _Weights(frozenset(), None)
    if not choice.is_index:
        return _Weights(frozenset([choice.file]), None)
    return _Weights(frozenset(read_index(path / choice.file).values()), choice.file)


def _index(file: Path, reader: Reader, *, by_cuvee: bool) -> Check:
    """The sizes that an index tells; which file holds which tensor is checked when it is opened.

    Other programs count tied tensors in, or keep the sizes of an earlier dtype: theirs are told and not held to.
    """
    content, _ = parse_json(read_capped(file, INDEX_LIMIT))
    said = content.get("metadata")
    said = said if isinstance(said, dict) else {}
    held = {
        "total_size": sum(spec.nbytes for spec in reader.specs.values()),
        "total_parameters": sum(spec.numel for spec in reader.specs.values()),
    }
    needed = {"total_size"} if by_cuvee else set()
    wrong = [
        f"{key} is {said.get(key)!r:.40} instead of {number}"
        for key, number in held.items()
        if key in {*said, *needed} and (type(said.get(key)), said.get(key)) != (int, number)
    ]
    if wrong and not by_cuvee:
        return Check("index", "ok", f"names every tensor; of the sizes, {listed(wrong)}")
    return checked("index", wrong, "names every tensor and their sizes", f"{file.name}:")


def _tensor_hashes(reader: Reader, recorded: Mapping[str, Mapping[str, Any]]) -> Check:
    bad = sorted(recorded.keys() ^ reader.specs.keys())
    for name in recorded.keys() & reader.specs.keys():
        spec = reader.specs[name]
        same_kind = recorded[name]["dtype"] == spec.dtype and recorded[name]["shape"] == list(spec.shape)
        if not same_kind or recorded[name]["xxh3_128"] != reader.digest(name):
            bad.append(name)
    return checked("hashes", sorted(bad), f"{len(recorded)} tensors as recorded", "not as recorded:")


def _contradictions(record: Mapping[str, Any], weights: _Weights) -> Iterator[str]:
    """Parts of a record that do not agree with other parts, or with what Cuvee always writes."""
    output, counts = record["output"], record["counts"]
    said = {
        name: (TensorSpec(name, t["dtype"], tuple(t["shape"])), t["xxh3_128"]) for name, t in output["tensors"].items()
    }
    if content_hash(said) != output["content"]:
        yield "output.content"
    if not _is_hash_of(record["recipe_sha256"], record["recipe"]):
        yield "recipe_sha256"
    tensors = len(output["tensors"]), len(record["copied"]), len(record["tied"])
    if (counts["merged"] + counts["copied"], counts["copied"], counts["tied"]) != tensors:
        yield "counts"
    if not record["copied"].keys() <= output["tensors"].keys():
        yield "copied"
    if not set(record.get("recalibrated", {}).get("tensors", ())) <= output["tensors"].keys():
        yield "recalibrated"
    if any(not set(run["tensors"]) <= output["tensors"].keys() for run in record.get("tuned", ())):
        yield "tuned"
    if any(not set(run["tensors"]) <= output["tensors"].keys() for run in record.get("transplanted", ())):
        yield "transplanted"
    if RECIPE_NAME not in output["files"]:
        yield f"output.files lacks {RECIPE_NAME}"
    if "sha256" in output and output["sha256"].keys() != weights.files:
        yield "output.sha256 is not of the weight files"


def _is_hash_of(digest: str, recipe: Mapping[str, Any]) -> bool:
    try:
        return hash_of_data(recipe) == digest
    except (ValueError, RecursionError):  # NaN, or nesting that no recipe has
        return False


def _files(name: str, path: Path, recorded: Mapping[str, str], digest: Callable[[Path], str]) -> Check:
    """Files of the folder against their recorded hashes; a name that leads out of it is none of its files."""
    bad = [file for file, found in recorded.items() if not _is_inside(file) or _hash_of(path / file, digest) != found]
    return checked(name, bad, f"{len(recorded)} files as recorded", "changed or missing since the merge:")


def _is_inside(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _hash_of(file: Path, digest: Callable[[Path], str]) -> str | None:
    """The hash of a file, `None` where there is none or it cannot be read."""
    try:
        return digest(file) if file.is_file() else None
    except (OSError, ValueError):  # ValueError: no name that a file can have
        return None


def _extra(path: Path, known: Collection[str]) -> Check:
    """Files that the record does not know; weights beside those that it knows fail: a loader may prefer them."""
    extra = sorted(set(_present(path)) - set(known))
    rivals = [name for name in extra if _is_rival(name, known)]
    good = f"not in the record: {listed(extra)}" if extra else "no file that is not in the record"
    return checked("extra", rivals, good, "weights that are not in the record:")


def _is_rival(name: str, known: Collection[str]) -> bool:
    """Whether a file is weights, an index or an adapter in a folder that holds files of the record."""
    file = PurePosixPath(name)
    beside = any(PurePosixPath(other).parent == file.parent for other in known)
    return beside and bool(passed_over([file.name], ()))


def _present(path: Path) -> Iterator[str]:
    """Every file of a folder by its name relative to it; hidden folders and links to folders are named, not entered."""
    for root, folders, files in os.walk(path):
        here = Path(root)
        closed = [name for name in folders if name.startswith(".") or (here / name).is_symlink()]
        folders[:] = [name for name in folders if name not in closed]
        yield from ((here / name).relative_to(path).as_posix() for name in files)
        yield from (f"{(here / name).relative_to(path).as_posix()}/" for name in closed)
