"""What saving needs of an ensemble: the words of its past, the rows it was asked first, and a way to be made again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cuvee.predict.rows import Rows
from cuvee.predict.state import State
from cuvee.predict.trained import Label, Task

if TYPE_CHECKING:
    from cuvee.predict.ensemble import Ensemble
    from cuvee.predict.saving import Saved

_FIRST = 8
"""Rows whose answers are saved, to be asked again when it is loaded."""


class Kept(ABC):
    """An ensemble that can be saved and loaded.

    Attributes:
        roles: what is known of the table that it was made of, by `subject.ROLES`; it is saved, so that nobody need say
            again which column holds the right answers.
        seen: the rows that it was asked first.
    """

    roles: Mapping[str, Any] = MappingProxyType({})

    _before: tuple[dict[str, Any], ...] = ()
    seen: Rows | None = None

    @property
    @abstractmethod
    def history(self) -> tuple[State, ...]:
        """The versions that are kept, oldest first."""

    def past(self) -> list[dict[str, Any]]:
        """What was done to it, oldest first: the number of each version and the words."""
        known = {said["number"] for said in self._before}
        fresh = [{"number": one.number, "what": one.what} for one in self.history if one.number not in known]
        return [*self._before, *fresh]

    def save(self, path: str | Path, *, rows: Any = None, overwrite: bool = False, allow_pickle: bool = False) -> Saved:
        """Save it as a folder; see `cuvee.predict.saving.save`."""
        from cuvee.predict.saving import save

        return save(self, path, rows=rows, overwrite=overwrite, allow_pickle=allow_pickle)  # type: ignore[arg-type]

    @classmethod
    @abstractmethod
    def restored(
        cls, task: Task, classes: Sequence[Label], state: State, past: Sequence[dict[str, Any]], **asking: Any
    ) -> Ensemble:
        """An ensemble of one version, and the words of those before it."""

    @classmethod
    def load(cls, path: str | Path, *, trust: Iterable[str] = (), allow_pickle: bool = False) -> Ensemble:
        """Load a saved ensemble, once all of it was checked; see `cuvee.predict.saving.load`."""
        from cuvee.predict.saving import load

        found: Ensemble = load(path, cls.restored, trust=trust, allow_pickle=allow_pickle)
        return found

    def _see(self, rows: Rows) -> Rows:
        """Keep the first rows that it was asked: `save` stores their answers, `load` asks them again."""
        if self.seen is None and len(rows):
            self.seen = rows.take(range(min(_FIRST, len(rows))))
        return rows
