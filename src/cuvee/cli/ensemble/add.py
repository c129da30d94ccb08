"""`cuvee ensemble add`: a member joins."""

from __future__ import annotations

from pathlib import Path

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.ensemble.shared import Data, Id, Label, Trust
from cuvee.cli.options import COMMON, Common, Seed


def add(
    folder: Path,
    member: Path,
    /,
    *,
    data: Data,
    label: Label = None,
    id: Id = None,
    seed: Seed = 0,
    trust: Trust = None,
    common: Common = COMMON,
) -> int:
    """Let a member join a saved ensemble; the combiner alone is fitted again.

    The data are the rows that the combiner was fitted on, or new ones.

    For example:

        cuvee ensemble add ens svm.yml --data train.csv

    Args:
        folder: The ensemble.
        member: A YAML file with what would stand under `members`.
        data: A table with right answers: .jsonl, .csv, .tsv or .parquet.
        label: Column of the right answers; without it the one that `fit` had.
        id: Column that names rows; likewise.
        seed: Seed of a member that is trained.
        trust: Types, functions or members that may run besides those that are known.
        common: How to print.
    """
    from cuvee import api
    from cuvee.cli.ensemble.telling import facts_data, facts_text

    found = api.add_to_ensemble(folder, member, data, label=label, id=id, seed=seed, trust=trust or ())
    return deliver(Answer("ensemble add", facts_data(found), facts_text(found), notes=found.notes), common)
