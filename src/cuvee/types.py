"""Plain facts that every rank may speak of: dtypes, tensor specs, model references, parameter and method declarations.

Standard library only. Everything here is frozen data; behaviour lives elsewhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Scalar = bool | int | float | str
"""A parameter value once gradients and filters have been resolved."""

DTypeKind = Literal["float", "float8", "int", "bool", "complex"]
Space = Literal["weight", "delta"]
Scope = Literal["element", "row", "matrix", "model"]
BaseRule = Literal["required", "optional", "input"]


@dataclass(frozen=True, slots=True)
class DType:
    """One element type: its torch name, safetensors code, size in bytes and kind."""

    name: str
    code: str
    size: int
    kind: DTypeKind


DTYPES: Final[Mapping[str, DType]] = {
    d.name: d
    for d in (
        DType("float64", "F64", 8, "float"),
        DType("float32", "F32", 4, "float"),
        DType("float16", "F16", 2, "float"),
        DType("bfloat16", "BF16", 2, "float"),
        DType("float8_e4m3fn", "F8_E4M3", 1, "float8"),
        DType("float8_e5m2", "F8_E5M2", 1, "float8"),
        DType("float8_e8m0fnu", "F8_E8M0", 1, "float8"),
        DType("int64", "I64", 8, "int"),
        DType("int32", "I32", 4, "int"),
        DType("int16", "I16", 2, "int"),
        DType("int8", "I8", 1, "int"),
        DType("uint64", "U64", 8, "int"),
        DType("uint32", "U32", 4, "int"),
        DType("uint16", "U16", 2, "int"),
        DType("uint8", "U8", 1, "int"),
        DType("bool", "BOOL", 1, "bool"),
        DType("complex64", "C64", 8, "complex"),
    )
}
"""Every element type a checkpoint may hold, by torch name."""

DTYPE_BY_CODE: Final[Mapping[str, DType]] = {d.code: d for d in DTYPES.values()}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a header says of one tensor: on-disk name, dtype (torch name) and shape.

    Where a tensor is decoded while it is read, `dtype` is what reading brings, `stored` what lies on disk, and
    `nominal` what it should be written in where nobody says which; `None` stands for `dtype` itself.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    stored: str | None = None
    nominal: str | None = None

    @property
    def numel(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes, unpadded."""
        return self.numel * DTYPES[self.dtype].size

    @property
    def stored_nbytes(self) -> int:
        """Bytes that it has on disk, without its scales."""
        return self.numel * DTYPES[self.stored or self.dtype].size

    @property
    def usual_dtype(self) -> str:
        """What it is written in where nobody says which."""
        return self.nominal or self.dtype


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model as the recipe names it: local path or hub id, revision, adapter.

    `path` is kept as written: it is the model's name in every message and the key of its random masks, so that a
    recipe gives the same bytes wherever its folder stands.
    """

    path: str
    revision: str | None = None
    adapter: ModelRef | None = None
    override_architecture: str | None = None

    def __str__(self) -> str:
        text = self.path if self.revision is None else f"{self.path}@{self.revision}"
        return text if self.adapter is None else f"{text}+{self.adapter}"


STORES: Final = ("s3", "gs", "gcs", "https", "http")
"""Schemes of URLs that are read by ranges; `hf` is the hub under another name."""

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9.-]*)://")


def scheme_of(text: str) -> str | None:
    """The scheme of a URL in small letters, `None` for anything else.

    Example:
        >>> scheme_of("s3://bucket/model"), scheme_of("models/a"), scheme_of("org/name@main")
        ('s3', None, None)
    """
    found = _URL.match(text)
    return found[1].lower() if found else None


def url_fault(text: str) -> str | None:
    """What is wrong with a URL, without a word of it that could be a secret; `None` for a good one.

    Example:
        >>> url_fault("ftp://host/model")
        'begin with s3://, gs://, gcs://, https://, http:// or hf://; found ftp://'
    """
    scheme = scheme_of(text)
    if scheme not in (*STORES, "hf"):
        return f"begin with {', '.join(f'{name}://' for name in STORES)} or hf://; found {scheme}://"
    rest = text.partition("://")[2]
    if ":" in rest.partition("/")[0].rpartition("@")[0]:
        return "hold no password: it would stand in the record; give it through the environment"
    if set("?#") & set(rest):
        return "hold no `?` or `#`: a signed address would stand in the record; give keys through the environment"
    if not rest.strip("/") or not text.isprintable() or ".." in rest.split("/"):
        return f"name a folder or file, plainly and without `..`; found {text[:200]!r}"
    return None


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a method: recipe key, kind, range, default, and whether each model has its own.

    `low` and `high` are bounds (`None` = unbounded), closed unless `low_open` / `high_open`. A parameter without
    default is required. `ignored` marks one that is accepted for another tool's recipes and changes nothing.
    `scales` marks one that is measured in units of the weights: larger weights ask for a larger value.
    """

    name: str
    kind: Literal["float", "int", "bool"]
    doc: str
    default: Scalar | None = None
    per_model: bool = False
    required: bool = False
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    ignored: bool = False
    scales: bool = False

    @property
    def range(self) -> str:
        """The range in interval notation, e.g. `(0, 1]`; `true or false` for a switch."""
        if self.kind == "bool":
            return "true or false"
        left = "(-inf" if self.low is None else f"{'(' if self.low_open else '['}{self.low:g}"
        right = "inf)" if self.high is None else f"{self.high:g}{')' if self.high_open else ']'}"
        return f"{left}, {right}"

    @property
    def wanted(self) -> str:
        """What a value should be, in words, e.g. `a number in (0, 1]`."""
        if self.kind == "bool":
            return self.range
        noun = "a number" if self.kind == "float" else "an integer"
        return noun if self.low is self.high is None else f"{noun} in {self.range}"

    def has_kind(self, value: object) -> bool:
        """Whether a value is of the parameter's kind; a switch may be written 0 or 1, as older recipes do."""
        if self.kind == "bool":
            return isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1))
        return not isinstance(value, bool) and isinstance(value, int if self.kind == "int" else int | float)

    def admits(self, value: float) -> bool:
        """Whether a number is finite and inside the range."""
        if not math.isfinite(value):
            return False
        above = self.low is None or value > self.low or (value == self.low and not self.low_open)
        below = self.high is None or value < self.high or (value == self.high and not self.high_open)
        return above and below


