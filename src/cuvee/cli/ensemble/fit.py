"""`cuvee ensemble fit`: an ensemble made of a configuration and a table."""

from __future__ import annotations

from pathlib import Path

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.ensemble.shared import Data
from cuvee.cli.options import COMMON, Common, Out, Switch
from cuvee.cli.progress import metered


def fit(config: Path, /, *, data: Data, out: Out, overwrite: Switch = False, common: Common = COMMON) -> int:
    """Fit an ensemble of a YAML file and a table of rows, and save it as a folder.

    Members that the file declares are trained, and cross-fitted so that nothing is
    combined by what they say of rows they know; models that lie in files are asked
    as they are. `cuvee ensemble validate` checks the file alone.

    For example:

        cuvee ensemble fit ensemble.yml --data train.parquet -o ens

    Args:
        config: The YAML file (docs/ensembles.md).
        data: A table with right answers: .jsonl, .csv, .tsv or .parquet.
        out: The folder to make.
        overwrite: Replace a saved ensemble that is there.
        common: How to print.
    """
    from cuvee import api
    from cuvee.cli.ensemble.telling import facts_data, facts_text

    with metered("fitting", "step") as meter:
        found = api.fit_ensemble(config, data, out, overwrite=overwrite, progress=meter)
    return deliver(Answer("ensemble fit", facts_data(found), facts_text(found), notes=found.notes), common)
