"""Weights in several files, with an index that says which tensor lies where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.checkpoint.weights import Weights, open_weights
from cuvee.errors import Fault, InputError, listed
from cuvee.types import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

INDEX_LIMIT: Final = 100_000_000
"""Bytes an index may have; parsed, a hostile one takes some 25 times as much memory."""

_SHOWN: Final = 5
_HINT: Final = "download the model again, or write its index again"


class ShardedWeights:
    """All files named by an index, agreeing with it to the last tensor.

    Raises `InputError`: `bad-index` for an index that does not fit its files, and what the files' own readers raise.
    """

    def __init__(self, index: Path) -> None:
        where = read_index(index)
        names = sorted(set(where.values()))
        _check_present(index, names)
        opened = _open_all([index.parent / name for name in names])
        self._files: dict[str, Weights] = {name: weights for name, (weights, _) in zip(names, opened)}
        self.notes: tuple[str, ...] = tuple(note for _, notes in opened for note in notes)
        held = {name: weights.specs for name, weights in self._files.items()}
        faults = check_agreement(index, where, held)
        if faults:
            self.close()
            raise InputError(faults)
        self._specs = {tensor: spec for specs in held.values() for tensor, spec in specs.items()}
        self._where = where
        self._shared = {name: first for weights in self._files.values() for name, first in weights.shared.items()}

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the weight files."""
        return tuple(self._files)

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name, file by file."""
        return self._specs

    @property
    def shared(self) -> Mapping[str, str]:
        """Tensors that are another one of the same file under a second name."""
        return self._shared

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """All weight files; their index is read once, on opening."""
        return tuple(file for weights in self._files.values() for file in weights.input_files)

    @property
    def held(self) -> int:
        """What all files together hold in memory."""
        return sum(weights.held for weights in self._files.values())

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included), from the file that holds the tensor."""
        return self._files[self._where[name]].read(name, start, stop)

    def read_into(self, name: str, start: int, stop: int, into: memoryview) -> None:
        """The bytes of these elements, put into memory of the caller's."""
        self._files[self._where[name]].read_into(name, start, stop, into)

    def digest(self, name: str) -> str:
        """The fingerprint of the tensor's bytes."""
        return self._files[self._where[name]].digest(name)

    def check_unchanged(self) -> None:
        """Refuse what was read of files that have changed; the first that has is told."""
        for weights in self._files.values():
            weights.check_unchanged()

    def close(self) -> None:
        """Let go of all files."""
        for weights in self._files.values():
            weights.close()


def read_index(path: Path) -> dict[str, str]:
    """Tensor name → file name of an index, every file name plain and in the index's own folder.

    Raises:
        InputError: `bad-index`, with every fault that was found.
    """
    try:
        content, repeated = parse_json(read_capped(path, INDEX_LIMIT))
    except ValueError as error:
        raise InputError(_bad(path, f"must be JSON: {error}")) from None
    where = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(where, dict) or not where:
        raise InputError(_bad(path, "must have a `weight_map` that names a file for each tensor"))
    faults = [_bad(path, f"`{key:.200}` stands twice", key) for key in repeated[:_SHOWN]]
    suffix = ".safetensors" if path.name.lower().endswith(".safetensors.index.json") else ".bin"
    odd = {repr(file)[:100]: tensor for tensor, file in where.items() if not _is_plain_name(file, suffix)}
    for file, tensor in list(odd.items())[:_SHOWN]:
        what = f"tensor `{tensor:.200}`: must lie in a {suffix} file of the same folder, named without a path"
        faults.append(_bad(path, f"{what}, found {file}", tensor))
    if faults:
        raise InputError(faults)
    return where


def _is_plain_name(file: Any, suffix: str) -> bool:
    """Whether a value is the name of a weight file and cannot lead anywhere else."""
    return isinstance(file, str) and file.lower().endswith(suffix) and file.isprintable() and not set(file) & set("/\\")


def _check_present(index: Path, names: list[str]) -> None:
    faults = [
        _bad(index, f"names `{name}`, which is not there", name)
        for name in names
        if not (index.parent / name).is_file()
    ]
    if faults:
        raise InputError(faults)


def _open_all(paths: list[Path]) -> list[tuple[Weights, tuple[str, ...]]]:
    """Open every file; if some cannot be read, tell the faults of all of them."""
    opened: list[tuple[Weights, tuple[str, ...]]] = []
    faults: list[Fault] = []
    for path in paths:
        try:
            opened.append(open_weights(path))
        except InputError as error:
            faults.extend(error.faults)
    if faults:
        for weights, _ in opened:
            weights.close()
        raise InputError(faults)
    return opened


def check_agreement(index: Path, where: Mapping[str, str], held: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """Faults of an index and its files: a tensor lost, left out, or held twice."""
    faults: list[Fault] = []
    twice = _held_twice(held)
    if twice:
        faults.append(_bad(index, f"more than one file holds {_listed(twice)}", twice[0]))
    placed: dict[str, list[str]] = defaultdict(list)
    for tensor, file in where.items():
        placed[file].append(tensor)
    for file, specs in held.items():
        lost = [tensor for tensor in placed[file] if tensor not in specs]
        if lost:
            faults.append(_bad(index, f"places {_listed(lost)} in `{file}`, which does not hold it", lost[0]))
        extra = [tensor for tensor in specs if where.get(tensor) != file and tensor not in twice]
        if extra:
            faults.append(_bad(index, f"`{file}` holds {_listed(extra)}, which the index does not say", extra[0]))
    return faults


def _held_twice(held: Mapping[str, Mapping[str, Any]]) -> list[str]:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for specs in held.values():
        twice.update(dict.fromkeys(tensor for tensor in specs if tensor in seen))
        seen.update(specs)
    return list(twice)


def _listed(names: list[str]) -> str:
    return listed((f"`{name:.100}`" for name in names), _SHOWN) + (" tensors" if len(names) > _SHOWN else "")


def _bad(index: Path, what: str, subject: str | None = None) -> Fault:
    return Fault("bad-index", f"{index}: {what}", subject=subject or str(index), hint=_HINT)
