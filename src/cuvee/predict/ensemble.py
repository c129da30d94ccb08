"""An ensemble: members and a combiner, live and editable; every change is a version that can be gone back to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, UsageError, nearest
from cuvee.predict.answers import ask, labels_of
from cuvee.predict.bank import Bank, Provenance
from cuvee.predict.combiners import Batch, Combiner, Soft
from cuvee.predict.gathering import gather
from cuvee.predict.member import Member
from cuvee.predict.rows import rows_of
from cuvee.predict.state import State
from cuvee.predict.trained import Label, Task


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
        return gather(self.members, rows_of(X, ids), self.classes, self.task, truth=y, provenance=provenance)

    def predict_proba(self, X: Any) -> Array:
        """The combined probabilities, `[N, K]`, in the order of `classes`."""
        state, rows = self.state, rows_of(X)
        if state.fitted is None:
            raise UsageError(Fault("bad-argument", "the ensemble has no members yet", hint="`add` one"))
        found = [ask(member, rows, self.classes, self.task) for member in state.members]
        return state.fitted.apply(Batch(np.stack([one.P for one in found]), np.stack([one.mask for one in found])))

    def predict(self, X: Any) -> Any:
        """The label, or the value, of each row, `[N]`."""
        found = self.predict_proba(X)
        return found[:, 0] if self.task == "regression" else labels_of(found, self.classes)

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