@dataclass(frozen=True, slots=True)
class Cite:
    """Where a method comes from."""

    text: str
    arxiv: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """What a merge method declares about itself; no arithmetic, so that reading it loads no torch.

    Attributes:
        name: the recipe's `merge_method`.
        summary: one line.
        formula: the arithmetic in plain text.
        space: `weight` methods see the models' values, `delta` methods see value minus base.
        scope: the smallest piece of a tensor the arithmetic may be run on.
        base: `required`, `optional`, or `input` (a base model not listed among the models counts as one more model).
        models: fewest and most models besides the base (`None` = no limit); where `base` is `input`, all models.
        params: the parameters, in the order they are explained.
        divides_by: name of the per-model parameter whose sum is a divisor, or `None`.
        divides_when: name of the switch that turns the division on; a method without such a parameter always divides.
        copies_when: values of per-model parameters at which the only model is the result, so that it can be copied.
        laws: names of the laws of `cuvee.testing.laws` that hold.
        cite: the sources.
        differs: where and why the result differs from a peer tool, one sentence each.
    """

    name: str
    summary: str
    formula: str
    space: Space
    scope: Scope
    base: BaseRule
    models: tuple[int, int | None]
    params: tuple[Param, ...] = ()
    divides_by: str | None = None
    divides_when: str = "normalize"
    copies_when: Mapping[str, float] | None = None
    laws: tuple[str, ...] = ()
    cite: tuple[Cite, ...] = ()
    differs: tuple[str, ...] = ()

    def param(self, name: str) -> Param | None:
        """The declared parameter of that name, or `None`."""
        return next((p for p in self.params if p.name == name), None)


# Of the sum of magnitudes. Each weight is rounded to float32, by up to 6e-8; what is left must be more than roundings.
_CANCELLED: Final = 1e-6


def vanishes(weights: Sequence[float]) -> bool:
    """Whether weights cancel to nothing that a float32 sum could be divided by; 0.1 + 0.2 - 0.3 does, so does none.

    Example:
        >>> vanishes([0.1, 0.2, -0.3]), vanishes([1, -1.00000001]), vanishes([1, -0.9])
        (True, True, False)
    """
    return abs(math.fsum(weights)) <= _CANCELLED * math.fsum(map(abs, weights))
