"""`cuvee schema`: the JSON Schema of recipes."""

from __future__ import annotations

import json

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common


def schema(*, common: Common = COMMON) -> int:
    """Print the JSON Schema of recipes, for editors.

    An editor that knows it completes keys, methods and parameters of a recipe,
    and underlines what is wrong. With --json it stands under the key
    `json_schema` of the object that every command prints.

    For example:

        cuvee schema > recipe.schema.json

    and then, as the first line of a recipe:

        # yaml-language-server: $schema=recipe.schema.json
    """
    from cuvee import methods
    from cuvee.recipe import json_schema

    found = json_schema(methods.specs())
    return deliver(Answer("schema", {"json_schema": found}, json.dumps(found, indent=2).splitlines()), common)
