"""Saved ensembles changed: members join and leave, the combiner is fitted again with new rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.api.arguments import as_path
from cuvee.api.ensemble_facts import EnsembleFacts, facts_of
from cuvee.api.ensembling import AnyPath, labelled_table, opened_ensemble, untrained

if TYPE_CHECKING:
    from cuvee.predict import Bank, Ensemble, Member
    from cuvee.predict.config.table import Table
    from cuvee.predict.updating import Update


def add_to_ensemble(
    folder: AnyPath,
    member: AnyPath,
    data: AnyPath,
    *,
    label: str | None = None,
    id: str | None = None,
    seed: int = 0,
    trust: Sequence[str] = (),
) -> EnsembleFacts:
    """Let a member join a saved ensemble; no other member is trained, the combiner is fitted again.

    Args:
        folder: the ensemble; it is replaced when all is well.
        member: a YAML file with what would stand under `members`.
        data: the rows that the combiner was fitted on, known by their ids or by what they hold; or rows that no
            member was trained on, which then take their place.
        label: column of the right answers; the one that the ensemble was made with without it.
        id: column that names rows; likewise.
        seed: of a member that is trained.
        trust: as for `opened_ensemble`.

    Raises:
        RecipeError: faults of the member's file.
        UsageError, InputError, ResourceError: as the ensemble, the data and the new member do; `duplicate-member`.
    """
    from cuvee.predict.config import read_member
    from cuvee.predict.config.making import is_declared, members_of
    from cuvee.predict.costs import measure

    source = as_path(member, "member", "a member must be a file's name")
    ensemble = opened_ensemble(folder, trust=trust)
    item = read_member(source, ensemble.task)
    table = labelled_table(ensemble, data, label=label, id=id)
    held, told = untrained(table, "validation")
    learning = table.part("train") if table.parts is not None and is_declared(item) else held
    place = source.absolute().parent
    made = measure(members_of([item], table, learning, ensemble.task, place, seed)[0], held.rows.take(_first(held)))
    if is_declared(item) and table.parts is None:
        ensemble.add(made, bank=_evidence(ensemble, made, table, seed))
    else:
        ensemble.add(made, data=(held.rows, held.y))
    return _saved(ensemble, folder, told)


def remove_from_ensemble(folder: AnyPath, name: str, *, trust: Sequence[str] = ()) -> EnsembleFacts:
    """Let a member of a saved ensemble go; the combiner is fitted again on what the others said.

    Args:
        folder: the ensemble; it is replaced when all is well.
        name: who goes.
        trust: as for `opened_ensemble`.

    Raises:
        UsageError: `unknown-member`; `no-member`: it is the last.
        InputError, ResourceError: as the ensemble does.
    """
    ensemble = opened_ensemble(folder, trust=trust)
    ensemble.remove(name)
    return _saved(ensemble, folder)


def update_ensemble(
    folder: AnyPath,
    data: AnyPath,
    *,
    label: str | None = None,
    id: str | None = None,
    decay: float | None = None,
    window: int | None = None,
    trust: Sequence[str] = (),
) -> tuple[EnsembleFacts, Update]:
    """Fit the combiner of a saved ensemble again with new rows, and tell whether they are like the old ones.

    Args:
        folder: the ensemble; it is replaced when all is well.
        data: new rows with right answers.
        label: column of the right answers; the one that the ensemble was made with without it.
        id: column that names rows; likewise.
        decay: with which probability an old row stays, (0, 1].
        window: how many of the newest rows stay.
        trust: as for `opened_ensemble`.

    Raises:
        UsageError, InputError, ResourceError: as the ensemble and the data do.
    """
    ensemble = opened_ensemble(folder, trust=trust)
    table, told = untrained(labelled_table(ensemble, data, label=label, id=id), "test", "validation")
    report = ensemble.update(table.rows, table.y, decay=decay, window=window)
    return _saved(ensemble, folder, told), report


def _first(table: Table) -> range:
    return range(min(256, len(table)))


def _evidence(ensemble: Ensemble, member: Member, table: Table, seed: int) -> Bank:
    """What a newcomer says of rows it was not trained on, beside the others where the rows are new to them."""
    from cuvee.predict.config.building import folds_for
    from cuvee.predict.cross_fitting import cross_fit

    cv = folds_for(ensemble.roles.get("cv"), ensemble.roles.get("time"))
    told: dict[str, Any] = {"groups": table.groups, "classes": ensemble.classes or None, "seed": seed}
    own = cross_fit([member], table.rows, table.y, cv=cv, fewest=0, **told).bank
    held = ensemble.state.bank
    if held is None or set(held.ids) & set(own.ids):
        return own
    others = ensemble.predictions(table.rows, table.y)
    return others.with_members(replace(own, features=None))


def _saved(ensemble: Any, folder: AnyPath, told: Sequence[str] = ()) -> EnsembleFacts:
    path = Path(as_path(folder, "folder", "an ensemble must be a folder's name"))
    saved = ensemble.save(path, overwrite=True)
    return facts_of(ensemble, path, {}, (*told, *saved.notes))
