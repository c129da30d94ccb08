"""Ensembles from the outside: fitted of a configuration, asked about data files, looked at."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cuvee.api.arguments import as_path, callback_faults, refuse, switch_faults
from cuvee.api.ensemble_facts import EnsembleFacts, Predictions, facts_of, scores_on
from cuvee.errors import Fault, OutputExists

if TYPE_CHECKING:
    from cuvee.predict import Ensemble
    from cuvee.predict.config import EnsembleConfig
    from cuvee.predict.config.table import Table
    from cuvee.predict.contributions import Contributions
    from cuvee.predict.leaderboard import Leaderboard

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
    target = as_path(out, "out", "an ensemble must be a folder's name")
    if os.path.lexists(target) and not overwrite:
        hint = "give another name, or replace it with --overwrite"
        raise OutputExists(Fault("output-exists", f"{target} is there already", subject=str(target), hint=hint))
    asked = ensemble_config(source)
    from cuvee.predict.config.building import built, roles_of
    from cuvee.predict.config.table import table_of

    rows = table_of(table, roles_of(asked), classes=asked.classes, task=asked.task)
    made = built(asked, rows, source.absolute().parent, progress)
    saved = made.ensemble.save(target, overwrite=overwrite)
    scores = {} if made.test is None else scores_on(made.ensemble, made.test)
    return facts_of(made.ensemble, target, scores, (*made.notes, *saved.notes))


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


def table_for(ensemble: Ensemble, data: AnyPath, *, label: str | None = None, id: str | None = None) -> Table:
    """A data file for an ensemble.

    Raises:
        InputError: faults of the file.
    """
    from cuvee.predict.config.table import Roles, table_of

    path = as_path(data, "data", "data must be in a file")
    classes = ensemble.classes or None
    return table_of(path, Roles(label=label, id=id), classes=classes, task=ensemble.task)


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
    table = table_for(ensemble, data, id=id)
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
    label: str = "label",
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
        label: column of the right answers.
        id: column that names rows.
        metrics: the first orders the table.
        combiners: those that are tried; the usual ones without.
        trust: as for `opened_ensemble`.
        progress: told how many steps are done, how many there are, and what is being judged.

    Raises:
        UsageError, InputError: as the arguments, the ensemble and the data do.
    """
    ensemble = opened_ensemble(folder, trust=trust)
    if data is None:
        bank = ensemble.state.bank
        if bank is None:
            message = "the ensemble keeps no rows that it was fitted on: give some with right answers"
            refuse([Fault("bad-argument", message, subject="data", hint="--data FILE --label COLUMN")])
    else:
        table = table_for(ensemble, data, label=label, id=id)
        bank = ensemble.predictions(table.rows, table.y)
    assert bank is not None
    return ensemble.leaderboard(bank, combiners=combiners, metrics=metrics, progress=progress)


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
    table = table_for(ensemble, data, id=id)
    rows = table.rows if limit is None else table.rows.take(range(min(limit, len(table))))
    return ensemble.explain(rows)
