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
_LEAST, _MOST = 2.0**-800, 2.0**800
"""Between them, a squared norm has lost nothing to squares that vanish, and can be added to others."""
_HIGHEST = 1024
_ROOM = 3
"""The highest exponent of float64, and how much below it no difference of two deltas can run over."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """number · 2^power: what squares add up to, where float64 alone would run over or vanish."""

    number: float = 0.0
    power: int = 0

    def __add__(self, other: Scaled) -> Scaled:
        if not (self.number and other.number):  # zero has no size that the other could be put to
            return self if self.number else other
        power = max(self.power, other.power)
        return Scaled(sum(math.ldexp(x.number, x.power - power) for x in (self, other)), power)


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

    aa: Scaled = Scaled()
    bb: Scaled = Scaled()
    ab: Scaled = Scaled()
    dd: Scaled = Scaled()
    base: Scaled | None = None
    opposed: int = 0
    both: int = 0
    entries: int = 0
    tensors: int = 0

    def __add__(self, other: Sums) -> Sums:
        pairs = ((getattr(self, f), getattr(other, f)) for f in self.__slots__)
        return Sums(*(y if x is None else x if y is None else x + y for x, y in pairs))

    @property
    def cosine(self) -> float | None:
        """Cos of the angle between a and b; `None` where one of them is zero or not finite."""
        norms = math.sqrt(self.aa.number) * math.sqrt(self.bb.number)
        if not 0 < norms < math.inf:
            return None
        found = _finite(self.ab.number / norms, self.ab.power - (self.aa.power + self.bb.power) // 2)
        return None if found is None else max(-1.0, min(1.0, found))

    @property
    def norm_ratio(self) -> float | None:
        """‖b‖ / ‖a‖; `None` where a is zero, or one of them not finite."""
        return _ratio_of_norms(self.bb, self.aa)

    @property
    def relative_difference(self) -> float | None:
        """‖a − b‖ / ‖a‖, or / ‖base‖ where a base is given; `None` where that is zero, or one of them not finite."""
        return _ratio_of_norms(self.dd, self.aa if self.base is None else self.base)

    @property
    def sign_conflict(self) -> float | None:
        """Share of the entries in which a and b have opposite signs, of those where neither is zero."""
        return self.opposed / self.both if self.both else None


def _ratio_of_norms(over: Scaled, under: Scaled) -> float | None:
    """√(over / under), `None` where there is no such number; powers of squared norms are even."""
    if not 0 < under.number < math.inf:
        return None
    return _finite(math.sqrt(over.number) / math.sqrt(under.number), (over.power - under.power) // 2)


def _finite(number: float, power: int) -> float | None:
    """Number · 2^power, `None` where that is NaN, infinite or too large for a float."""
    try:
        found = math.ldexp(number, power)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


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
        values = [r.read(name, start, min(start + _PIECE, numel)).double() for r in readers]
        plain = _sums(values, _plain_product)
        total += plain if _is_safe(plain) else _careful_sums(values)
    return total


def _sums(values: Sequence[torch.Tensor], product: Callable[[torch.Tensor, torch.Tensor], Scaled]) -> Sums:
    """The sums over one piece of a, b and, if it is given, the base."""
    a, b, *rest = values
    if rest:
        a, b = a - rest[0], b - rest[0]
    signs = a.sign() * b.sign()
    return Sums(
        aa=product(a, a),
        bb=product(b, b),
        ab=product(a, b),
        dd=product(apart := a - b, apart),
        base=product(rest[0], rest[0]) if rest else None,
        opposed=int((signs < 0).sum()),
        both=int((signs != 0).sum()),
        entries=a.numel(),
    )


def _plain_product(x: torch.Tensor, y: torch.Tensor) -> Scaled:
    return Scaled(float(x @ y))


def _is_safe(sums: Sums) -> bool:
    """Whether no square ran over or vanished; zero is not told apart from what vanished, and costs a second look."""
    squares = (sums.aa, sums.bb, sums.dd, *([] if sums.base is None else [sums.base]))
    return all(_LEAST < square.number < _MOST for square in squares)


def _careful_sums(values: Sequence[torch.Tensor]) -> Sums:
    """The same sums of values of any size."""
    common = _ROOM if max(_exponent(x) for x in values) > _HIGHEST - _ROOM else 0

    def product(x: torch.Tensor, y: torch.Tensor) -> Scaled:
        powers = _exponent(x), _exponent(y)
        return Scaled(float(_divided(x, powers[0]) @ _divided(y, powers[1])), sum(powers) + 2 * common)

    return _sums([_divided(x, common) for x in values], product)


def _exponent(x: torch.Tensor) -> int:
    """That of the largest value; 0 where that is zero or not finite."""
    return math.frexp(float(x.abs().max()))[1] if x.numel() else 0


def _divided(x: torch.Tensor, power: int) -> torch.Tensor:
    """X / 2^power, in two steps, as 2^power itself may be beyond float64."""
    half = power // 2
    return x * 2.0**-half * 2.0 ** (half - power)
