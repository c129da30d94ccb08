"""Faults of a recipe's structure, in our words: what pydantic finds, and the rules between keys."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import ValidationError

from cuvee.errors import nearest
from cuvee.recipe.findings import Finding, described, dotted, named, shortened
from cuvee.recipe.item import Item
from cuvee.recipe.model import DocumentPath
from cuvee.recipe.nesting import entries_of
from cuvee.recipe.schema import RecipeItem
from cuvee.recipe.tags import TAGS

Error = Mapping[str, Any]

EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "text",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
"""What should have been there, by pydantic's error type."""

WHOLE: Final = frozenset({"model", "base_model", "layer_range", "layers", "tokenizer", "tokenizer_source"})
"""Keys whose value is taken or left as a whole."""


def structure_findings(data: Mapping[str, Any], root: Path | None, parameters: Collection[str]) -> list[Finding]:
    """Everything wrong with the structure of a recipe, consequences included (see `told`).

    Args:
        data: the recipe as plain data.
        root: folder that relative model paths start from.
        parameters: names of the method's parameters, for the hint of a key that is one of them.
    """
    found = list(_exclusive_findings(data))
    try:
        RecipeItem.model_validate(data, context={"root": root})
    except ValidationError as error:
        found += [_finding(each, parameters) for each in error.errors(include_url=False)]
    return found


def told(found: Collection[Finding]) -> list[Finding]:
    """The findings without keys that are missing only because they are misspelt."""
    meant = {path for finding in found if finding.code == "unknown-key" for path in finding.excuses}
    return [finding for finding in found if finding.code != "missing-key" or not meant & set(finding.excuses)]


def _exclusive_findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Rules between keys that stand side by side."""
    yield from _one_body(data, (), ("models", "slices", "modules"))
    yield from _one_range_each(data, ())
    modules = data.get("modules")
    for name, module in modules.items() if isinstance(modules, Mapping) else ():
        if isinstance(module, Mapping):
            yield from _one_body(module, ("modules", name), ("models", "slices"))
            yield from _one_range_each(module, ("modules", name))
    if data.get("tokenizer") is not None and data.get("tokenizer_source") is not None:
        message = "`tokenizer` and `tokenizer_source` exclude each other, found both"
        hint = "`tokenizer_source: x` means `tokenizer: {source: x}`"
        yield Finding("wrong-value", message, ("tokenizer_source",), hint, "tokenizer_source", on_key=True)


def _one_body(data: Mapping[str, Any], path: DocumentPath, keys: tuple[str, ...]) -> Iterator[Finding]:
    """Exactly one of the keys that say what is merged should be there."""
    there = [key for key in keys if data.get(key) is not None]
    listed = " or ".join((", ".join(f"`{key}`" for key in keys[:-1]), f"`{keys[-1]}`"))
    if not there:
        message = f"{named(path)} should have {listed}, found none of them"
        yield Finding("missing-key", message, path, subject="models", excuses=tuple((*path, key) for key in keys))
    for key in there[1:]:
        message = f"{named(path)} should have only one of {listed}, found `{there[0]}` and `{key}`"
        yield Finding("wrong-value", message, (*path, key), subject=key, on_key=True)


def _one_range_each(body: Mapping[str, Any], at: DocumentPath) -> Iterator[Finding]:
    """Every source of a slice should say its layers, in one way."""
    for path, piece in entries_of(body, "slices", at):
        for place, source in entries_of(piece, "sources", path):
            yield from _one_range(source, place)


def _one_range(source: Mapping[str, Any], place: DocumentPath) -> Iterator[Finding]:
    keys = "layer_range", "layers"
    there = [key for key in keys if source.get(key) is not None]
    if not there:
        message = f"{named(place)} should have the key `layer_range` or `layers`, found neither"
        lacking = tuple((*place, key) for key in keys)
        yield Finding("missing-key", message, place, subject="layer_range", excuses=lacking)
    if len(there) > 1:
        message = f"{named(place)} should have only one of `layer_range` and `layers`, found both"
        hint = '`layer_range: [0, 8]` is `layers: "0-7"`'
        yield Finding("bad-layer-range", message, (*place, "layers"), hint, "layers", on_key=True)


def _finding(error: Error, parameters: Collection[str]) -> Finding:
    """One of pydantic's errors in our words."""
    path: DocumentPath = tuple(step for step in error["loc"] if step not in TAGS)
    kind = error["type"]
    if kind == "missing":
        message = f"{named(path[:-1])} should have the key `{path[-1]}`, found none"
        return Finding("missing-key", message, path[:-1], subject=str(path[-1]), excuses=(path, _whole(path)))
    if kind == "extra_forbidden":
        return _unknown_key(path, parameters)
    code, message, hint = say(kind, error)
    return Finding(code, f"{named(path)} {message}", path, hint, dotted(path), excuses=(_whole(path),))


def _unknown_key(path: DocumentPath, parameters: Collection[str]) -> Finding:
    key, known = str(path[-1]), known_keys(path[:-1])
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if key == "residual_weight" and "sources" in known:
        hint = "mergekit ignores it: take it out"
    elif key in parameters and "parameters" in known:
        hint = f"write it under `parameters:`, as `parameters: {{{key}: …}}`"
    else:
        hint = f"another kind of {named(path[:-1])} has it" if key in known else nearest(key, known)
    message = f"{named(path[:-1])} has no key `{shortened(key)}`"
    meant = [(*path[:-1], name) for name in close]
    if key in parameters:
        meant.append((*path[:-1], "parameters", key))
    return Finding("unknown-key", message, path, hint, key, on_key=True, excuses=tuple(meant))


