"""Which tensor goes into which file at which byte, and the index that says so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Final

from cuvee.checkpoint.format import place
from cuvee.checkpoint.protocol import Layout, Placed, Shard
from cuvee.errors import Fault, UsageError
from cuvee.types import TensorSpec

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"

_SIZE: Final = re.compile(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([KMGT]I?B|B)?\s*", re.IGNORECASE | re.ASCII)
_UNITS: Final = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", 1)},
}


def plan_layout(specs: Iterable[TensorSpec], shard_bytes: int) -> Layout:
    """Lay out weight files as transformers does: filled in the given order, one after the other.

    Args:
        specs: the tensors of the output; their names are all different.
        shard_bytes: most bytes of tensors in one file, > 0; a larger tensor has a file of its own.

    Returns:
        `model.safetensors` alone, or `model-00001-of-000NN.safetensors` … and the text of their index. Inside a file,
        tensors stand by element size, largest first.

    Raises:
        InputError: a name that no safetensors file can hold.
    """
    if shard_bytes <= 0:
        raise ValueError(f"a shard must have room for at least one byte, found {shard_bytes}")
    groups = _fill(specs, shard_bytes)
    if len(groups) == 1:
        return Layout((_shard(SINGLE, groups[0]),))
    count = len(groups)
    shards = tuple(_shard(f"model-{i:05d}-of-{count:05d}.safetensors", group) for i, group in enumerate(groups, 1))
    return Layout(shards, _index(shards))


def parse_size(text: str | int) -> int:
    """A size in bytes: a whole number, or a number with a unit of 1000s (`5GB`) or 1024s (`1GiB`).

    Raises:
        UsageError: not a size, or not above zero.

    Example:
        >>> parse_size("1.5GB"), parse_size("1 GiB"), parse_size(4096)
        (1500000000, 1073741824, 4096)
    """
    match = _SIZE.fullmatch(str(text)) if isinstance(text, str | int) and not isinstance(text, bool) else None
    size = int(Fraction(match[1]) * _UNITS[(match[2] or "B").upper()]) if match else 0
    if size <= 0:
        message = f"a size must be bytes above zero, such as 5GB, 500MB or 1GiB, found {text!r:.60}"
        raise UsageError(Fault("bad-argument", message, subject=str(text)[:60]))
    return size


def format_size(size: int) -> str:
    """Bytes for people, in units of 1000s.

    Example:
        >>> format_size(999), format_size(1_500_000_000)
        ('999 B', '1.5 GB')
    """
    for unit in ("TB", "GB", "MB", "KB"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.1f} {unit}"
    return f"{size} B"


def _fill(specs: Iterable[TensorSpec], shard_bytes: int) -> list[list[TensorSpec]]:
    """Groups of tensors, one per file; a tensor too large for any joins the list before the file being filled."""
    groups: list[list[TensorSpec]] = []
    current: list[TensorSpec] = []
    held = 0
    for spec in specs:
        if spec.nbytes > shard_bytes:
            groups.append([spec])
            continue
        if held + spec.nbytes > shard_bytes:
            groups.append(current)
            current, held = [], 0
        current.append(spec)
        held += spec.nbytes
    return [*groups, current] if current or not groups else groups


def _shard(name: str, specs: Sequence[TensorSpec]) -> Shard:
    header, places = place(specs)
    return Shard(name, header, places, places[-1].end if places else len(header))


def _index(shards: Sequence[Shard]) -> str:
    """The index in the words, order and spacing of transformers."""
    placed: list[tuple[str, Placed]] = [(shard.name, tensor) for shard in shards for tensor in shard.tensors]
    where = {tensor.spec.name: file for file, tensor in placed}
    if len(where) < len(placed):
        raise ValueError("two tensors of one model have the same name")
    metadata = {
        "total_parameters": sum(tensor.spec.numel for _, tensor in placed),
        "total_size": sum(tensor.spec.nbytes for _, tensor in placed),
    }
    return json.dumps({"metadata": metadata, "weight_map": where}, indent=2, sort_keys=True) + "\n"
