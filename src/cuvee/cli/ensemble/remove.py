"""`cuvee ensemble remove`: a member goes."""

from __future__ import annotations

from pathlib import Path

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.ensemble.shared import Trust
from cuvee.cli.options import COMMON, Common


def remove(folder: Path, name: str, /, *, trust: Trust = None, common: Common = COMMON) -> int:
    """Let a member of a saved ensemble go; the combiner alone is fitted again.

    For example:

        cuvee ensemble remove ens forest

    Args:
        folder: The ensemble.
        name: Who goes.
        trust: Types, functions or members that may run besides those that are known.
        common: How to print.
    """
    from cuvee import api
    from cuvee.cli.ensemble.telling import facts_data, facts_text

    found = api.remove_from_ensemble(folder, name, trust=trust or ())
    return deliver(Answer("ensemble remove", facts_data(found), facts_text(found), notes=found.notes), common)
