"""`cuvee ensemble validate`: a configuration checked; nothing is opened or trained."""

from __future__ import annotations

from pathlib import Path

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common


def validate(config: Path, /, *, common: Common = COMMON) -> int:
    """Check the YAML file of an ensemble; no member is opened.

    Whatever is wrong is told at once, with line and column.

    For example:

        cuvee ensemble validate ensemble.yml

    Args:
        config: The YAML file (docs/ensembles.md).
        common: How to print.
    """
    from cuvee import api

    found = api.ensemble_config(config)
    members = [{"name": one.name, "kind": one.kind} for one in found.members]
    data = {"ok": True, "task": found.task, "members": members, "combiner": found.combiner.name}
    line = f"{config}: ok: {found.combiner.name} of {len(members)} members for {found.task}"
    return deliver(Answer("ensemble validate", data, [line]), common)
