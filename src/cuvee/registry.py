"""A small registry for things that are independent of each other: methods, readers, evaluators, strategies."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from cuvee.errors import Fault, RecipeError, UsageError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """Names and what they stand for; plug-ins join through an entry-point group.

    Args:
        kind: what the things are, for messages ("merge method").
        group: entry-point group whose entries are loaded on the first look-up of an unknown name or a listing.
        code: reason code of the error for an unknown name.
    """

    def __init__(self, kind: str, group: str, code: str = "bad-argument") -> None:
        self._kind = kind
        self._group = group
        self._code = code
        self._known: dict[str, T] = {}
        self._plugins_loaded = False
        self._broken: list[str] = []

    def register(self, name: str, thing: T) -> T:
        """Add one thing; a name can be taken only once."""
        if name in self._known:
            raise UsageError(Fault("bad-argument", f"{self._kind} `{name}` is registered already", subject=name))
        self._known[name] = thing
        return thing

    def get(self, name: str) -> T:
        """The thing of that name; plug-ins that cannot be imported are passed over, and named if they may be meant.

        Raises:
            RecipeError: no such name; the message gives the nearest one.
        """
        if not isinstance(name, str) or name not in self._known:
            self._load_plugins()
        if not isinstance(name, str) or name not in self._known:
            message = f"there is no {self._kind} `{name}`"
            hints = [hint for hint in (nearest(str(name), self._known), *self._broken) if hint]
            raise RecipeError(Fault(self._code, message, subject=str(name), hint="; ".join(hints) or None))
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        self._load_plugins()
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        self._load_plugins()
        return iter(sorted(self._known))

    def _load_plugins(self) -> None:
        """Import every installed plug-in once; each registers itself."""
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        for entry in entry_points(group=self._group):
            try:
                entry.load()
            except Exception as error:  # whatever a plug-in does wrong, the other methods go on working
                self._broken.append(f"the plug-in `{entry.name}` could not be loaded ({error!r})")
