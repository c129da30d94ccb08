"""Files of statistics: what calibration data says of a model's tensors, under their own names.

An ordinary safetensors file, one per kind of statistic, whose free text says what it holds:

    cuvee_statistics   the kind: `gram` or `fisher`
    format             `pt`, as everywhere; `cuvee_format` is the version of this list
    rows, samples      what the means are over, and how many samples of the data were run
    rows_per_tensor    JSON: tensor → rows, where they are others than `rows`
    transposed         JSON: tensors whose weight stands as inputs by outputs, a Gram matrix's only
    …                  whatever else whoever collected it wishes to be remembered

A Gram matrix `[n, n]` stands under the name of the weight it belongs to, a diagonal Fisher has its tensor's shape.
Both are means per row, so that models count alike whatever their data's size; times `rows` they are sums.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from cuvee.checkpoint.flat import tensor_bytes
from cuvee.checkpoint.format import Header, place, read_header
from cuvee.checkpoint.protocol import Placed
from cuvee.checkpoint.single_file import exists, write_single
from cuvee.checkpoint.stored import SafetensorsFile
from cuvee.errors import Fault, InputError, OutputExists
from cuvee.types import DTYPES, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["gram", "fisher"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
KIND_KEY: Final = "cuvee_statistics"
FORMAT: Final = "1"

_TILE: Final = 1 << 20
_HINT: Final = "collect it again: `cuvee collect MODEL --data FILE --kind {}`"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the header of a file of statistics says.

    Attributes:
        path: where it lies.
        kind: `gram` or `fisher`.
        rows: rows that the means are over.
        samples: samples of the data that were run.
        rows_per_tensor: tensor → its own rows, where they are not `rows`.
        transposed: tensors whose weight stands on disk as inputs by outputs: `W.T` is what a solver needs.
        metadata: all of the free text.
        specs: every statistic by the name of the model's tensor, which for `gram` is not its shape.
    """

    path: Path
    kind: Kind
    rows: int
    samples: int
    rows_per_tensor: Mapping[str, int]
    transposed: frozenset[str]
    metadata: Mapping[str, str]
    specs: Mapping[str, TensorSpec]

    def rows_of(self, name: str) -> int:
        """Rows that a tensor's mean is over."""
        return self.rows_per_tensor.get(name, self.rows)

    def open(self) -> SafetensorsFile:
        """The file opened for reading its tensors."""
        return SafetensorsFile(self.path)


class StatisticsFile(SafetensorsFile):
    """A file of statistics as a merge reads it: the Gram matrix of a transposed weight has the shape `[1, n, n]`.

    Attributes:
        kind: what it holds.
        content: fingerprint of the weights of the model that it was collected of; empty where it does not say.
    """

    def __init__(self, path: Path) -> None:
        said = read_statistics(path)
        super().__init__(path)
        self.kind: Kind = said.kind
        self.content = said.metadata.get("model_content", "")
        self._turned = said.transposed

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every statistic by the name of the model's tensor."""
        return {n: replace(s, shape=(1, *s.shape)) if n in self._turned else s for n, s in super().specs.items()}


def holds_statistics(path: Path) -> bool:
    """Whether a weight file says of itself that it holds statistics."""
    return path.suffix.lower() == ".safetensors" and KIND_KEY in read_header(path).metadata


def read_statistics(path: Path, kind: Kind | None = None) -> Statistics:
    """Read and check the header of a file of statistics; its tensors are not read.

    Args:
        path: the file.
        kind: what it must hold; either if not given.

    Raises:
        InputError: `model-missing`, `bad-header` or `truncated`; `wrong-statistics` with everything else that is wrong.
    """
    try:
        header = read_header(path)
    except OSError as error:
        code = "io-error" if path.exists() else "model-missing"
        message = f"a file of statistics should be at {path}; {error.strerror or error}"
        raise InputError(Fault(code, message, subject=str(path), hint=_HINT.format(kind or "gram"))) from error
    said = header.metadata.get(KIND_KEY)
    if said not in KINDS or (kind is not None and said != kind):
        wanted = f"`{kind}`" if kind else " or ".join(f"`{known}`" for known in KINDS)
        found = f"holds `{said}`" if said else "holds no statistics of Cuvee's"
        raise InputError(_wrong(path, f"should hold the statistics {wanted}; it {found}", kind or "gram"))
    faults: list[Fault] = []
    found_kind: Kind = "gram" if said == "gram" else "fisher"
    read = _numbers(header, path, found_kind, faults)
    faults += [fault for placed in header.tensors if (fault := _misshapen(placed.spec, path, found_kind))]
    if faults:
        raise InputError(faults)
    specs = {placed.spec.name: placed.spec for placed in header.tensors}
    rows, samples, own, transposed = read
    return Statistics(path, found_kind, rows, samples, own, transposed, header.metadata, specs)


def check_values(statistics: Statistics) -> None:
    """Read every number and refuse what no mean of squares can be.

    Raises:
        InputError: `non-finite`: NaN or infinity; `wrong-statistics`: a negative Fisher, or a negative diagonal.
    """
    faults: list[Fault] = []
    with closing(statistics.open()) as file:
        for spec in statistics.specs.values():
            faults += _value_faults(file, spec, statistics)
    if faults:
        raise InputError(faults)


