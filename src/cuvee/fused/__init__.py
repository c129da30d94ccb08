"""Fast forms of merge methods: one loop over the bits of a tile instead of one torch operation after the other.

The plain form of `cuvee.methods` is the definition. A fused form does the same operations in the same order on the same
float32 numbers, and must give the same bytes; the tests hold it to that, and every run tries what it uses on a made-up
tensor first. numba, which compiles the loops, is optional.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cuvee.fused.compiler import available, is_cached, note_used, one_at_a_time

if TYPE_CHECKING:
    from cuvee.fused.model import Fused

SAVES: Final = {
    "linear": 1.2,
    "slerp": 2.5,
    "task_arithmetic": 1.2,
    "ties": 6.0,
    "dare_ties": 3.0,
    "dare_linear": 3.0,
}
"""Methods that have a fused form, and the nanoseconds that it saves per entry and model (see `benchmarks/`)."""

_START: Final = 0.5
"""Seconds that numba takes to be imported and to find what it has compiled before, measured."""
COMPILING: Final = 3.0
"""Seconds that compiling a method takes, measured."""

__all__ = ["COMPILING", "SAVES", "available", "form_of", "is_cached", "is_worth_it", "note_used", "one_at_a_time"]


def is_worth_it(name: str, kinds: str, entries: int) -> bool:
    """Whether the fused form of a method saves more time than it takes to be ready.

    Args:
        name: the method.
        kinds: the dtypes that it reads and writes.
        entries: entries of all inputs that it would be run on.
    """
    saved = entries * SAVES.get(name, 0.0) * 1e-9
    if saved <= _START:  # said of most merges, and without a look at the cache
        return False
    return saved > _START + COMPILING or is_cached(name, kinds)


def form_of(name: str) -> Fused:
    """The fused form of a method; this imports numba."""
    from cuvee.fused.forms import FORMS

    return FORMS[name]
