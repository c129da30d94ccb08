"""Acoustic scores: for each frame the logarithms of the probabilities of all symbols, one of them the blank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from cuvee.errors import Fault, InputError, integer_faults, listed, refuse

Array = np.ndarray[Any, Any]

TOLERANCE: Final = 1e-3
"""How far the probabilities of a frame may be from summing to one, as float32 has them."""


def frames_of(logp: Any, labels: Sequence[str], blank: int) -> Array:
    """Acoustic scores, checked.

    Args:
        logp: `[T, V]`, natural logarithms of probabilities; −∞ is a probability of 0; T may be 0.
        labels: V symbols, all different; that of the blank is never written.
        blank: the number of the blank.

    Returns:
        float64 `[T, V]`.

    Raises:
        UsageError: `bad-argument`: the blank is no symbol, or symbols repeat.
        InputError: `bad-output`: another shape, NaN, or rows that are no logarithms of probabilities.
    """
    refuse(_label_faults(labels, blank))
    frames = _array(logp)
    if wrong := list(_faults(frames, len(labels))):
        raise InputError(wrong)
    return frames


def _array(logp: Any) -> Array:
    try:
        found = np.asarray(logp)
        if np.iscomplexobj(found):
            raise TypeError("complex numbers")
        return found.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different length; a tensor with gradients
        message = f"acoustic scores must be an array of numbers; found {type(logp).__name__}: {error}"
        raise InputError(Fault("bad-output", message, subject="logp")) from error


def _label_faults(labels: Sequence[str], blank: int) -> list[Fault]:
    wrong = integer_faults("blank", blank, least=0)
    if not wrong and blank >= len(labels):
        message = f"`blank` must be the number of one of {len(labels)} symbols; found {blank}"
        wrong.append(Fault("bad-argument", message, subject="blank"))
    if twice := [label for label, count in Counter(labels).items() if count > 1]:
        message = f"symbols must differ; {listed(map(repr, twice))} stands twice"
        wrong.append(Fault("bad-argument", message, subject="labels"))
    return wrong


def _faults(frames: Array, symbols: int) -> Iterator[Fault]:
    if frames.ndim != 2 or frames.shape[1] != symbols:
        message = f"acoustic scores must be [frames, {symbols}], a column for each symbol; found {list(frames.shape)}"
        yield Fault("bad-output", message, subject="logp")
        return
    if len(wrong := np.flatnonzero(np.isnan(frames).any(axis=1))):
        message = f"acoustic scores must be numbers; frame {wrong[0]} holds NaN ({len(wrong):,} such frames)"
        yield Fault("bad-output", message, subject="logp")
        return
    with np.errstate(over="ignore"):
        totals = np.exp(frames).sum(axis=1)
    if len(wrong := np.flatnonzero(~(np.abs(totals - 1) <= TOLERANCE))):
        found = f"those of frame {wrong[0]} sum to {totals[wrong[0]]:.4g} ({len(wrong):,} such frames)"
        hint = "give natural logarithms: `log_softmax` of the logits over the symbols"
        yield Fault(
            "bad-output", f"the probabilities of each frame must sum to one; {found}", subject="logp", hint=hint
        )
