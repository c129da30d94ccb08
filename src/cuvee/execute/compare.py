"""How two models differ, layer by layer: angle, size and sign of the difference."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from cuvee.checkpoint.equality import same_tensors
from cuvee.checkpoint.protocol import Reader
from cuvee.families import natural_key, spot_of, study
from cuvee.types import DTYPES

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Sums:
    """What one group of tensors adds up to; a and b are values, or deltas where a base is given.

    Attributes:
        aa, bb, ab, dd: squared norms of a and b, their product, and the squared norm of their difference.
        base: squared norm of the base; `None` without one.
        opposed: entries in which a and b have opposite signs.
        both: entries in which neither is zero.
        entries, tensors: how many there are.
    """

    aa: float = 0.0
    bb: float = 0.0
    ab: float = 0.0
    dd: float = 0.0
    base: float | None = None
    opposed: int = 0
    both: int = 0
    entries: int = 0
    tensors: int = 0

    def __add__(self, other: Sums) -> Sums:
        pairs = ((getattr(self, f), getattr(other, f)) for f in self.__slots__)
        return Sums(*(y if x is None else x if y is None else x + y for x, y in pairs))

    @property
    def cosine(self) -> float | None:
        """Cos of the angle between a and b; `None` where one of them is zero."""
        norms = math.sqrt(self.aa) * math.sqrt(self.bb)
        return max(-1.0, min(1.0, self.ab / norms)) if 0 < norms < math.inf else None

    @property
    def norm_ratio(self) -> float | None:
        """‖b‖ / ‖a‖; `None` where a is zero."""
        return math.sqrt(self.bb / self.aa) if self.aa > 0 else None

    @property
    def relative_difference(self) -> float | None:
        """‖a − b‖ / ‖a‖, or / ‖base‖ where a base is given; `None` where that is zero."""
        scale = self.aa if self.base is None else self.base
        return math.sqrt(self.dd / scale) if scale > 0 else None

    @property
    def sign_conflict(self) -> float | None:
        """Share of the entries in which a and b have opposite signs, of those where neither is zero."""
        return self.opposed / self.both if self.both else None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a comparison: stack and layer (`None` outside layers), the part, and its sums."""

    stack: str
    layer: int | None
    group: str
    sums: Sums


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models side by side.

    Attributes:
        rows: the figures by stack, layer and part.
        total: the figures of all tensors together.
        only_a, only_b: tensors that the other model lacks.
        not_in_base: tensors of both models that the base lacks.
        other_shape: tensors whose shapes differ.
        different, equal: tensors that have no figures, because they are not floats everywhere (integers, booleans,
            packed numbers), by whether a and b hold the same.
    """

    rows: tuple[Row, ...]
    total: Sums
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    not_in_base: tuple[str, ...]
    other_shape: tuple[str, ...]
    different: tuple[str, ...]
    equal: tuple[str, ...]


def compare(
    a: Reader, b: Reader, base: Reader | None = None, progress: Callable[[int, int], None] | None = None
) -> Comparison:
    """Compare two models, or the deltas of both from a base.

    Args:
        a: one model.
        b: the other.
        base: what both were fine-tuned from; tensors it lacks are not compared.
        progress: called with tensors done and their number.
    """
    readers = [a, b, *([base] if base else [])]
    shared = [n for n in a.specs if all(n in r.specs for r in readers)]
    fitting = [n for n in shared if len({r.specs[n].shape for r in readers}) == 1]
    sizes = study(a.specs, a.config).sizes
    groups: dict[tuple[str, int | None, str], Sums] = defaultdict(Sums)
    alike: dict[str, bool] = {}
    for i, name in enumerate(fitting):
        if all(DTYPES[r.specs[name].dtype].kind == "float" for r in readers):
            groups[_group(name, sizes)] += _tensor_sums(readers, name)
        else:
            alike[name] = same_tensors(a, name, b, name)
        if progress:
            progress(i + 1, len(fitting))
    ordered = sorted(groups, key=lambda k: (k[0], -1 if k[1] is None else k[1], natural_key(k[2])))
    return Comparison(
        rows=tuple(Row(*key, groups[key]) for key in ordered),
        total=sum(groups.values(), Sums()),
        only_a=tuple(n for n in a.specs if n not in b.specs),
        only_b=tuple(n for n in b.specs if n not in a.specs),
        not_in_base=tuple(n for n in a.specs if n in b.specs and base is not None and n not in base.specs),
        other_shape=tuple(n for n in shared if n not in set(fitting)),
        different=tuple(n for n, same in alike.items() if not same),
        equal=tuple(n for n, same in alike.items() if same),
    )


def _group(name: str, sizes: object) -> tuple[str, int | None, str]:
    spot = spot_of(name)
    if spot is None or not isinstance(sizes, dict) or spot.prefix not in sizes:
        return "", None, name
    return spot.prefix, spot.index, spot.rest.split(".")[0]


def _tensor_sums(readers: Sequence[Reader], name: str) -> Sums:
    numel = readers[0].specs[name].numel
    total = Sums(tensors=1)
    for start in range(0, numel, _PIECE):
        a, b, *base = (r.read(name, start, min(start + _PIECE, numel)).double() for r in readers)
        total += _sums(a, b, base[0] if base else None)
    return total


def _sums(a: torch.Tensor, b: torch.Tensor, base: torch.Tensor | None) -> Sums:
    if base is not None:
        a, b = a - base, b - base
    signs = a.sign() * b.sign()
    return Sums(
        aa=float(a @ a),
        bb=float(b @ b),
        ab=float(a @ b),
        dd=float((a - b) @ (a - b)),
        base=None if base is None else float(base @ base),
        opposed=int((signs < 0).sum()),
        both=int((signs != 0).sum()),
        entries=a.numel(),
    )