def write_statistics(
    path: Path,
    kind: Kind,
    specs: Iterable[TensorSpec],
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    overwrite: bool = False,
) -> int:
    """Write a file of statistics, which appears complete or not at all.

    Args:
        path: the file to make; folders above it are made too.
        kind: what it holds.
        specs: name, dtype and shape of every statistic.
        tensors: the statistics.
        metadata: free text, besides the kind and the version.
        overwrite: whether a file that is there may be replaced.

    Returns:
        Bytes of the file.

    Raises:
        OutputExists: it is there, and `overwrite` was not given.
        ResourceError: it cannot be written.
    """
    header, placed = place(specs, {KIND_KEY: kind, "cuvee_format": FORMAT, **metadata})
    check_absent(path, overwrite)
    write_single(path, _pieces(header, placed, tensors), overwrite=overwrite)
    return placed[-1].end if placed else len(header)


def _pieces(header: bytes, placed: Iterable[Placed], tensors: Mapping[str, Tensor]) -> Iterator[memoryview | bytes]:
    yield header
    for part in placed:
        values = tensors[part.spec.name].contiguous()  # named, so that it lives while its bytes are looked at
        yield tensor_bytes(values)


def check_absent(path: Path, overwrite: bool) -> None:
    """Refuse to write over what is there, unless it is a file of statistics that may be replaced.

    Raises:
        OutputExists: `output-exists` or, for a folder or a file of another kind, `unsafe-overwrite`.
    """
    if not (path.exists() or path.is_symlink()):
        return
    if not overwrite:
        raise exists(path)
    try:
        read_statistics(path)
    except (InputError, OSError) as error:
        message = f"{path} is no file of statistics, and will not be replaced"
        hint = "choose another name, or remove it yourself"
        raise OutputExists(Fault("unsafe-overwrite", message, subject=str(path), hint=hint)) from error


def _numbers(
    header: Header, path: Path, kind: Kind, faults: list[Fault]
) -> tuple[int, int, Mapping[str, int], frozenset[str]]:
    """Rows, samples, rows of single tensors, and transposed tensors, as the free text says."""
    text = header.metadata
    names = {placed.spec.name for placed in header.tensors}
    counts = [_count(text.get(key, ""), key, path, kind, faults) for key in ("rows", "samples")]
    own = _json(text.get("rows_per_tensor", "{}"), dict)
    transposed = _json(text.get("transposed", "[]"), list)
    if own is None or not all(name in names and type(rows) is int and rows > 0 for name, rows in own.items()):
        faults.append(_wrong(path, "`rows_per_tensor` should give tensors of the file numbers above zero", kind))
    if transposed is None or not all(isinstance(name, str) and name in names for name in transposed):
        faults.append(_wrong(path, "`transposed` should list tensors of the file", kind))
    return counts[0], counts[1], own or {}, frozenset() if faults else frozenset(transposed or ())


def _count(text: str, key: str, path: Path, kind: Kind, faults: list[Fault]) -> int:
    if text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text) > 0:
        return int(text)
    faults.append(_wrong(path, f"`{key}` should be a whole number above zero; it is {text[:60]!r}", kind))
    return 0


def _json(text: str, form: type) -> Any:
    """A value of some form, `None` for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, form) else None


def _misshapen(spec: TensorSpec, path: Path, kind: Kind) -> Fault | None:
    """What is wrong with a statistic that its header can tell."""
    if DTYPES[spec.dtype].name not in ("float32", "float64"):
        return _wrong(path, f"`{spec.name}` should be float32 or float64; it is {spec.dtype}", kind, spec.name)
    if kind == "gram" and (len(spec.shape) != 2 or spec.shape[0] != spec.shape[1]):
        return _wrong(path, f"`{spec.name}` should be square; its shape is {list(spec.shape)}", kind, spec.name)
    return None


def _value_faults(file: SafetensorsFile, spec: TensorSpec, statistics: Statistics) -> list[Fault]:
    """What is wrong with the numbers of one statistic."""
    for start in range(0, spec.numel, _TILE):
        stop = min(start + _TILE, spec.numel)
        values = file.read(spec.name, start, stop)
        if not values.isfinite().all():
            message = f"{statistics.path}: `{spec.name}` holds NaN or infinity"
            return [Fault("non-finite", message, subject=spec.name, hint=_HINT.format(statistics.kind))]
        if statistics.kind == "gram":  # row by row, an entry of the diagonal every n + 1
            values = values[(-start) % (spec.shape[0] + 1) :: spec.shape[0] + 1]
        if len(values) and float(values.min()) < 0:
            what = "a Fisher" if statistics.kind == "fisher" else "the diagonal of a Gram matrix"
            return [_wrong(statistics.path, f"`{spec.name}`: {what} cannot be negative", statistics.kind, spec.name)]
    return []


def _wrong(path: Path, what: str, kind: Kind, subject: str | None = None) -> Fault:
    return Fault("wrong-statistics", f"{path}: {what}", subject=subject or str(path), hint=_HINT.format(kind))
