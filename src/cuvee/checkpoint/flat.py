"""Any tensor as one row of elements, and one row of elements as bytes."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from torch import Tensor

PIECE: Final = 8 << 20
"""Bytes of a file hashed or copied at a time."""

_READ_ONLY: Final = 0x100  # PyBUF_READ
_WRITABLE: Final = 0x200  # PyBUF_WRITE
# A prototype of our own: attributes set on ctypes.pythonapi would be shared with every other library.
_view_memory = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
    ("PyMemoryView_FromMemory", ctypes.pythonapi)
)


def flat_slice(tensor: Tensor, start: int, stop: int) -> Tensor:
    """Elements `start` to `stop` (not included) in row-major order, shape `[stop - start]`, on the CPU.

    A view where the tensor is contiguous and on the CPU; otherwise a copy of these elements and no others, so that
    reading a transposed tensor in tiles costs no more than reading it once.
    """
    tensor = tensor.detach()
    if tensor.is_contiguous():
        return tensor.reshape(-1)[start:stop].cpu().resolve_conj().resolve_neg()
    out = tensor.new_empty(stop - start)
    _fill(out, tensor, start, stop)
    return out.cpu()


def _fill(out: Tensor, source: Tensor, start: int, stop: int) -> None:
    """Copy a run of elements that may begin and end inside a row: a part of a row, whole rows, a part of a row."""
    if start == stop:
        return
    if source.dim() == 1:
        out.copy_(source[start:stop])
        return
    width = source[0].numel()
    first, last = -(-start // width), stop // width
    if first > last:
        _fill(out, source[last], start - last * width, stop - last * width)
        return
    head, whole = first * width - start, (last - first) * width
    if head:
        _fill(out[:head], source[first - 1], width - head, width)
    out[head : head + whole].view(last - first, *source.shape[1:]).copy_(source[first:last])
    if stop > last * width:
        _fill(out[head + whole :], source[last], 0, stop - last * width)


def shared_memory(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names that show the very memory of an earlier one, in the same way: such a name → that earlier name."""
    first: dict[tuple[object, ...], str] = {}
    found: dict[str, str] = {}
    for name, tensor in tensors.items():
        if tensor.numel():
            view = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), tensor.is_conj())
            if (leader := first.setdefault(view, name)) != name:
                found[name] = leader
    return found


def tensor_bytes(values: Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, not copied: the caller keeps the tensor alive while the view is used."""
    return _bytes_of(values, _READ_ONLY)


def writable_bytes(values: Tensor) -> memoryview:
    """The same, to be written to: only for tensors that nobody else has yet."""
    return _bytes_of(values, _WRITABLE)


def copy_bytes(values: Tensor, into: memoryview) -> None:
    """Copy the bytes of a flat CPU tensor into writable memory of the same size."""
    values = values.contiguous()  # named, so that it lives while its bytes are looked at
    into[:] = tensor_bytes(values)


def _bytes_of(values: Tensor, access: int) -> memoryview:
    size = values.numel() * values.element_size()
    return cast(memoryview, _view_memory(values.data_ptr(), size, access)) if size else memoryview(b"")


def check_range(name: str, start: int, stop: int, numel: int) -> None:
    """Refuse a run of elements that is not inside the tensor: a fault of the caller, not of the user."""
    if not 0 <= start <= stop <= numel:
        raise ValueError(f"elements {start} to {stop} of `{name}` are outside its {numel}")
