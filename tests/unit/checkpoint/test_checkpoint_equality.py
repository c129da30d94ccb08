"""Equal values: of bytes, of numbers in two dtypes, of NaN and signed zero; and heads that only begin like a copy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cuvee.checkpoint import MemoryReader
from cuvee.checkpoint.equality import SAMPLE, begins_alike, same_tensors, same_values
from cuvee.errors import Fault, InputError

LONG = (1 << 20) + 5
NAN = math.nan


def of(*values: float, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(values, dtype=dtype)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (of(1, 2), of(1, 2), True),
        (of(1, 2), of(1, 3), False),
        (of(), of(), True),
        (of(NAN, 1), of(NAN, 1), True),
        (of(NAN, 1), of(NAN, 2), False),
        (of(NAN), of(1), False),
        (of(0.0), of(-0.0), True),
        (of(math.inf), of(-math.inf), False),
        (of(1.5, NAN), of(1.5, NAN, dtype=torch.bfloat16), True),
        (of(1 + 2**-20), of(1 + 2**-20, dtype=torch.float16), False),
        (of(1, 2, dtype=torch.int64), of(1, 2, dtype=torch.int64), True),
        (of(1, 2, dtype=torch.int64), of(1, 3, dtype=torch.int64), False),
        (of(2**60, dtype=torch.int64), of(2**60, dtype=torch.int64) + 1, False),  # float64 cannot tell these apart
        (of(1, dtype=torch.int64), of(1, dtype=torch.int32), False),
        (of(1, dtype=torch.int64), of(1), False),
        (of(0, 1, dtype=torch.bool), of(0, 1, dtype=torch.bool), True),
        (of(0, 1, dtype=torch.bool), of(1, 1, dtype=torch.bool), False),
        (of(1, dtype=torch.float8_e4m3fn), of(1, dtype=torch.float8_e4m3fn), True),
        (of(1, dtype=torch.float8_e4m3fn), of(2, dtype=torch.float8_e4m3fn), False),
        (of(1, dtype=torch.complex64), of(1, dtype=torch.complex64) * 1j, False),
    ],
)
def test_same_values(a: Tensor, b: Tensor, same: bool) -> None:
    assert same_values(a, b) is same
    assert same_values(b, a) is same


class Counting(MemoryReader):
    """Counts what is read of it."""

    most = 0
    pieces = 0

    def read(self, name: str, start: int, stop: int) -> Tensor:
        self.most, self.pieces = max(self.most, stop - start), self.pieces + 1
        return super().read(name, start, stop)


def test_tensors_are_read_in_pieces() -> None:
    reader = Counting("m", {"a": torch.zeros(LONG), "b": torch.zeros(LONG)})
    assert same_tensors(reader, "a", reader, "b")
    assert (reader.most, reader.pieces) == (1 << 20, 4)


def test_the_first_difference_is_the_last_thing_read() -> None:
    reader = Counting("m", {"a": torch.zeros(LONG), "b": torch.ones(LONG)})
    assert not same_tensors(reader, "a", reader, "b")
    assert reader.pieces == 2


@pytest.mark.parametrize("at", [0, SAMPLE, LONG - 1])
def test_one_entry_makes_the_difference(at: int) -> None:
    tensor = torch.zeros(LONG)
    other = tensor.clone()
    other[at] = 1
    assert not same_tensors(MemoryReader("m", {"t": tensor}), "t", MemoryReader("n", {"u": other}), "u")


@pytest.mark.parametrize(("at", "alike"), [(0, False), (SAMPLE - 1, False), (SAMPLE, True)])
def test_a_head_is_told_by_its_first_entries(at: int, alike: bool) -> None:
    embedding = torch.randn(2 * SAMPLE, generator=torch.Generator().manual_seed(0))
    head = embedding.clone()
    head[at] += 1
    assert begins_alike(MemoryReader("m", {"head": head, "embedding": embedding}), "head", "embedding") is alike


def test_a_copy_of_another_precision_is_a_copy() -> None:
    embedding = torch.randn(8, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert begins_alike(MemoryReader("m", {"h": embedding.float(), "e": embedding}), "h", "e")


def test_a_tie_is_believed_where_nothing_can_be_read() -> None:
    class HeadersOnly(MemoryReader):
        def read(self, name: str, start: int, stop: int) -> Tensor:
            raise InputError(Fault("offline", f"{name} has not been fetched"))

    assert begins_alike(HeadersOnly("m", {"h": of(1), "e": of(2)}), "h", "e")
