"""Eight marks to a byte."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cuvee.tensors import pack_bits, unpack_bits

SIZES = [0, 1, 7, 8, 9, 63, 64, 65, 1000]


def marks(size: int) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(size)) < 0.5


@pytest.mark.parametrize("size", SIZES)
def test_the_order_of_bits_is_that_of_numpys_little_endian(size: int) -> None:
    found = pack_bits(marks(size))
    assert found.dtype == torch.uint8
    assert found.tolist() == np.packbits(marks(size).numpy(), bitorder="little").tolist()


@pytest.mark.parametrize("size", SIZES)
def test_unpacking_gives_back_what_was_packed(size: int) -> None:
    assert torch.equal(unpack_bits(pack_bits(marks(size)), 0, size), marks(size))


def test_any_run_can_be_unpacked_from_the_bytes_that_hold_it() -> None:
    all_marks = marks(41)
    packed = pack_bits(all_marks)
    for start in range(42):
        for stop in range(start, 42):
            run = unpack_bits(packed[start // 8 : -(-stop // 8)], start, stop)
            assert torch.equal(run, all_marks[start:stop]), (start, stop)
