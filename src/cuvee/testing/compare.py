"""Assertions on tensors whose messages say which entry is wrong and by how much."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

SIGMAS: Final = 5.0
"""Standard errors by which a mean over many draws may miss its expectation."""


def assert_equal(got: Tensor, want: Tensor, claim: str) -> None:
    """Shape, dtype and every value are the same; the two zeros count as one value.

    Args:
        got: what a method gave.
        want: what it should have given.
        claim: what was to be shown, the start of the message.

    Raises:
        AssertionError: they differ.
    """
    _assert_alike(got, want, claim)
    _assert_none(got != want, got, want, claim)


def assert_same_bytes(got: Tensor, want: Tensor, claim: str) -> None:
    """Shape, dtype and every bit are the same.

    Args:
        got: what a method gave.
        want: what it should have given.
        claim: what was to be shown, the start of the message.

    Raises:
        AssertionError: they differ.
    """
    _assert_alike(got, want, claim)
    _assert_none(_bits(got) != _bits(want), got, want, claim)


def assert_close(got: Tensor, want: Tensor, size: float, claim: str) -> None:
    """Every value is the same up to rounding: sums of numbers of the given size, and one rounding of the result.

    The sums may be taken in float32 (float64 for float64 tensors), never in a narrower type.

    Args:
        got: what a method gave.
        want: what it should have given, of the same dtype.
        size: largest magnitude that went into the sums.
        claim: what was to be shown, the start of the message.

    Raises:
        AssertionError: they differ by more.
    """
    _assert_alike(got, want, claim)
    work = torch.float64 if got.dtype == torch.float64 else torch.float32
    truth = want.double()
    tolerance = torch.finfo(got.dtype).eps * truth.abs() + 32 * torch.finfo(work).eps * size
    tolerance += torch.finfo(got.dtype).smallest_normal * torch.finfo(got.dtype).eps
    _assert_none(~((got.double() - truth).abs() <= tolerance), got, want, claim)


def assert_differs(got: Tensor, other: Tensor, claim: str) -> None:
    """At least one value is not the same.

    Args:
        got: what a method gave.
        other: what it should not have given.
        claim: what was to be shown, the start of the message.

    Raises:
        AssertionError: all values are the same.
    """
    if torch.equal(got, other):
        raise AssertionError(f"{claim}: all {got.numel()} entries are the same")


def assert_finite(got: Tensor, claim: str) -> None:
    """No value is infinite or not a number.

    Args:
        got: what a method gave.
        claim: what was to be shown, the start of the message.

    Raises:
        AssertionError: one is.
    """
    _assert_none(~torch.isfinite(got), got, torch.zeros_like(got), claim)


def assert_within(missed: Tensor, variance: Tensor, claim: str) -> None:
    """No mean is further from its expectation than `SIGMAS` standard errors.

    Args:
        missed: means minus their expectations.
        variance: variances of the means, of the same shape.
        claim: what was to be shown, the start of the message.

    Raises:
        AssertionError: one is.
    """
    # a mean without variance may still be off by the rounding of its sum
    errors = (missed.abs() / (variance.sqrt() + 1e-9)).reshape(-1)
    worst = float(errors.max()) if errors.numel() else 0.0
    if not worst < SIGMAS:
        raise AssertionError(f"{claim}: off by {worst:.1f} standard errors, allowed are {SIGMAS:g}")


def _bits(tensor: Tensor) -> Tensor:
    """The tensor's bits as integers of the same size and shape."""
    same_size = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}[tensor.element_size()]
    return tensor.contiguous().view(same_size)


def _assert_alike(got: Tensor, want: Tensor, claim: str) -> None:
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        found, due = f"{got.dtype} {tuple(got.shape)}", f"{want.dtype} {tuple(want.shape)}"
        raise AssertionError(f"{claim}: the result is a tensor of {found}, due is {due}")


def _assert_none(wrong: Tensor, got: Tensor, want: Tensor, claim: str) -> None:
    """No entry is marked wrong; the message shows the first that is."""
    if not bool(wrong.any()):
        return
    flat = wrong.reshape(-1)
    first = int(flat.nonzero()[0])
    found, due = got.reshape(-1)[first].item(), want.reshape(-1)[first].item()
    counted = f"{int(flat.sum())} of {flat.numel()} entries are wrong"
    raise AssertionError(f"{claim}: {counted}; entry {first} is {found!r}, due is {due!r}")
