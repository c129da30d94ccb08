"""An ensemble: members and a combiner, live and editable; every change is a version that can be gone back to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cuvee.combine import Array
from cuvee.errors import Fault, UsageError
from cuvee.predict.answers import OnError, labels_of
from cuvee.predict.asking_all import Asking, Prediction, answered, looks_at_rows, wanting
from cuvee.predict.bank import Bank, Provenance
from cuvee.predict.combiners import Combiner, Soft
from cuvee.predict.editing import check_joins, check_known, fitted_anew, joined, left, refitted
from cuvee.predict.evidence import empty_bank, evidence, fits_ensemble
from cuvee.predict.fitting import combiner_of, default_combiner
from cuvee.predict.gathering import gather
from cuvee.predict.kept import Kept
from cuvee.predict.member import Member
from cuvee.predict.questions import Questions
from cuvee.predict.rows import Rows, rows_of
from cuvee.predict.state import Calibrate, Manner, State
from cuvee.predict.subject import check_subject, view_of
from cuvee.predict.trained import Label, Task
from cuvee.predict.updating import Update, update
from cuvee.predict.versions import Versions


class Ensemble(Questions, Kept):
    """Members whose predictions are combined.

    Soft vote answers until `fit_combiner` is called, or `combiner` where that needs no rows. Every change makes a new
    version; what is being predicted meanwhile comes from one version whole. To members that are shared by several
    threads only reading calls are made.

    Args:
        task: `classification` or `regression`.
        classes: the labels, in the order that probabilities are given in; none for a regression.
        combiner: how members are combined; `fit_combiner` without one fits this one, greedy selection without it.
        on_error: what is done when a member fails: `raise`, or `mask`, which goes on without it and notes it.
        time_limit: seconds that each member may take.
        features: rows → their own numbers `[N, D]`, for combiners that look at rows; a matrix is its own.
        keep: how many of the newest versions are kept to go back to.

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
        combiner: Combiner | str | None = None,
        on_error: OnError = "raise",
        time_limit: float | None = None,
        features: Callable[[Any], Array] | None = None,
        keep: int = 50,
    ) -> None:
        check_subject(task, classes, on_error)
        self.task: Task = task
        self.classes: tuple[Label, ...] = tuple(classes)
        self.on_error: OnError = on_error
        self.time_limit = time_limit
        self.features = features
        self._default = None if combiner is None else combiner_of(combiner)
        self._versions = Versions(State(0, "made", (), self._default or Soft()), keep)

    @property
    def state(self) -> State:
        """The version that answers now."""
        return self._versions.now

    @property
    def history(self) -> tuple[State, ...]:
        """The versions that are kept, oldest first; the last one answers."""
        return self._versions.all

    @property
    def members(self) -> tuple[Member, ...]:
        """The members, in order."""
        return self.state.members

    def predictions(
        self,
        X: Any,
        y: Any = None,
        *,
        ids: Sequence[Any] | None = None,
        provenance: Provenance = "hold-out",
        embed: Sequence[str] = (),
    ) -> Bank:
        """What every member says of every row.

        Args:
            X: the rows.
            y: the right answer of each.
            ids: a name for each row; their numbers, or the index of a data frame, without them.
            provenance: how the members know the rows.
            embed: members whose embeddings are wanted besides, for stacks.
        """
        rows, state = self._see(rows_of(X, ids)), self.state
        return gather(
            state.members,
            rows,
            self.classes,
            self.task,
            truth=y,
            provenance=provenance,
            features=self._view(rows),
            on_error=self.on_error,
            time_limit=self.time_limit,
            embed=embed or wanting(state.fitted, state.members),
        )

    def answer(self, X: Any) -> Prediction:
        """What is predicted, by which version, who was asked and who failed."""
        state, rows = self.state, self._see(rows_of(X))
        view = self._view(rows) if looks_at_rows(state.fitted) else None
        return answered(state, rows, self._asking(), view)

    def predict_proba(self, X: Any) -> Array:
        """The combined probabilities, `[N, K]`, in the order of `classes`; of a regression the values, `[N, 1]`."""
        return self.answer(X).P

    def predict(self, X: Any) -> Any:
        """The label, or the value, of each row, `[N]`."""
        found = self.answer(X).P
        return found[:, 0] if self.task == "regression" else labels_of(found, self.classes)

    def add(
        self,
        member: Member | Ensemble,
        *,
        bank: Bank | None = None,
        data: tuple[Any, Any] | None = None,
        weight: float | None = None,
    ) -> None:
        """Take a member in. Where the combiner was fitted, it is fitted again; no other member is trained.

        Args:
            member: who joins; an ensemble too.
            bank: evidence: what the newcomer says of the rows that the combiner was fitted on, or what all say.
            data: evidence: (rows, right answers). Of rows that the combiner was fitted on (by their ids) only the
                newcomer is asked, of new rows every member.
            weight: its share, [0, 1), where a weighted mean is taken and there is no evidence.

        Raises:
            UsageError: `duplicate-member`; `no-evidence`: the combiner was fitted, and there is nothing to go by.
            InputError: `wrong-member`, `class-mismatch`, `rows-differ`, and what asking and fitting raise.
        """
        newcomer = member.as_member() if isinstance(member, Ensemble) else member

        def step(state: State) -> State:
            check_joins(newcomer, state.names, self.classes, self.task)
            return self._with(state, f"add {newcomer.name}", (*state.members, newcomer), newcomer, bank, data, weight)

        self._versions.change(step)

    def replace(
        self,
        name: str,
        member: Member | Ensemble,
        *,
        bank: Bank | None = None,
        data: tuple[Any, Any] | None = None,
        weight: float | None = None,
    ) -> None:
        """Put a member in the place of another; arguments and errors as for `add`, and `unknown-member`."""
        newcomer = member.as_member() if isinstance(member, Ensemble) else member

        def step(state: State) -> State:
            check_known(name, state.names)
            check_joins(newcomer, [one for one in state.names if one != name], self.classes, self.task)
            members = tuple(newcomer if one.name == name else one for one in state.members)
            return self._with(state, f"replace {name} by {newcomer.name}", members, newcomer, bank, data, weight)

        self._versions.change(step)

    def remove(self, name: str) -> None:
        """Take a member out. A combiner that was fitted is fitted again on what the bank says of the others.

        Raises:
            UsageError: `unknown-member`; `no-member`: it is the last; `no-evidence`: the bank lacks one that stays.
        """

        def step(state: State) -> State:
            check_known(name, state.names)
            members = tuple(one for one in state.members if one.name != name)
            if not members:
                message = f"an ensemble must have a member; {name!r} is the last one"
                raise UsageError(Fault("no-member", message, subject=name, hint="`add` or `replace` instead"))
            return left(state, f"remove {name}", members, name, self._empty(members))

        self._versions.change(step)

    def fit_combiner(
        self,
        combiner: Combiner | str | None = None,
        bank: Bank | None = None,
        *,
        calibrate: Calibrate = None,
        budget: Mapping[str, float] | None = None,
        allow_in_sample: bool = False,
    ) -> None:
        """Fit how members are combined; from then on it is fitted again whenever members join or leave.

        Args:
            combiner: the combiner or its name; that of the ensemble without one, and greedy selection without that.
            bank: predictions of all members with right answers (`predictions`, `cross_fit`); the one that is held
                without it.
            calibrate: `temperature`: probabilities are calibrated after pooling.
            budget: `{"us_per_row": 300}`: the members that are asked cost no more together; also `nbytes`, `memory`.
            allow_in_sample: take predictions on rows that members were trained on; a note says so for ever.

        Raises:
            UsageError: an argument is wrong, or there is no bank.
            InputError: `over-budget`, `in-sample`, `unknown-member`, `class-mismatch` and what the combiner raises.
        """
        chosen = (self._default or default_combiner()) if combiner is None else combiner_of(combiner)
        manner = Manner(calibrate, budget, allow_in_sample)

        def step(state: State) -> State:
            given = self._bank(state, bank)
            return fitted_anew(state, f"fit {chosen.name}", state.members, chosen, given, manner)

        self._versions.change(step)

    def refresh(self, bank: Bank) -> None:
        """Fit the same combiner in the same manner on another bank; arguments and errors as for `fit_combiner`."""

        def step(state: State) -> State:
            given = self._bank(state, bank)
            return refitted(state, f"refresh {state.combiner.name}", state.members, given)

        self._versions.change(step)

    def update(
        self, X: Any, y: Any, *, ids: Sequence[Any] | None = None, decay: float | None = None, window: int | None = None
    ) -> Update:
        """Fit the combiner again with new rows; no member is trained. Arguments and report: `updating.update`."""
        rows = rows_of(X, ids)
        told: list[Update] = []

        def step(state: State) -> State:
            made, report = update(state, rows, y, self._asking(), self._view(rows), decay=decay, window=window)
            told.append(report)
            return made

        version = self._versions.change(step).number
        return replace(told[-1], version=version)

    @classmethod
    def restored(
        cls, task: Task, classes: Sequence[Label], state: State, past: Sequence[dict[str, Any]], **asking: Any
    ) -> Ensemble:
        """An ensemble of one version, and the words of those before it; `asking`: other arguments as for `Ensemble`."""
        roles = asking.pop("roles", {})
        made = cls(task=task, classes=classes, combiner=state.combiner, **asking)
        made._versions, made._before, made.roles = Versions(state), tuple(past[:-1]), roles
        return made

    def rollback(self, version: int) -> None:
        """Make an earlier version the present one, under a new number: the same answers, bit for bit.

        Args:
            version: the number of a state in `history`.

        Raises:
            UsageError: there is none, or it is no longer kept.
        """
        self._versions.back_to(version)

    def _with(
        self, state: State, what: str, members: tuple[Member, ...], newcomer: Member, bank: Any, data: Any, weight: Any
    ) -> State:
        found = evidence(state, members, newcomer, self._asking(), bank=bank, data=data, view=self._view)
        return joined(state, what, members, newcomer, self._empty(members), bank=found, weight=weight)

    def _empty(self, members: Sequence[Member]) -> Bank:
        return empty_bank(members, self.classes, self.task)

    def _asking(self) -> Asking:
        return Asking(self.classes, self.task, self.on_error, self.time_limit)

    def _view(self, rows: Rows) -> Array | None:
        return view_of(rows, self.features)

    def _bank(self, state: State, bank: Bank | None) -> Bank:
        """The bank that was given, or the one that is held."""
        found = state.bank if bank is None else bank
        if found is None:
            hint = "`bank=ensemble.predictions(X, y)` on rows held out, or `cross_fit`"
            raise UsageError(Fault("no-evidence", "a combiner is fitted on a bank; there is none", hint=hint))
        fits_ensemble(found, self.classes, self.task)
        return found.only(state.names)
