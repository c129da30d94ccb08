"""`cuvee ensemble`: predictions combined, from the command line. One file per word that follows."""

from __future__ import annotations

from cuvee.cli.options import COMMON, Common
from cuvee.errors import Fault, UsageError, nearest


def ensemble(*word: str, common: Common = COMMON) -> int:
    """Combine predictions of models of any kind: fit, ask, look at and change ensembles.

    An ensemble is a folder that `fit` makes of a YAML file and a table of rows;
    no model in it is trained again when others join or leave.

    For example:

        cuvee ensemble fit ensemble.yml --data train.csv -o ens
        cuvee ensemble predict ens --data new.csv -o predictions.csv
        cuvee ensemble leaderboard ens --data test.csv
        cuvee ensemble explain ens --data new.csv
        cuvee ensemble add ens member.yml --data train.csv
        cuvee ensemble remove ens forest
        cuvee ensemble update ens --data later.csv

    Args:
        word: What to do, and with what; without it this text is printed.
        common: How to print.

    Raises:
        UsageError: there is no such word.
    """
    from cuvee.cli.app import VERBS, run

    if word:
        known = next(verb.words for verb in VERBS if verb.name == "ensemble")
        message = f"`cuvee ensemble` has no command {word[0][:60]!r}"
        raise UsageError(Fault("bad-argument", message, subject=word[0], hint=nearest(word[0], known)))
    del common
    return run(["ensemble", "--help"])
