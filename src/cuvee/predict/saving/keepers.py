"""How members of each kind are kept on disk: one file per kind, all of them here by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cuvee.errors import Fault, UsageError
from cuvee.predict.member import Common, Member
from cuvee.predict.rows import Reads
from cuvee.predict.trained import Label, Missing, Output
from cuvee.registry import Registry

Make = Callable[..., Any]
"""Task, classes, the version that answers and the words of all before it → the ensemble (`Ensemble.restored`): this
package knows no more of it."""


@dataclass(frozen=True)
class Trust:
    """What whoever loads an ensemble said may be run.

    Attributes:
        names: types (`module.Type`), functions (`module:function`), or members, which are then trusted with all types.
        allow_pickle: whether pickles may be loaded.
    """

    names: frozenset[str] = frozenset()
    allow_pickle: bool = False

    def covers(self, member: str, name: str) -> bool:
        """Whether a member may hold a type or function.

        A name with `.` or `:` never means a member: whoever writes an ensemble may call one like a trusted type.
        """
        return name in self.names or (member in self.names and not {".", ":"} & set(member))


@dataclass(frozen=True)
class Facts:
    """What every member has besides what it is; arguments of the ways to make one."""

    name: str
    output: Output
    classes: tuple[Label, ...]
    label_map: Mapping[Label, Label]
    missing: Missing
    reads: Reads

    @property
    def common(self) -> Common:
        """What every way to make a member takes."""
        return {"name": self.name, "reads": self.reads, "label_map": self.label_map, "missing": self.missing}


@dataclass(frozen=True)
class Kept:
    """What a keeper wrote of a member.

    Attributes:
        said: what it needs to make the member again besides its files, as JSON can say it.
        libraries: top-level packages whose versions matter.
        notes: what whoever saves should know.
    """

    said: dict[str, Any]
    libraries: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stored:
    """A member as it lies on disk; `make` makes an ensemble, for members that are some."""

    facts: Facts
    folder: Path
    said: Mapping[str, Any]
    settings: Mapping[str, Any]
    trust: Trust
    make: Make


@dataclass(frozen=True)
class Keeper:
    """Writes and reads members of one kind.

    Attributes:
        save: member, its empty folder, whether pickle is allowed → what was written.
        check: a stored member → what forbids loading it; runs nothing of it.
        load: a stored member, checked → the member.
    """

    save: Callable[[Member, Path, bool], Kept]
    check: Callable[[Stored], list[Fault]]
    load: Callable[[Stored], Member]


KEEPERS: Final[Registry[Keeper]] = Registry("kind of member that can be saved", "cuvee.keepers")


def cannot_be_saved(name: str, kind: str, why: str, hint: str | None = None) -> UsageError:
    """The refusal to save a member."""
    message = f"the member {name!r} ({kind}) cannot be saved: {why}"
    return UsageError(Fault("wrong-member", message, None, name, hint))


def unsound(name: str, why: str) -> Fault:
    """A stored member that cannot be one of ours."""
    return Fault("bad-ensemble", f"the member {name!r} cannot be loaded: {why}", None, name)


def no_faults(_: Stored) -> list[Fault]:
    """For kinds of which nothing runs that is not Cuvee's own."""
    return []
