"""Which tensors are changed: filters on names on disk, and where in memory those tensors are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from cuvee.errors import Fault, InputError, UsageError, listed, nearest
from cuvee.families import spot_of
from cuvee.families.running import Home, Running, homes
from cuvee.types import DTYPES, TensorSpec

if TYPE_CHECKING:
    import torch

_LAYERS: Final = re.compile(r"layers:(\d{1,6})(?:-(\d{1,6}))?")


def chosen(specs: Mapping[str, TensorSpec], only: Sequence[str]) -> list[str]:
    """Names of the tensors of floats that a run may change.

    A filter is `layers:4-7` (both ends in; the first number in a name is its layer), a pattern of the whole name
    where it has `*` or `?`, or else part of a name, as filters of recipes are.

    Args:
        specs: the tensors on disk.
        only: filters; a tensor must meet one. All tensors do where there is none.

    Raises:
        UsageError: a filter that no tensor meets.
    """
    floats = [name for name, spec in specs.items() if DTYPES[spec.dtype].kind == "float"]
    if not only:
        return floats
    if empty := [one for one in only if not any(meets(name, one) for name in floats)]:
        raise UsageError([_unmet(one, floats) for one in empty])
    return [name for name in floats if any(meets(name, one) for one in only)]


def meets(name: str, one: str) -> bool:
    """Whether a tensor's name meets a filter.

    Example:
        >>> [meets("model.layers.5.mlp.up_proj.weight", one) for one in ("layers:4-6", "*.mlp.*", "layers.5.", "attn")]
        [True, True, True, False]
    """
    if found := _LAYERS.fullmatch(one):
        spot = spot_of(name)
        first = int(found[1])
        return spot is not None and first <= spot.index <= int(found[2] or first)
    return fnmatchcase(name, one) if set(one) & set("*?") else one in name


def _unmet(one: str, names: Sequence[str]) -> Fault:
    parts = {part for name in names for part in name.split(".") if not part.isdigit()}
    message = f"a filter should meet a tensor of floats of the model; `{one}` meets none of {len(names)}"
    layers = sorted({spot.index for name in names if (spot := spot_of(name))})
    if _LAYERS.fullmatch(one):
        hint = f"the model has layers {layers[0]} to {layers[-1]}" if layers else "no name in it holds a number"
    else:
        hint = f"parts of names here: {nearest(one, parts)}"
    return Fault("bad-argument", message, subject="only", hint=hint)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the tensors that are changed stand.

    Attributes:
        homes: name on disk → what it has become in memory, of all that changes with what was chosen.
        dtypes: name in memory → torch's dtype of it on disk, of every parameter that is trained.
        notes: what was chosen and cannot be changed, or changes although it was not chosen.
    """

    homes: Mapping[str, Home]
    dtypes: Mapping[str, torch.dtype]
    notes: tuple[str, ...]


def places(running: Running, specs: Mapping[str, TensorSpec], wanted: Sequence[str]) -> Places:
    """Find the parameters of chosen tensors in a model that was loaded.

    Args:
        running: the model.
        specs: the tensors on disk.
        wanted: names on disk.

    Raises:
        InputError: `missing-tensor`: none of them is a parameter; `not-yet`: tensors of several dtypes are one in
            memory.
    """
    found, without = homes(running, {name: spec.shape for name, spec in specs.items()})
    held = first_names(running.model)
    asked = [name for name in wanted if name in found and all(part in held for part in found[name].memory)]
    if not asked:
        why = "; ".join(f"{name}: {without.get(name, 'no parameter')}" for name in wanted[:3])
        message = f"none of the tensors to be tuned is a parameter of {type(running.model).__name__}: {why}"
        raise InputError(Fault("missing-tensor", message, subject="only"))
    trained = {held[part] for name in asked for part in found[name].memory}
    moved = {
        name: home
        for name, home in found.items()
        if DTYPES[specs[name].dtype].kind == "float" and trained & {held.get(part, "") for part in home.memory}
    }
    dtypes = _dtypes(moved, specs, held)
    return Places(moved, dtypes, tuple(_notes(wanted, asked, moved)))


def first_names(model: Any) -> dict[str, str]:
    """Every name of a parameter in memory → the first name of it: a tied head has two."""
    first: dict[int, str] = {}
    named = list(model.named_parameters(remove_duplicate=False))
    for name, parameter in named:
        first.setdefault(id(parameter), name)
    return {name: first[id(parameter)] for name, parameter in named}


def _dtypes(
    moved: Mapping[str, Home], specs: Mapping[str, TensorSpec], held: Mapping[str, str]
) -> dict[str, torch.dtype]:
    import torch

    found: dict[str, str] = {}
    for name, home in moved.items():
        for part in home.memory:
            dtype = found.setdefault(held[part], specs[name].dtype)
            if dtype != specs[name].dtype:
                message = f"`{name}` is {specs[name].dtype} and one in memory with tensors of {dtype}"
                raise InputError(Fault("not-yet", message, subject=name, hint="give them one dtype first"))
    return {name: getattr(torch, dtype) for name, dtype in found.items()}


def _notes(wanted: Sequence[str], asked: Sequence[str], moved: Iterable[str]) -> list[str]:
    fixed = sorted(set(wanted) - set(asked))
    more = sorted(set(moved) - set(wanted))
    notes = [f"not tuned, as no parameter of the class: {listed(fixed)}"] if fixed else []
    return [*notes, *([f"tuned too, as one in memory with what was chosen: {listed(more)}"] if more else [])]
