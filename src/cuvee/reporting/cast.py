"""Who is who in the evidence: the merge, its inputs, their base, an ensemble; and names short enough for an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from cuvee.reporting.evidence import Evidence


def short_names(names: Sequence[str]) -> Mapping[str, str]:
    """For every name as many of its last parts as tell it from the others.

    Example:
        >>> dict(short_names(["models/a", "merges/a", "models/b"]))
        {'models/a': 'models/a', 'merges/a': 'merges/a', 'models/b': 'b'}
    """
    return {name: _shortest(name, names) for name in names}


def _shortest(name: str, names: Sequence[str]) -> str:
    parts = _parts(name)
    for count in range(1, len(parts)):
        end = parts[-count:]
        if sum(_parts(other)[-count:] == end for other in dict.fromkeys(names)) == 1:
            return "/".join(end)
    return name


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in PurePosixPath(name).parts if part not in (".", "/"))


def inputs_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The models of a record, inner ones behind those that they are in."""
    found: list[Mapping[str, Any]] = []
    for one in record["inputs"]:
        found += [one, *inputs_of({"inputs": one.get("inputs", ())})]
    return found


def roles(evidence: Evidence) -> Mapping[str, str]:
    """What every model of the comparison is (`charts.ROLES`).

    A comparison names its models as its user did, from another folder perhaps: they are known by where they lie, else
    by their last part, where only one model has it.
    """
    told = evidence.comparison
    if told is None:
        return {}
    names = [one["model"] for one in told["models"]]
    merge = the_merge(evidence)
    bases = {_end(one["model"]) for one in evidence.record["inputs"] if one["base"]}
    inputs = {_end(one["model"]) for one in inputs_of(evidence.record)}
    return {name: _role(name, merge, bases, inputs, told) for name in names}


def the_merge(evidence: Evidence) -> str | None:
    """What the comparison calls the merge; `None` where it is not in it."""
    if evidence.comparison is None:
        return None
    names = [str(one["model"]) for one in evidence.comparison["models"] if not one["parent"]]
    own = evidence.folder.absolute()
    exact = [name for name in names if _is_at(name, own)]
    alike = [name for name in names if _end(name) == own.name]
    for found in (exact, alike):
        if len(found) == 1:
            return found[0]
    rest = [name for name in names if not is_ensemble(name)]
    known = {_end(one["model"]) for one in evidence.record["inputs"]}
    return rest[0] if len(rest) == 1 and _end(rest[0]) not in known and not exact and not alike else None


def _is_at(name: str, place: Path) -> bool:
    """Whether a name leads to a folder; what can be no path leads nowhere."""
    try:
        return Path(name).absolute() == place or Path(name).resolve() == place.resolve()
    except (OSError, ValueError):
        return False


def is_ensemble(name: str) -> bool:
    """Whether a name of a comparison is that of the models asked together."""
    return name.lower().startswith("ensemble")


def _role(name: str, merge: str | None, bases: set[str], inputs: set[str], told: Mapping[str, Any]) -> str:
    if name == merge:
        return "this merge"
    if is_ensemble(name):
        return "ensemble"
    if _end(name) in bases:
        return "base"
    parent = next(one["parent"] for one in told["models"] if one["model"] == name)
    return "input" if _end(name) in inputs or parent else "another model"


def _end(name: str) -> str:
    return PurePosixPath(name).name
