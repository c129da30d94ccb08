"""Trouble in the midst of arithmetic, told with the tensor that it was met at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cuvee.errors import Fault, InputError, ResourceError, is_out_of_memory

_NO_FACTORS: type[RuntimeError] = torch.linalg.LinAlgError  # type: ignore[attr-defined]  # its stub leaves it out


@contextmanager
def told_of(tensor: str) -> Iterator[None]:
    """Say which tensor it was that memory did not suffice for, or that has no factors.

    Args:
        tensor: the tensor that is worked on.

    Raises:
        InputError: a factorisation found no end.
        ResourceError: memory ran out.
    """
    try:
        yield
    except _NO_FACTORS as error:
        message = f"tensor {tensor}: its matrices could not be factored: {_first_line(error)}"
        hint = "do the models hold numbers that no training gives? `cuvee diff` says how far each is from the base"
        raise InputError(Fault("no-factors", message, subject=tensor, hint=hint)) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        message = f"tensor {tensor}: not enough memory: {_first_line(error)}"
        hint = "use fewer --threads, or a machine with more memory; `cuvee plan` says what is needed"
        raise ResourceError(Fault("memory", message, subject=tensor, hint=hint)) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
