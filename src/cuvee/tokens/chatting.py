"""Which template of conversations a merged model has, and the files that hold it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from cuvee.errors import Fault, RecipeError, nearest
from cuvee.layers.patch import patch_json, remove_json
from cuvee.tokens.templates import TEMPLATES
from cuvee.tokens.vocabulary import Vocabulary

_CONFIG, _JINJA, _JSON = "tokenizer_config.json", "chat_template.jinja", "chat_template.json"


def choose_template(setting: str, vocabularies: Sequence[Vocabulary]) -> str | None:
    """The template that `chat_template:` of a recipe asks for.

    Args:
        setting: `auto`: the most common among the models, of equally common ones the first; a name of `TEMPLATES`; or
            Jinja text, known by its braces.
        vocabularies: the models' tokenizers, in the recipe's order.

    Returns:
        Jinja text; `None` if it is `auto` and no model has a template.

    Raises:
        RecipeError: `wrong-value`: neither a name nor Jinja.
    """
    if setting == "auto":
        counted = Counter(one.chat_template for one in vocabularies if one.chat_template is not None)
        return counted.most_common(1)[0][0] if counted else None  # equal counts stay in the order they were met in
    if setting in TEMPLATES:
        return TEMPLATES[setting]
    if "{{" in setting or "{%" in setting:
        return setting
    names = ["auto", *TEMPLATES]
    message = (
        f"`chat_template` must be one of {', '.join(names)}, or Jinja text with {{{{ … }}}}; found {setting[:60]!r}"
    )
    raise RecipeError(Fault("wrong-value", message, subject="chat_template", hint=nearest(setting, names)))


def with_template(files: Mapping[str, str], template: str) -> dict[str, str]:
    """A tokenizer's files with another template; whatever else they say stays byte for byte.

    It is put where the tokenizer keeps its template; into `chat_template.jinja` if it has none. One that stands in
    several places is left in one, so that no reader finds the old one.

    Args:
        files: name → text.
        template: Jinja text.
    """
    changed = dict(files)
    config = files.get(_CONFIG)
    in_config = config is not None and "chat_template" in json.loads(config)
    if in_config and config is not None and _JINJA not in files:
        changed[_CONFIG] = patch_json(config, {("chat_template",): template})
    else:
        changed[_JINJA] = template
        if in_config and config is not None:
            changed[_CONFIG] = remove_json(config, [("chat_template",)])
    if _JSON in files:
        changed[_JSON] = patch_json(files[_JSON], {("chat_template",): template})
    return changed
