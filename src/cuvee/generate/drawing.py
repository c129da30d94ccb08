"""A token drawn from a distribution, so that a draw depends on the seed, the prompt and the place in the text alone.

Companions in a batch, its size and the order of prompts have no part in it: each draw has a number in [0, 1) of its
own, a hash of seed, prompt, which sample of the prompt it is, and the token's place, and takes the candidate whose
share of the cumulative distribution it falls in, likeliest first.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from cuvee.errors import Fault, UsageError, integer_faults

_BITS: Final = 53
"""Bits of a float64's fraction: as many different numbers in [0, 1)."""
_ROUNDING: Final = 1e-12
"""What a sum of probabilities may lack of `top_p` by rounding alone."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: logits are divided by it, ≥ 0; 0 takes the likeliest token each time.
        top_k: keep so many of the likeliest, 1 or more; all without it.
        top_p: of these, keep the fewest whose probabilities sum to it or more, (0, 1]; all without it.
        seed: of the draws.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = [*_faults(self)]
        if wrong:
            raise UsageError(wrong)


def _faults(how: Sampling) -> Iterator[Fault]:
    if not (_is_number(how.temperature) and 0 <= how.temperature < math.inf):
        message = f"`temperature` must be 0 (the likeliest token) or more; found {how.temperature!r}"
        yield Fault("bad-argument", message, subject="temperature")
    if how.top_k is not None:
        yield from integer_faults("top_k", how.top_k, least=1)
    if how.top_p is not None and not (_is_number(how.top_p) and 0 < how.top_p <= 1):
        yield Fault("bad-argument", f"`top_p` must be above 0 and at most 1; found {how.top_p!r}", subject="top_p")
    yield from integer_faults("seed", how.seed)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def narrowed(logs: Tensor, how: Sampling) -> Tensor:
    """The distribution that is drawn from: temperature, then `top_k`, then `top_p`; −∞ for what is left out.

    Args:
        logs: logarithms of one distribution, `[C]`, float64.
        how: with a temperature above 0.
    """
    logs = torch.log_softmax(logs / how.temperature, dim=-1)
    order = logs.argsort(descending=True, stable=True)
    keep = torch.ones_like(logs, dtype=torch.bool)
    if how.top_k is not None:
        keep[order[how.top_k :]] = False
    if how.top_p is not None:
        kept = torch.log_softmax(logs.masked_fill(~keep, -math.inf), dim=-1)
        before = kept[order].exp().cumsum(-1) - kept[order].exp()  # what the likelier ones sum to
        keep[order[before >= how.top_p - _ROUNDING]] = False
    return torch.log_softmax(logs.masked_fill(~keep, -math.inf), dim=-1)


def chosen(logs: Tensor, how: Sampling, key: tuple[str, int], place: int) -> int:
    """The candidate that is taken: the first of the likeliest at temperature 0, else a draw.

    Args:
        logs: logarithms of one distribution, `[C]`, float64.
        how: temperature and the rest.
        key: the prompt, and which sample of it this is.
        place: of the token in the text, from 0.
    """
    if how.temperature == 0:
        return int(logs.argmax())
    narrow = narrowed(logs, how)
    order = narrow.argsort(descending=True, stable=True)
    sums = narrow[order].exp().cumsum(-1)
    at = torch.searchsorted(sums, uniform(how.seed, key, place) * sums[-1], right=True)
    return int(order[min(int(at), int((narrow > -math.inf).sum()) - 1)])


def uniform(seed: int, key: tuple[str, int], place: int) -> float:
    """A number in [0, 1), the same for the same arguments on every machine."""
    prompt, sample = key
    told = f"{seed} {sample} {place} {prompt}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "big")
    return float(number >> (64 - _BITS)) / 2.0**_BITS
