"""What `chat_template` of a recipe may be: `auto`, the name of a form of conversations, or Jinja text."""

from __future__ import annotations

import re
from typing import Final

from cuvee.errors import nearest
from cuvee.recipe.findings import described
from cuvee.recipe.item import fault

TEMPLATES: Final = ("alpaca", "auto", "chatml", "exaone", "llama3", "mistral")
_OF_TRANSFORMERS: Final = re.compile(r"{%-?\s*(?:end)?generation\s*-?%}")
"""Marks of what a model writes itself, a tag that only transformers knows."""


def checked_template(value: str) -> str:
    """The setting, if it is one of these.

    Raises:
        PydanticCustomError: `wrong-value`: no name and no Jinja, or Jinja that transformers could not read either.
    """
    if value in TEMPLATES:
        return value
    if "{{" not in value and "{%" not in value:
        message = f"should be the name of a template or a Jinja text, found {described(value)}"
        raise fault("wrong-value", message, nearest(value, TEMPLATES))
    if wrong := _wrong(value):
        raise fault("wrong-value", f"should be Jinja text; {wrong}")
    return value


def _wrong(template: str) -> str | None:
    """What is no Jinja in a text."""
    from jinja2 import Environment, TemplateSyntaxError

    try:
        Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=True).parse(_OF_TRANSFORMERS.sub("", template))
    except TemplateSyntaxError as error:
        return f"line {error.lineno} of it is not: {error.message}"
    return None