def item_finding(
    error: Error, path: DocumentPath, *, owner: str, name: str, known: Callable[[], list[str]], kind: str = ""
) -> Finding:
    """One of pydantic's errors about a file that is read as recipes are, in our words.

    Args:
        error: the error.
        path: where it is in the document.
        owner: the mapping that it is in, for the start of a sentence.
        name: the value that it is about, likewise.
        known: gives the keys that the mapping may have.
        kind: what is said of the owner where it does not know a key.
    """
    if error["type"] == "missing":
        message = f"{owner} should have the key `{path[-1]}`, found none"
        return Finding("missing-key", message, path[:-1], subject=str(path[-1]), excuses=(path,))
    if error["type"] == "extra_forbidden":
        keys = known()
        close = nearest(str(path[-1]), keys)
        meant = tuple((*path[:-1], key) for key in keys if f"`{key}`" in close)
        message = f"{owner}{kind} has no key `{path[-1]}`"
        return Finding("unknown-key", message, path, close, str(path[-1]), on_key=True, excuses=meant)
    code, message, hint = say(error["type"], error)
    return Finding(code, f"{name} {message}", path, hint, dotted(path), excuses=(path,))


def say(kind: str, error: Error) -> tuple[str, str, str | None]:
    """Reason code, message and hint of a value that is wrong."""
    value, context = error["input"], error.get("ctx", {})
    if kind in EXPECTED:
        return "wrong-type", f"should be {EXPECTED[kind]}, found {described(value)}", _quote_hint(kind, value)
    if kind == "literal_error":
        return _wrong_word(value, re.findall(r"'([^']*)'", context["expected"]))
    if kind in ("too_short", "string_too_short"):
        least = context.get("min_length", 1)
        return "wrong-value", "should not be empty" if least == 1 else f"should have at least {least} entries", None
    if kind == "less_than_equal":
        return "wrong-value", f"should be at most {context['le']}, found {described(value)}", None
    if kind in ("greater_than", "greater_than_equal"):
        return "wrong-value", f"should be at least {context.get('ge', 1)}, found {described(value)}", None
    return kind, _with_found(context.get("message") or error["msg"], value), context.get("hint")


def _with_found(message: str, value: Any) -> str:
    return message if "found" in message else f"{message}, found {described(value)}"


def _quote_hint(kind: str, value: Any) -> str | None:
    """A bare `on` or `12` is no text in YAML."""
    return "put it in quotes" if kind == "string_type" and isinstance(value, bool | int | float) else None


def _wrong_word(value: Any, words: list[str]) -> tuple[str, str, str | None]:
    """A value that is not one of a few words."""
    code = "wrong-value" if isinstance(value, str) else "wrong-type"
    choice = " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    message = f"should be {choice}, found {described(value)}"
    if isinstance(value, str) and re.fullmatch(r"u?int\d+", value):
        return code, message, "models are merged as floats; integer tensors keep their own dtype"
    return code, message, nearest(value, words) if isinstance(value, str) else None


def known_keys(path: DocumentPath) -> list[str]:
    """The keys that the mapping at a path may have."""
    inner: list[Any] = [RecipeItem]
    for step in path:
        inner = [kind for outer in inner for kind in _inside(outer, step)]
    fields = [item for kind in inner if _is_item(kind) for item in kind.model_fields.items()]
    return sorted({field.alias or key for key, field in fields})


def _inside(kind: Any, step: str | int) -> Iterator[Any]:
    """The types that a value of a type may hold under a key or number."""
    if _is_item(kind) and step in kind.model_fields:
        yield from _members(kind.model_fields[step].annotation)
    elif get_origin(kind) is dict and isinstance(step, str):
        yield from _members(get_args(kind)[1])
    elif get_origin(kind) is list and isinstance(step, int):
        yield from _members(get_args(kind)[0])


def _is_item(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Item)


def _members(kind: Any) -> Iterator[Any]:
    """The types that a union or annotated type stands for."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (list, dict) or not inner:
        yield kind
    else:
        for member in inner[:1] if origin is Annotated else inner:
            yield from _members(member)


def without(data: Mapping[str, Any], found: Collection[Finding]) -> dict[str, Any]:
    """The data without what has a wrong value or lacks a key, so that `dialect.build` can read the rest."""
    wrong = [f.excuses[0] if f.code == "missing-key" else f.path for f in found if not f.on_key]
    cuts = {_whole(path) for path in wrong}

    def kept(value: Any, path: DocumentPath) -> Any:
        if path in cuts:
            return {}
        if isinstance(value, Mapping):
            return _kept_keys(value, path, cuts, kept)
        return [kept(entry, (*path, i)) for i, entry in enumerate(value)] if isinstance(value, list) else value

    pruned: dict[str, Any] = kept(data, ())
    return pruned


def _kept_keys(
    value: Mapping[str, Any],
    path: DocumentPath,
    cuts: Collection[DocumentPath],
    kept: Callable[[Any, DocumentPath], Any],
) -> dict[str, Any]:
    return {key: kept(entry, (*path, key)) for key, entry in value.items() if (*path, key) not in cuts}


def _whole(path: DocumentPath) -> DocumentPath:
    """The path of the smallest thing around a path that can be left out: a setting, a reference, an entry."""
    start = 2 if path[:1] == ("modules",) else 0  # a module may have any name, `model` too
    for index, step in enumerate(path[start:], start):
        if step == "parameters":
            return path[: index + 2]
        if step in WHOLE:
            return path[: index + 1]
    return path
