"""An ensemble: members and a combiner, live and editable; every change is a version that can be gone back to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, UsageError, nearest
from cuvee.predict.answers import ask, labels_of
from cuvee.predict.bank import Bank, Provenance
from cuvee.predict.combiners import Batch, Combiner, Soft
from cuvee.predict.gathering import gather
from cuvee.predict.member import Member
from cuvee.predict.rows import Rows, rows_of
from cuvee.predict.state import State
from cuvee.predict.trained import Label, Task

if TYPE_CHECKING:
    from cuvee.predict.saving import Saved


class Ensemble:
    """Members whose predictions are combined.

    Args:
        task: `classification` or `regression`.
        classes: the labels, in the order that probabilities are given in; none for a regression.
        combiner: how members are combined until `fit_combiner` says otherwise; soft vote without it.
        on_error: what is done when a member fails: `raise`, or `mask`, which goes on without it and notes it.

    Example:
        >>> ens = Ensemble(task="classification", classes=["no", "yes"])
        >>> ens.members
        ()
    """

    def __init__(
        self,
        *,
        task: Task = "classification",
        classes: Sequence[Label] = (),
        combiner: Combiner | None = None,
    ) -> None:
        self.task: Task = task
        self.classes: tuple[Label, ...] = tuple(classes)
        self._history: list[State] = [State(0, "made", (), combiner or Soft())]
        self._before: tuple[dict[str, Any], ...] = ()
        self.seen: Rows | None = None

    @property
    def state(self) -> State:
        """The version that answers now."""
        return self._history[-1]

    @property
    def members(self) -> tuple[Member, ...]:
        """The members, in order."""
        return self.state.members

    def predictions(
        self, X: Any, y: Any = None, *, ids: Sequence[Any] | None = None, provenance: Provenance = "hold-out"
    ) -> Bank:
        """What every member says of every row."""
        return gather(self.members, self._see(rows_of(X, ids)), self.classes, self.task, truth=y, provenance=provenance)

    def predict_proba(self, X: Any) -> Array:
        """The combined probabilities, `[N, K]`, in the order of `classes`."""
        state, rows = self.state, self._see(rows_of(X))
        if state.fitted is None:
            raise UsageError(Fault("bad-argument", "the ensemble has no members yet", hint="`add` one"))
        found = [ask(member, rows, self.classes, self.task) for member in state.members]
        return state.fitted.apply(Batch(np.stack([one.P for one in found]), np.stack([one.mask for one in found])))

    def predict(self, X: Any) -> Any:
        """The label, or the value, of each row, `[N]`."""
        found = self.predict_proba(X)
        return found[:, 0] if self.task == "regression" else labels_of(found, self.classes)

    def past(self) -> list[dict[str, Any]]:
        """What was done to it, oldest first: the number of each version and the words."""
        return [*self._before, *({"number": state.number, "what": state.what} for state in self._history)]

    def save(self, path: str | Path, *, rows: Any = None, overwrite: bool = False, allow_pickle: bool = False) -> Saved:
        """Save it as a folder; see `cuvee.predict.saving.save`."""
        from cuvee.predict.saving import save

        return save(self, path, rows=rows, overwrite=overwrite, allow_pickle=allow_pickle)

    @classmethod
    def load(cls, path: str | Path, *, trust: Iterable[str] = (), allow_pickle: bool = False) -> Ensemble:
        """Load a saved ensemble, once all of it was checked; see `cuvee.predict.saving.load`."""
        from cuvee.predict.saving import load

        found: Ensemble = load(path, cls.restored, trust=trust, allow_pickle=allow_pickle)
        return found

    @classmethod
    def restored(cls, task: Task, classes: Sequence[Label], state: State, past: Sequence[dict[str, Any]]) -> Ensemble:
        """An ensemble of one version, and the words of those before it."""
        made = cls(task=task, classes=classes, combiner=state.combiner)
        made._history, made._before = [state], tuple(past[:-1])
        return made

    def _see(self, rows: Rows) -> Rows:
        """Keep the first rows that it was asked: `save` stores their answers, `load` asks them again."""
        if self.seen is None and len(rows):
            self.seen = rows.take(range(min(8, len(rows))))
        return rows

    def add(self, member: Member) -> None:
        """Take a member in."""
        if member.name in (names := [one.name for one in self.members]):
            message = f"there is a member {member.name!r} already; the members are {', '.join(names)}"
            raise UsageError(Fault("bad-argument", message, subject=member.name, hint="give it another `name`"))
        self._become(f"add {member.name}", (*self.members, member))

    def remove(self, name: str) -> None:
        """Take a member out."""
        names = [one.name for one in self.members]
        if name not in names:
            raise UsageError(Fault("bad-argument", f"there is no member {name!r}", None, name, nearest(name, names)))
        self._become(f"remove {name}", tuple(one for one in self.members if one.name != name))

    def _become(self, what: str, members: tuple[Member, ...]) -> None:
        bank = gather(members, rows_of([]), self.classes, self.task)
        state = self.state
        self._history.append(State(state.number + 1, what, members, state.combiner, state.combiner.fit(bank)))
