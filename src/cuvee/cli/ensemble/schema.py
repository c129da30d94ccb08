"""`cuvee ensemble schema`: the JSON Schema of the files of ensembles."""

from __future__ import annotations

import json

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common


def schema(*, common: Common = COMMON) -> int:
    """Print the JSON Schema of the YAML files of ensembles, for editors.

    With --json it stands under the key `json_schema` of the object that every
    command prints.

    For example:

        cuvee ensemble schema > ensemble.schema.json
    """
    from cuvee.predict.config import json_schema

    found = json_schema()
    lines = json.dumps(found, indent=2).splitlines()
    return deliver(Answer("ensemble schema", {"json_schema": found}, lines), common)
