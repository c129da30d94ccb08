"""One causal language model while texts grow: what it has worked out of their tokens is kept between calls.

A writer is given the whole token sequence of every row each time, and finds by itself what of it is new. Where a
sequence goes on, the new tokens are read. Where it was changed at its end, because another tokenisation of the same
text is another sequence, the cache is cut back to the longest common beginning. Rows of a batch may need different
cuts: places of the cache that a row no longer has are masked out, and removed once no row has them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Rows = Sequence[Sequence[int] | None]


@dataclass(frozen=True, slots=True)
class Manners:
    """What a model can be trusted with (`manners` finds out).

    Attributes:
        beside: to read texts of different lengths at once.
        further: to go on from its cache where it has done so.
        changed: to have tokens in its cache masked out.
    """

    beside: bool = True
    further: bool = True
    changed: bool = True


class Writer:
    """A model with its cache, its attention mask and its positions.

    Args:
        model: a causal language model of transformers.
        cached: keep what is worked out; without it every call reads every row from its beginning.
        manners: what it can be trusted with; a model that cannot read texts side by side reads one after the other.
    """

    def __init__(self, model: Any, *, cached: bool = True, manners: Manners | None = None) -> None:
        self._model = model
        self._manners = manners or Manners()
        self._takes = inspect.signature(model.forward).parameters
        # as newer and as older versions of transformers call it
        self._name = next((name for name in ("cache", "past_key_values") if name in self._takes), None)
        self._cached = cached and self._name is not None and self._manners.further
        self._forget()
        self.tokens_read = 0

    def _forget(self) -> None:
        self._cache: Any = None
        self._mask: Tensor | None = None
        self._held: list[list[int]] = []
        self._places: list[list[int]] = []

    def next_logits(self, rows: Rows) -> Tensor:
        """What comes behind the tokens of each row, `[B, V]`.

        Args:
            rows: the tokens of each row, one or more; `None` for a row that is over, whose logits mean nothing.
        """
        if not self._manners.beside:
            return self._one_by_one(rows)
        if not self._held or not self._cached or not self._goes_on(rows):
            self._forget()
            self._held = [[] for _ in rows]
            self._places = [[] for _ in rows]
        return self._read([self._new(number, row) for number, row in enumerate(rows)])

    def _one_by_one(self, rows: Rows) -> Tensor:
        """Every row alone and from its beginning, without mask and positions: as the model itself would have it."""
        given: dict[str, Any] = {"use_cache": False} if "use_cache" in self._takes else {}
        found = []
        for row in rows:
            ids = torch.tensor([list(row) if row is not None else [0]], device=self._model.device)
            with resting(self._model):
                found.append(self._model(input_ids=ids, **given).logits[0, -1])
            self.tokens_read += ids.shape[1]
        return torch.stack(found)

    def _goes_on(self, rows: Rows) -> bool:
        """Whether what is kept can be used: a cache that cannot be cut or have holes is begun again instead."""
        if _is_plain(self._cache) and self._manners.changed:
            return True
        growth = {len(row) - len(held) for row, held in zip(rows, self._held, strict=True) if row is not None}
        same = all(list(row[: len(held)]) == held for row, held in zip(rows, self._held, strict=True) if row)
        return same and growth == {1}

    def _new(self, number: int, row: Sequence[int] | None) -> list[int]:
        """The tokens that a row has not read yet; what it has too much is dropped."""
        if row is None:  # a token where there is none yet: a row that is masked throughout has no softmax
            return [] if self._held[number] else [0]
        held, places = self._held[number], self._places[number]
        keep = min(_common(held, row), len(row) - 1)  # the last one is read again, or there would be no logits
        if keep < len(held):
            assert self._mask is not None
            self._mask[number, places[keep:]] = 0
            del held[keep:], places[keep:]
        return list(row[keep:])

    def _read(self, new: Sequence[Sequence[int]]) -> Tensor:
        self._crop()
        width, device = max(map(len, new)), self._model.device
        ids = torch.zeros((len(new), width), dtype=torch.int64)
        fresh = torch.zeros_like(ids)
        before = 0 if self._mask is None else self._mask.shape[1]
        for number, tokens in enumerate(new):
            if tokens:
                ids[number, width - len(tokens) :] = torch.tensor(tokens)
                fresh[number, width - len(tokens) :] = 1
                self._held[number] += tokens
                self._places[number] += range(before + width - len(tokens), before + width)
        self._mask = fresh if self._mask is None else torch.cat([self._mask, fresh], dim=1)
        self.tokens_read += int(fresh.sum())
        return self._called(ids.to(device), self._mask.to(device), width)

    def _called(self, ids: Tensor, mask: Tensor, width: int) -> Tensor:
        given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if "position_ids" in self._takes:  # counted over tokens alone, as transformers does when it writes
            given["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)[:, -width:]
        if "use_cache" in self._takes:
            given["use_cache"] = self._cached
        if self._cached and self._cache is not None:
            given[self._name or ""] = self._cache
            if _kind(self._cache) == "state":  # a state is masked where it reads, and knows nothing of what was before
                given["attention_mask"] = mask[:, -width:]
        if "logits_to_keep" in self._takes:
            given["logits_to_keep"] = 1
        with resting(self._model):
            found = self._model(**given)
        if self._cached:
            self._cache = getattr(found, "cache", None) or getattr(found, "past_key_values", None)
            self._cached = self._cache is not None and _kind(self._cache) != "other"
        last: Tensor = found.logits[:, -1]
        return last

    def _crop(self) -> None:
        """Places at the end that no row has any more leave the cache."""
        if self._mask is None or self._cache is None or not _is_plain(self._cache):
            return
        used = self._mask.any(0).nonzero()
        end = int(used[-1]) + 1 if len(used) else 0
        if 0 < end < self._mask.shape[1]:
            self._cache.crop(end - self._mask.shape[1])  # below 0: so many are removed, in all versions
            self._mask = self._mask[:, :end].contiguous()


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the longest common beginning."""
    size = min(len(one), len(other))
    if list(one[:size]) == list(other[:size]):
        return size
    return next(i for i in range(size) if one[i] != other[i])


def _is_plain(cache: Any) -> bool:
    """Whether every layer keeps every token in order, so that some can be masked and the last ones dropped."""
    return hasattr(cache, "crop") and all(type(layer).__name__ == "DynamicLayer" for layer in cache.layers)


def _kind(cache: Any) -> Literal["keys", "state", "other"]:
    """What a cache keeps: keys and values of every token; a state, as Mamba has it; or both, which is not cached here.

    Models of both kinds of layers take masks of two lengths at once, each by a rule of its own.
    """
    found = {(hasattr(layer, "keys"), hasattr(layer, "conv_states")) for layer in getattr(cache, "layers", ())}
    return "keys" if found == {(True, False)} else "state" if found == {(False, True)} else "other"


@contextmanager
def resting(model: Any) -> Iterator[None]:
    """Evaluation mode, without gradients; put back as it was."""
    training = bool(model.training)
    if training:
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if training:
            model.train()
