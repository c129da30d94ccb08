"""An adapter's names against a base's: as they are, or behind another prefix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cuvee.families.names import spot_of
from cuvee.types import TensorSpec

Shapes = tuple[tuple[int, ...], ...]
"""The shapes that a tensor may have."""

_LEAST_TAIL: Final = 2  # parts of a name outside the layers that must be the same: `embed_tokens.weight`


@dataclass(frozen=True, slots=True)
class Prefix:
    """What is taken off the front of an adapter's names, and what is put there for the base's."""

    taken: str
    put: str

    def apply(self, name: str) -> str | None:
        """The base's name; `None` for a name that does not begin as it should."""
        return self.put + name.removeprefix(self.taken) if name.startswith(self.taken) else None


@dataclass(frozen=True, slots=True)
class Named:
    """Names of tensors as an adapter has them → as the base has them.

    Attributes:
        found: those that were found.
        several: those that could be more than one tensor, and which.
        prefixes: the prefixes that were needed.
    """

    found: dict[str, str] = field(default_factory=dict)
    several: dict[str, tuple[str, ...]] = field(default_factory=dict)
    prefixes: list[Prefix] = field(default_factory=list)


def match_names(wanted: Mapping[str, Shapes], base: Mapping[str, TensorSpec]) -> Named:
    """Find an adapter's names among a base's.

    A name that the base has is that tensor. The others are taken together by the stack of layers that they are in: one
    exchange of the beginning must lead all of them to tensors of a shape that fits, and no two such exchanges may
    lead to different tensors.

    Args:
        wanted: name → the shapes that fit.
        base: the base's tensors.

    Example:
        >>> base = {"layers.0.q.weight": TensorSpec("layers.0.q.weight", "float32", (4, 2))}
        >>> match_names({"model.layers.0.q.weight": ((4, 2),)}, base).found
        {'model.layers.0.q.weight': 'layers.0.q.weight'}
    """
    named = Named()
    groups: dict[str, list[str]] = {}
    for name in wanted:
        spot = spot_of(name)
        if name in base:
            named.found[name] = name
        elif spot is not None:
            groups.setdefault(spot.prefix, []).append(name)
    for prefix, names in groups.items():
        _settle(names, prefix.count("."), wanted, base, named)
    for name in wanted:
        if name not in named.found and spot_of(name) is None:
            _settle([name], max(name.count(".") + 1 - _LEAST_TAIL, 0), wanted, base, named)
    return named


def _settle(
    names: Sequence[str], most: int, wanted: Mapping[str, Shapes], base: Mapping[str, TensorSpec], named: Named
) -> None:
    """Find the one exchange of the beginning for names that belong together; `most` parts of it may be taken off."""
    known = [one for one in named.prefixes if _fits(one, names, wanted, base)]
    fitting = known or [one for one in _candidates(names[0], most, base) if _fits(one, names, wanted, base)]
    led = {one.apply(names[0]): one for one in fitting}
    if len(led) == 1:
        (prefix,) = led.values()
        named.found.update({name: prefix.apply(name) or "" for name in names})
        named.prefixes.extend([] if known else [prefix])
    elif led:
        named.several.update({name: tuple(str(one.apply(name)) for one in led.values()) for name in names})


def _candidates(name: str, most: int, base: Iterable[str]) -> list[Prefix]:
    """Every exchange that leads a name to one of the base's, the longest common end first."""
    parts = name.split(".")
    found: list[Prefix] = []
    for cut in range(most + 1):
        taken, tail = "".join(f"{part}." for part in parts[:cut]), ".".join(parts[cut:])
        found += [Prefix(taken, other.removesuffix(tail)) for other in base if f".{other}".endswith(f".{tail}")]
    return found


def _fits(prefix: Prefix, names: Sequence[str], wanted: Mapping[str, Shapes], base: Mapping[str, TensorSpec]) -> bool:
    led = [(name, prefix.apply(name)) for name in names]
    return all(other is not None and other in base and base[other].shape in wanted[name] for name, other in led)
