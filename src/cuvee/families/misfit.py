"""Why a model does not fit a part of another one, in words, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

from cuvee.errors import nearest
from cuvee.families.names import is_optional, natural_key, role_of, spot_of
from cuvee.families.towers import Specs, fit_by_name, fits, parts_in, shapes_beside, shifts, tensors_of_part, uncovered
from cuvee.types.words import counted

_SHOWN: Final = 3
_SAME: Final = "it must be a model of the same architecture, depth and sizes as that part"


def misfit(specs: Specs, target: Specs, part: str) -> tuple[str, str]:
    """What keeps a model from taking the place of a part, and a hint.

    Args:
        specs: the model's tensors.
        target: the other model's.
        part: the part's name, under which `fit_by_name` finds no fit.
    """
    parts = parts_in(target)
    there = tensors_of_part(part, target)
    if not there:
        return f"there is no such part; whose parts are {', '.join(parts) or 'none'}", nearest(part, parts)
    return _told(specs, target, there), _elsewhere(specs, target, part, parts) or _SAME


def _told(specs: Specs, target: Specs, there: Iterable[str]) -> str:
    body = {name: spec for name, spec in specs.items() if role_of(name) != "head"}
    known = {name: target[name] for name in there}
    moves = [{name: add + name[len(cut) :] for name in body} for cut, add in shifts(body, known)]
    if not moves:
        return f"no layer of it begins there as its own do: {_first(body)} was looked for, and there is {_first(known)}"
    moved = max(moves, key=lambda one: sum(new in known for new in one.values()))
    said = [_absent(moved, known), _reshaped(body, moved, known), _depths(body, known)]
    return "; ".join(one for one in said if one)


def _first(specs: Specs) -> str:
    """The first tensor of a layer, or else the first of all."""
    names = sorted(specs, key=natural_key)
    return next((name for name in names if spot_of(name)), names[0] if names else "nothing")


def _absent(moved: Mapping[str, str], known: Specs) -> str:
    """How many tensors find no place, with a few of them and the name that is nearest to the first."""
    missing = {name: new for name, new in moved.items() if new not in known and not is_optional(new)}
    if not missing:
        return ""
    some = [f"{name}: there is no {new}" for name, new in list(missing.items())[:_SHOWN]]
    have = "has" if len(missing) == 1 else "have"
    near = nearest_name(next(iter(missing.values())), known)
    some += [f"nearest there is {near}"] if near else []
    return f"{len(missing):,} of its {counted(len(moved), 'tensor')} {have} no place there: {'; '.join(some)}"


def _reshaped(body: Specs, moved: Mapping[str, str], known: Specs) -> str:
    """How many tensors have a place of another shape, with a few of them."""
    other = [name for name, new in moved.items() if new in known and not fits(body[name], known, new)]
    if not other:
        return ""
    some = [shapes_beside(body[name], known[moved[name]]) for name in other[:_SHOWN]]
    more = f"; … and {len(other) - _SHOWN:,} more" if len(other) > _SHOWN else ""
    return (
        f"{counted(len(other), 'tensor')} {'has' if len(other) == 1 else 'have'} another shape: {'; '.join(some)}{more}"
    )


def _depths(body: Specs, known: Specs) -> str:
    own, other = _depth(body), _depth(known)
    return "" if own == other else f"it has {counted(own, 'layer')}, and the part {other:,}"


def _depth(specs: Iterable[str]) -> int:
    """Layers of the longest stack."""
    found = {spot.prefix: spot.index for name in sorted(specs, key=natural_key) if (spot := spot_of(name))}
    return max(found.values(), default=-1) + 1


def _elsewhere(specs: Specs, target: Specs, part: str, parts: Iterable[str]) -> str | None:
    """The part that a model fits instead."""
    for other in parts:
        found = [] if other == part else fit_by_name(specs, target, other)
        if len(found) == 1 and not found[0].wrong and not uncovered(found[0], target):
            return f"it fits `{other}`"
    return None


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The name most like one that is not there; of the same layer if any is like it."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return found[0] if found else None
