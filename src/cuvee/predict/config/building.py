"""An ensemble built of a configuration and a table: members made, asked about rows they have not seen, combined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from cuvee.errors import Fault, InputError, listed
from cuvee.predict.bank import Bank
from cuvee.predict.combiners import COMBINERS, Combiner, Dynamic, Stack
from cuvee.predict.config.making import check_columns, is_declared, known_classes, members_of
from cuvee.predict.config.schema import EnsembleConfig
from cuvee.predict.config.table import Roles, Table
from cuvee.predict.costs import measure
from cuvee.predict.cross_fitting import cross_fit
from cuvee.predict.ensemble import Ensemble
from cuvee.predict.gathering import gather
from cuvee.predict.member import Member
from cuvee.predict.row_numbers import ColumnNumbers
from cuvee.predict.subject import ROLES, view_of
from cuvee.predict.trained import Label

_TIMED: Final = 256
"""Rows that costs are measured on."""
_FOLDS: Final = 5

Told = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Built:
    """An ensemble that was built.

    Attributes:
        ensemble: it.
        bank: what its combiner was fitted on.
        test: rows that nothing was fitted on; `None` where the data name none.
        notes: what should be known.
    """

    ensemble: Ensemble
    bank: Bank
    test: Table | None
    notes: tuple[str, ...]


def roles_of(config: EnsembleConfig) -> Roles:
    """What the columns of the data are."""
    return Roles(config.label, config.id, config.split, config.group, config.time)


def combiner_of(config: EnsembleConfig) -> Combiner:
    """The combiner with its settings; `fewest` of the file is that of a combiner, too, which has such a setting."""
    kind = COMBINERS.get(config.combiner.name)
    settings = {key: tuple(v) if isinstance(v, list) else v for key, v in config.combiner.settings.items()}
    if "fewest" in config.model_fields_set and any(one.name == "fewest" for one in fields(kind)):
        settings = {"fewest": max(2, config.fewest), **settings}
    return kind(**settings)


def built(config: EnsembleConfig, table: Table, folder: Path, progress: Told | None = None) -> Built:
    """Make the members, ask them, and fit the combiner.

    Args:
        config: what is asked for.
        table: the data, read with `roles_of(config)`.
        folder: where paths of the configuration start.
        progress: told of steps done, their number, and what is being done.

    Raises:
        CuveeError: whatever is wrong with members or data; all faults of members.
    """
    assert table.y is not None
    learning, holding, test = _parts(config, table)
    classes = () if config.task == "regression" else known_classes(table.y, config.classes)
    say = _Steps(progress, len(config.members))
    members = members_of(config.members, table, learning, config.task, folder, config.seed, say.member)
    view, told = _view(config, table)
    bank = _bank(config, members, learning, holding, classes, view, say)
    ensemble = Ensemble(task=config.task, classes=classes, features=view)
    ensemble.roles = {key: value for key in ROLES if (value := getattr(config, key)) is not None}
    for member in members:
        ensemble.add(measure(member, holding.rows.take(range(min(_TIMED, len(holding))))))
    say.step("combiner")
    budget = None if config.budget is None else {k: v for k, v in config.budget.model_dump().items() if v is not None}
    calibrate: Any = None if config.calibrate == "none" else config.calibrate
    ensemble.fit_combiner(combiner_of(config), bank, calibrate=calibrate, budget=budget)
    say.end()
    return Built(ensemble, bank, test, (*told, *bank.notes, *ensemble.state.notes))


def _parts(config: EnsembleConfig, table: Table) -> tuple[Table, Table, Table | None]:
    """The rows that members learn from, those that the combiner is fitted on, and those that nothing sees.

    Raises:
        InputError: `empty-split`: a part that is needed has no rows.
    """
    if table.parts is None:
        return table, table, None
    declared = any(is_declared(one) for one in config.members)
    needed = ("train", "validation") if declared else ("validation",)
    if lacking := [one for one in needed if one not in table.parts]:
        message = f"`{config.split}` should name rows of {listed(needed)}; found {listed(dict.fromkeys(table.parts))}"
        raise InputError([Fault("empty-split", f"{message}: none of {one}", subject=one) for one in lacking])
    test = table.part("test") if "test" in table.parts else None
    return table.part("train"), table.part("validation"), test


def folds_for(cv: Any, time: str | None) -> Any:
    """How rows are divided for cross-fitting: as was said; without it in time, where there is one, else in five."""
    return cv or ("time" if time else _FOLDS)


def _view(config: EnsembleConfig, table: Table) -> tuple[ColumnNumbers | None, tuple[str, ...]]:
    """The numbers that rows are compared by, where the combiner compares rows, and what is to be said of them.

    Raises:
        InputError: `bad-data`: columns that are not there, or hold no numbers; `wrong-config`: a stack on features of
            a table that has no numbers.
    """
    combiner = combiner_of(config)
    compares, stacks = isinstance(combiner, Dynamic), isinstance(combiner, Stack) and combiner.features
    if config.features is not None and config.features != ["none"]:
        check_columns("`features`", config.features, table, numbers=True)
        return ColumnNumbers.of(config.features, table.rows), ()
    if stacks and (config.features or not table.numbers):
        message = "the stack is to look at the rows' own numbers; there is no column of them"
        raise InputError(Fault("wrong-config", message, subject="features", hint="name columns with `features`"))
    if not (compares or stacks) or config.features:
        return None, ()
    if not table.numbers:
        return None, ("rows are compared by what members say of them: the table has no column of numbers",)
    return ColumnNumbers.of(table.numbers, table.rows), (f"rows are compared by {listed(table.numbers, 8)}",)


def _bank(
    config: EnsembleConfig,
    members: list[Member],
    learning: Table,
    holding: Table,
    classes: tuple[Label, ...],
    view: ColumnNumbers | None,
    say: _Steps,
) -> Bank:
    """What members say of rows that they were not trained on."""
    declared = [item.name for item in config.members if is_declared(item)]
    if not declared or config.split is not None:
        say.step("asking")
        numbers = view_of(holding.rows, view)
        return gather(
            members, holding.rows, classes, config.task, truth=holding.y, provenance="hold-out", features=numbers
        )
    return cross_fit(
        members,
        learning.rows,
        learning.y,
        cv=folds_for(config.cv, config.time),
        groups=learning.groups,
        classes=classes or None,
        seed=config.seed,
        fewest=config.fewest,
        features=view_of(learning.rows, view),
        held_out=[member.name for member in members if member.name not in declared],
        progress=say.training,
    ).bank


class _Steps:
    """Counts members made, then trainings of cross-fitting, for whoever follows."""

    def __init__(self, progress: Told | None, members: int) -> None:
        self._progress, self._members, self._done, self._more = progress, members, 0, 1

    def member(self, name: str) -> None:
        """A member is made."""
        self.step(name)

    def training(self, done: int, total: int) -> None:
        """Cross-fitting is so far."""
        self._more = total + 1
        self._say(self._members + done, "cross-fitting")

    def step(self, what: str) -> None:
        """Something begins."""
        self._say(self._done, what)
        self._done += 1

    def end(self) -> None:
        """All is done."""
        self._say(self._members + self._more, "")

    def _say(self, done: int, what: str) -> None:
        if self._progress is not None:
            total = self._members + self._more
            self._progress(min(done, total), total, what)
