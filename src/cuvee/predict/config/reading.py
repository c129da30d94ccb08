"""The file of an ensemble read strictly: everything that is wrong with it at once, with line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cuvee.errors import Fault, RecipeError, nearest
from cuvee.predict.config.rules import config_findings, member_findings
from cuvee.predict.config.schema import KINDS, MEMBERS, AnyMember, EnsembleConfig
from cuvee.recipe.document import Document
from cuvee.recipe.files import documents_in
from cuvee.recipe.findings import Finding, described, named, to_faults
from cuvee.recipe.item import Item
from cuvee.recipe.model import DocumentPath
from cuvee.recipe.structure import item_finding, told

_CONTAINERS: Mapping[str, str] = {"combiner": "CombinerItem", "budget": "BudgetItem"}


def read_config(path: Path) -> EnsembleConfig:
    """The configuration in a file; its members are those of `schema.MEMBERS`.

    Raises:
        RecipeError: with every fault; `recipe-missing` where the file cannot be read.
    """
    return config_of(_document(path), path.absolute().parent)


def read_member(path: Path, task: str) -> AnyMember:
    """A file that holds one member, as it would stand under `members`.

    Raises:
        RecipeError: with every fault.
    """
    document = _document(path)
    found = list(document.findings)
    item = _member(document.data, (), found)
    if item is not None:
        found += member_findings(item, (), task, path.absolute().parent)
    _refuse(document, found)
    assert item is not None
    return item


def config_of(document: Document, folder: Path) -> EnsembleConfig:
    """The configuration that a document describes.

    Args:
        document: the document.
        folder: where paths start.

    Raises:
        RecipeError: with every fault.
    """
    data, found = document.data, list(document.findings)
    if not isinstance(data, Mapping):
        found.append(Finding("wrong-type", f"a configuration should be a mapping, found {described(data)}", ()))
        _refuse(document, found)
    config = _validated(EnsembleConfig, data, (), found)
    listed = data.get("members")
    entries = listed if isinstance(listed, list) else []
    members = [_member(entry, ("members", number), found) for number, entry in enumerate(entries)]
    task = data.get("task", "classification")
    for number, one in enumerate(members):
        if one is not None:
            found += member_findings(one, ("members", number), task, folder)
    found += config_findings(data, [one for one in members if one is not None])
    _refuse(document, found)
    assert config is not None
    made: EnsembleConfig = config.model_copy(update={"members": members})
    return made


def _document(path: Path) -> Document:
    """The one document of a file."""
    try:
        documents = documents_in(str(path))
    except RecipeError as error:
        raise RecipeError(_as_config(fault) for fault in error.faults) from None
    if len(documents) > 1:
        message = f"{path}: a configuration's file should hold one document; found {len(documents)}"
        raise RecipeError(Fault("wrong-value", message, subject=str(path)))
    return documents[0]


def _as_config(fault: Fault) -> Fault:
    """A fault of the shared reader in a configuration's words."""
    message = fault.message.replace("a recipe", "a configuration").replace("the recipe", "the configuration")
    return replace(fault, message=message)


def _refuse(document: Document, found: list[Finding]) -> None:
    if found:
        raise RecipeError(_as_config(one) for one in to_faults(told(found), document.positions))


def _member(entry: Any, path: DocumentPath, found: list[Finding]) -> AnyMember | None:
    """One member, read as its kind has it; `None` where something is wrong."""
    what = named(path) if path else "a member"
    if not isinstance(entry, Mapping):
        found.append(Finding("wrong-type", f"{what} should be a mapping, found {described(entry)}", path))
        return None
    kind = entry.get("kind")
    if kind is None:
        message = f"{what} should have the key `kind`, found none"
        hint = f"one of {', '.join(KINDS)}"
        found.append(Finding("missing-key", message, path, hint, "kind", excuses=((*path, "kind"),)))
        found += _misspelt(entry, path, "kind")
        return None
    if not isinstance(kind, str) or kind not in MEMBERS:
        message = f"`kind` should be {', '.join(KINDS)}, found {described(kind)}"
        found.append(Finding("wrong-value", message, (*path, "kind"), nearest(str(kind), KINDS), "kind"))
        return None
    made: AnyMember | None = _validated(MEMBERS[kind], entry, path, found)
    return made


def _misspelt(entry: Mapping[str, Any], path: DocumentPath, key: str) -> Iterator[Finding]:
    """Keys that no kind of member has, where the kind itself is not there."""
    known = sorted({name for item in MEMBERS.values() for name in item.model_fields})
    for name in entry:
        if name not in known:
            close = nearest(str(name), known)
            meant = ((*path, key),) if f"`{key}`" in close else ()
            message = f"{named(path) if path else 'a member'} has no key `{name}`"
            yield Finding("unknown-key", message, (*path, name), close, str(name), on_key=True, excuses=meant)


def _validated(item: Any, data: Mapping[str, Any], path: DocumentPath, found: list[Finding]) -> Any:
    """A mapping as its structure; `None`, and the findings added, where something is wrong."""
    try:
        return item.model_validate(dict(data))
    except ValidationError as error:
        found += [_finding(each, item, path) for each in error.errors(include_url=False)]
        return None


def _finding(error: Mapping[str, Any], item: type[Item], start: DocumentPath) -> Finding:
    """One of pydantic's errors in our words."""
    inner = tuple(step for step in error["loc"] if not str(step).startswith(("function-", "constrained")))
    path = (*start, *inner)
    return item_finding(
        error,
        path,
        owner=named(path[:-1]) if path[:-1] else _whole(item),
        name=named(path),
        known=lambda: _known(item, inner[:-1]),
    )


def _whole(item: type[Item]) -> str:
    return "the configuration" if item is EnsembleConfig else "a member"


def _known(item: type[Item], inner: DocumentPath) -> list[str]:
    """The keys of a structure, or of the mapping inside it."""
    from cuvee.predict.config import schema

    if not inner:
        return sorted(item.model_fields)
    owner = getattr(schema, _CONTAINERS.get(str(inner[0]), ""), None)
    return sorted(owner.model_fields) if owner is not None else []
