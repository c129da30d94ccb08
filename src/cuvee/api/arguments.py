"""What the calls take — recipes, paths, models, settings — checked before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cuvee import methods
from cuvee.errors import Fault, RecipeError, UsageError
from cuvee.errors import refuse as refuse  # given on: every call of the front door needs it
from cuvee.recipe import Recipe, faults, from_data, not_yet, parse_file
from cuvee.recipe.findings import described
from cuvee.recipe.reference import read_reference
from cuvee.types import ModelRef, scheme_of, url_fault

AnyRecipe = Recipe | Mapping[str, Any] | str | os.PathLike[str]
"""A recipe, a mapping with the recipe's keys, or the path of a recipe file."""


def found(value: object) -> str:
    """What was given, in words short enough for a message."""
    return "None" if value is None else described(value)


def unfit(name: str, wanted: str, value: object, hint: str | None = None) -> Fault:
    """The fault of an argument of the wrong type."""
    return Fault("bad-argument", f"`{name}` must be {wanted}; found {found(value)}", subject=name, hint=hint)


def switch_faults(**switches: object) -> list[Fault]:
    """What is wrong with settings that are on or off: a text such as `"no"` would count as on."""
    return [unfit(name, "True or False", on) for name, on in switches.items() if not isinstance(on, bool)]


def callback_faults(progress: object) -> list[Fault]:
    """What is wrong with what should be called as the work goes on."""
    return [] if progress is None or callable(progress) else [unfit("progress", "a function", progress)]


def as_path(given: object, subject: str, rule: str) -> Path:
    """A path of this machine, `~` expanded; an empty one would be the working folder.

    Args:
        given: what the caller gave.
        subject: name of the argument.
        rule: what it must be, a whole sentence.

    Raises:
        UsageError: it is no path, is empty, or holds a zero byte.
    """
    text = _path_text(given)
    if text and "\0" not in text:
        return Path(os.path.expanduser(text))  # noqa: PTH111 - the Path method raises on `~nobody`
    what = f"found {found(given)}" if text is None else f"{text!r} {'holds a zero byte' if text else 'is empty'}"
    raise UsageError(Fault("bad-argument", f"{rule}; {what}", subject=subject, hint=_hint(text)))


def as_model(given: object) -> ModelRef:
    """A model named on its own: a path or URL as it is, a hub id with `@revision`, or `base+adapter`.

    Raises:
        UsageError: it is no text, or the path or the revision is empty.
    """
    text = _path_text(given)
    if text and (scheme := scheme_of(text)) is not None:
        if wrong := url_fault(text):
            hint = "docs/remote.md says what a URL of a model may be"
            raise UsageError(Fault("bad-argument", f"a model's URL should {wrong}", subject="model", hint=hint))
        if scheme != "hf":
            return ModelRef(text)
    if text and (not set("@+") & set(text) or os.path.exists(os.path.expanduser(text))):  # noqa: PTH110, PTH111 - see `as_path`
        return ModelRef(text)
    if text and "+" in text and "\0" not in text:
        return _with_adapter(text)
    path, _, revision = (text or "").rpartition("@")
    if not (path and revision):
        what = found(given) if text is None else repr(text)
        message = f"a model should be `path` or `path@revision`, found {what}"
        raise UsageError(Fault("bad-argument", message, subject="model", hint=_hint(text)))
    return ModelRef(path, revision)


def far_faults(out: object) -> list[Fault]:
    """What is wrong with a URL where only this machine is written to; as a path it would lose a slash."""
    if not isinstance(out, str) or (scheme := scheme_of(out)) is None:
        return []
    message = f"`out` must be a path of this machine; found a URL ({scheme}://)"  # the rest may hold a secret
    return [Fault("bad-argument", message, subject="out", hint="a model folder is sent from there with `cuvee push`")]


def as_output(given: object, rule: str) -> Path:
    """The path of this machine to write to, as `as_path` reads it.

    Raises:
        UsageError: it is a URL, or no path.
    """
    refuse(far_faults(given))
    return as_path(given, "out", rule)


def _with_adapter(text: str) -> ModelRef:
    """A base and an adapter, as a recipe names them."""
    try:
        return read_reference(text)
    except ValueError as error:
        message = f"a model should be {error}"
        hint = "a folder whose own name has a `+` is taken whole where it is there"
        raise UsageError(Fault("bad-argument", message, subject="model", hint=hint)) from None


def _path_text(given: object) -> str | None:
    """The text of a path, `None` for what is none; `str` would make a path of anything."""
    text = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    return text if isinstance(text, str) else None


def _hint(text: str | None) -> str:
    """What to give instead of what is no path."""
    if text is None:
        return "give a text or a `Path`"
    return "leave the zero byte out" if "\0" in text else "the working folder is called `.`"


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe file; model paths in it are relative to its folder.

    Args:
        path: the file, in YAML.

    Raises:
        UsageError: `path` is no path.
        RecipeError: all faults of the file, with line and column.
    """
    text = _path_text(path)
    if text is None:
        raise UsageError(unfit("path", "the path of a recipe file", path))
    return parse_file(Path(text), methods.specs())


def recipe_from(data: Mapping[str, Any], *, root: str | os.PathLike[str] | None = None) -> Recipe:
    """Make a recipe from a mapping with the recipe's keys.

    Args:
        data: what would stand in the recipe's file.
        root: folder that model paths start from; the working folder by default.

    Raises:
        UsageError: `data` is no mapping, or `root` no path.
        RecipeError: all faults, each naming the key it is about.
    """
    if not isinstance(data, Mapping):
        hint = "a recipe file is read by `load_recipe`"
        raise UsageError(unfit("data", "a mapping with the recipe's keys", data, hint))
    folder = None if root is None else as_path(root, "root", "model paths must start from a folder")
    return from_data(data, methods.specs(), root=folder)


def as_recipe(given: object) -> Recipe:
    """The recipe that a caller means, unless it asks for something that this version does not do.

    Raises:
        UsageError: it is none of the forms that a recipe has.
        RecipeError: its faults.
    """
    recipe = _read(given)
    if later := not_yet(recipe):
        raise RecipeError(later)
    return recipe


def _read(given: object) -> Recipe:
    if isinstance(given, Mapping):
        return recipe_from(given)
    if isinstance(given, str | os.PathLike):
        return load_recipe(given)
    if not isinstance(given, Recipe):
        raise UsageError(unfit("recipe", "a recipe, a mapping with its keys, or the path of its file", given))
    if wrong := faults(given, methods.specs()):  # it may have been made or changed by hand
        raise RecipeError(wrong)
    return given
