"""What the passes of a method find in tensors, kept for every candidate that would find the same.

A pass is made again only where a setting that it looked at has changed: which settings those are is watched while it is
made. So thresholds of TIES are found once for every density whatever the weights, and inner products of models once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from cuvee.methods import Job, Method, Round
from cuvee.methods.tiles import findings

_MOST: Final = 8
"""Results of one pass over one tensor that are kept."""


class Watched(dict[str, Any]):
    """Settings that note which of them are looked at."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.seen: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.seen.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """A setting, if it is there."""
        self.seen.add(name)
        return super().get(name, default)

    def __iter__(self) -> Iterator[str]:
        self.seen.update(super().keys())
        return super().__iter__()

    def items(self) -> Any:
        """All of them."""
        self.seen.update(super().keys())
        return super().items()

    def values(self) -> Any:
        """All of them."""
        self.seen.update(super().keys())
        return super().values()


@dataclass(frozen=True, slots=True)
class _Found:
    seen: Mapping[str, Any]
    total: Any


class Prepared:
    """Results of passes by tensor and method."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int, str], list[_Found]] = {}
        self.made = 0
        """Passes that were made, for tests and benchmarks."""

    def known(self, key: str, method: Method, job: Job, show: Callable[[Round, Job, Any], Any]) -> Any:
        """What the passes of a method conclude about a tensor.

        Args:
            key: what is looked at: models, tensor and dtype.
            method: the method.
            job: the tensor's settings.
            show: `(round, job, known) -> what the round finds` in all of the tensor.
        """
        settings = Watched(job.settings)
        watched = replace(job, settings=settings)
        done = -1

        def shown(following: Round, known: Any) -> Any:
            nonlocal done
            done += 1
            if done == 0 and getattr(following.observe, "__closure__", None) is None:
                settings.seen.clear()  # which pass it is does not change what it finds
            name = getattr(following.observe, "__qualname__", "")
            return self._total((key, method.name, done, name), settings, lambda: show(following, watched, known))

        return findings(method.measure, watched, shown)

    def _total(self, key: tuple[str, str, int, str], settings: Watched, make: Callable[[], Any]) -> Any:
        kept = self._found.setdefault(key, [])
        for found in kept:
            if all(_same(value, dict.get(settings, name)) for name, value in found.seen.items()):
                settings.seen.update(found.seen)
                return found.total
        total = make()
        self.made += 1
        kept.append(_Found({name: dict.get(settings, name) for name in settings.seen}, total))
        del kept[:-_MOST]
        return total


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    return type(a) is type(b) and bool(a == b)
