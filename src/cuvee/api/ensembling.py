"""Ensembles from the outside: fitted of a configuration, asked about data files, looked at."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cuvee.api.arguments import as_output, as_path, callback_faults, refuse, switch_faults
from cuvee.api.ensemble_facts import EnsembleFacts, Predictions, facts_of, scores_on
from cuvee.errors import Fault, InputError, OutputExists

if TYPE_CHECKING:
    from cuvee.predict import Ensemble
    from cuvee.predict.config import EnsembleConfig
    from cuvee.predict.config.table import Table
    from cuvee.predict.contributions import Contributions
    from cuvee.predict.leaderboard import Leaderboard
    from cuvee.predict.rows import Rows

AnyPath = str | os.PathLike[str]
Told = Callable[[int, int, str], None]


def ensemble_config(config: AnyPath) -> EnsembleConfig:
    """Read the configuration of an ensemble; no member is opened.

    Args:
        config: the YAML file.

    Raises:
        UsageError: it is no path.
        RecipeError: every fault, with line and column.
    """
    from cuvee.predict.config import read_config

    return read_config(as_path(config, "config", "a configuration must be a file's name"))


def fit_ensemble(
    config: AnyPath, data: AnyPath, out: AnyPath, *, overwrite: bool = False, progress: Told | None = None
) -> EnsembleFacts:
    """Build an ensemble of a configuration and a data file, and save it as a folder (docs/ensembles.md).

    Members that are declared are trained on all rows, and cross-fitted so that the combiner is fitted on what they
    say of rows they have not seen; members that lie in files are asked as they are.

    Args:
        config: the YAML file.
        data: JSON lines, CSV, TSV or Parquet.
        out: the folder to make.
        overwrite: replace a saved ensemble that is there.
        progress: called with steps done, their number, and what it is at.

    Raises:
        UsageError: an argument is wrong, or a library is not installed.
        RecipeError: faults of the configuration.
        InputError: faults of data or members.
        OutputExists: `out` is there.
        ResourceError: it cannot be written.
    """
    refuse([*switch_faults(overwrite=overwrite), *callback_faults(progress)])
    source = as_path(config, "config", "a configuration must be a file's name")
    table = as_path(data, "data", "data must be in a file")
    target = as_output(out, "an ensemble must be a folder's name")
    if os.path.lexists(target) and not overwrite:
        hint = "give another name, or replace it with --overwrite"
        raise OutputExists(Fault("output-exists", f"{target} is there already", subject=str(target), hint=hint))
    asked = ensemble_config(source)
    from cuvee.predict.config.building import built, roles_of
    from cuvee.predict.config.table import table_of
    from cuvee.predict.saving import check_place

    check_place(target, overwrite=overwrite)
    rows = table_of(table, roles_of(asked), classes=asked.classes, task=asked.task)
    made = built(asked, rows, source.absolute().parent, progress)
    saved = made.ensemble.save(target, rows=_to_ask_again(rows), overwrite=overwrite)
    scores = {} if made.test is None else scores_on(made.ensemble, made.test)
    return facts_of(made.ensemble, target, scores, (*made.notes, *saved.notes))


def _to_ask_again(table: Table) -> Rows:
    """The first rows without their right answers: they are kept with what is said of them, and asked at loading."""
    first = table.rows.take(range(min(8, len(table))))
    return replace(first, data={name: column for name, column in first.data.items() if name != table.label})


def opened_ensemble(folder: AnyPath, *, trust: Sequence[str] = ()) -> Ensemble:
    """An ensemble that was saved, once all of it was checked.

    Args:
        folder: where it lies.
        trust: types, functions or names of members that may run besides those that are known.

    Raises:
        UsageError: an argument is wrong, or a library is not installed.
        InputError: there is none, it is damaged, or holds what nobody said to trust.
    """
    from cuvee.predict.ensemble import Ensemble

    return Ensemble.load(as_path(folder, "folder", "an ensemble must be a folder's name"), trust=list(trust))


def labelled_table(ensemble: Ensemble, data: AnyPath, *, label: str | None = None, id: str | None = None) -> Table:
    """A data file with right answers, its columns as the ensemble remembers them.

    Args:
        ensemble: it knows the columns of the table that it was made of, if it was made by `fit_ensemble`.
        data: JSON lines, CSV, TSV or Parquet.
        label: column of the right answers; the one that it was made with, or `label`, without it.
        id: column that names rows; the one that it was made with, where the file has it, without it.

    Raises:
        InputError: faults of the file.
    """
    from cuvee.predict.config.table import Roles, table_of

    known = ensemble.roles
    others = {name: known.get(name) for name in ("split", "group", "time")}
    roles = Roles(label or known.get("label", "label"), id or known.get("id"), **others)
    path = as_path(data, "data", "data must be in a file")
    optional = [name for name in (None if id else known.get("id"), *others.values()) if name is not None]
    return table_of(path, roles, classes=ensemble.classes or None, task=ensemble.task, optional=optional)


def unlabelled_table(ensemble: Ensemble, data: AnyPath, *, id: str | None = None) -> Table:
    """A data file to be asked about, in its own order; rows are named by `id` as for `labelled_table`.

    Raises:
        InputError: faults of the file.
    """
    from cuvee.predict.config.table import Roles, table_of

    known = ensemble.roles.get("id")
    path = as_path(data, "data", "data must be in a file")
    optional = [known] if id is None and known is not None else []
    return table_of(path, Roles(id=id or known), optional=optional)


def untrained(table: Table, *parts: str) -> tuple[Table, tuple[str, ...]]:
    """The rows of a table with parts that no member learned from, and what is to be said of those left out.

    Args:
        table: with right answers.
        parts: the first of these that there is is taken.

    Raises:
        InputError: `empty-split`: members learned from all of them.
    """
    if table.parts is None:
        return table, ()
    found = next((part for part in parts if part in table.parts), None)
    if found is None:
        message = f"{table.path} should have rows of {' or '.join(parts)}; members learned from all that it has"
        raise InputError(Fault("empty-split", message, subject=str(table.path)))
    taken = table.part(found)
    left = len(table) - len(taken)
    return taken, (f"the {len(taken):,} rows of {found} are looked at, {left:,} others are not",) if left else ()


def predict_ensemble(
    folder: AnyPath,
    data: AnyPath,
    out: AnyPath | None = None,
    *,
    id: str | None = None,
    trust: Sequence[str] = (),
    overwrite: bool = False,
) -> Predictions:
    """What a saved ensemble predicts of the rows of a file.

    Args:
        folder: the ensemble.
        data: JSON lines, CSV, TSV or Parquet.
        out: a file to write, `.jsonl`, `.csv` or `.tsv`.
        id: column that names rows.
        trust: as for `opened_ensemble`.
        overwrite: replace a file that is there.

    Raises:
        UsageError, InputError, OutputExists, ResourceError: as the arguments, the ensemble, the data and the file do.
    """
    from cuvee.api.ensemble_files import checked_target, write_rows

    target = checked_target(out, overwrite=overwrite)
    ensemble = opened_ensemble(folder, trust=trust)
    table = unlabelled_table(ensemble, data, id=id)
    found = ensemble.answer(table.rows)
    is_regression = ensemble.task == "regression"
    labels = found.P[:, 0].tolist() if is_regression else [ensemble.classes[k] for k in found.P.argmax(axis=1)]
    made = Predictions(
        table.rows.ids,
        tuple(labels),
        None if is_regression else found.P,
        ensemble.classes,
        target,
        tuple(getattr(found, "notes", ())),
    )
    if target is not None:
        write_rows(target, made.as_rows(), overwrite=overwrite)
    return made


def ensemble_leaderboard(
    folder: AnyPath,
    data: AnyPath | None = None,
    *,
    label: str | None = None,
    id: str | None = None,
    metrics: Sequence[str] | None = None,
    combiners: Sequence[str] | None = None,
    trust: Sequence[str] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> Leaderboard:
    """Members, combiners and the ensemble side by side.

    Args:
        folder: the ensemble.
        data: rows that no member was trained on; without it those that the combiner was fitted on, of which every
            estimate is made without the row.
        label: column of the right answers; the one that the ensemble was made with without it.
        id: column that names rows; likewise.
        metrics: the first orders the table.
        combiners: those that are tried; the usual ones without.
        trust: as for `opened_ensemble`.
        progress: told how many steps are done, how many there are, and what is being judged.

    Raises:
        UsageError, InputError: as the arguments, the ensemble and the data do.
    """
    ensemble = opened_ensemble(folder, trust=trust)
    told: tuple[str, ...] = ()
    if data is None:
        bank = ensemble.state.bank
        if bank is None:
            message = "the ensemble keeps no rows that it was fitted on: give some with right answers"
            refuse([Fault("bad-argument", message, subject="data", hint="--data FILE --label COLUMN")])
    else:
        table, told = untrained(labelled_table(ensemble, data, label=label, id=id), "test", "validation")
        bank = ensemble.predictions(table.rows, table.y)
    assert bank is not None
    found = ensemble.leaderboard(bank, combiners=combiners, metrics=metrics, progress=progress)
    return replace(found, notes=(*told, *found.notes))


def explain_ensemble(
    folder: AnyPath, data: AnyPath, *, id: str | None = None, limit: int | None = None, trust: Sequence[str] = ()
) -> Contributions:
    """Which member contributed what to the prediction of each row.

    Args:
        folder: the ensemble.
        data: JSON lines, CSV, TSV or Parquet.
        id: column that names rows.
        limit: most rows, from the start.
        trust: as for `opened_ensemble`.

    Raises:
        UsageError, InputError: as the arguments, the ensemble and the data do.
    """
    ensemble = opened_ensemble(folder, trust=trust)
    table = unlabelled_table(ensemble, data, id=id)
    rows = table.rows if limit is None else table.rows.take(range(min(limit, len(table))))
    return ensemble.explain(rows)
