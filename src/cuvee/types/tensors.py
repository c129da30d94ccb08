"""What a header says of a tensor: dtypes, names and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

DTypeKind = Literal["float", "float8", "int", "bool", "complex"]


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
