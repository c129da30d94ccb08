"""From text, file or Python data to a recipe, or to one error with everything that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from cuvee.errors import Fault, RecipeError
from cuvee.recipe.check import notes_on
from cuvee.recipe.document import Document
from cuvee.recipe.files import documents_in, documents_of
from cuvee.recipe.findings import Finding, described
from cuvee.recipe.limits import MAX_DEPTH, MAX_NODES, as_number, too_large
from cuvee.recipe.model import DocumentPath, Recipe
from cuvee.recipe.reading import Methods, Reading
from cuvee.recipe.write import to_data


def parse_file(path: str | PathLike[str], methods: Methods) -> Recipe:
    """Read a recipe file.

    Args:
        path: a YAML file; relative model paths in it start from its folder, places in messages name it as given.
        methods: the methods it may name.

    Raises:
        RecipeError: with every fault there is; `recipe-missing` if the file cannot be read.
    """
    file = fspath(path)
    documents = documents_in(file)
    return Reading(methods, Path(file)).finished(documents, Path(file).absolute().parent)


def parse_text(text: str, methods: Methods, file: str = "<recipe>", root: Path | str | None = None) -> Recipe:
    """Read a recipe from YAML text.

    Args:
        text: one YAML document, or several: those with a `name` may be models of the others, one is the result.
        methods: the methods it may name.
        file: name of the text in messages.
        root: folder that relative model paths start from; `None` is the working folder.

    Raises:
        RecipeError: with every fault there is, in the order of the text.
    """
    return Reading(methods).finished(documents_of(text, file), _folder(root))


def from_data(data: Mapping[str, Any], methods: Methods, root: Path | str | None = None) -> Recipe:
    """A recipe from Python data with mergekit's keys; tuples and NumPy numbers are welcome.

    Args:
        data: what YAML would give.
        methods: the methods it may name.
        root: folder that relative model paths start from; `None` is the working folder.

    Raises:
        RecipeError: with every fault there is; messages start with the path in the data.
    """
    return Reading(methods).finished([document_from(data)], _folder(root))


def document_from(data: Any) -> Document:
    """Python data as a document: tuples, NumPy numbers and paths made plain."""
    reader = _DataReader()
    plain = reader.plain(data, ())
    return Document(plain, None, tuple(reader.findings))


def _folder(root: Path | str | None) -> Path | None:
    return None if root is None else Path(root)


def faults(recipe: Recipe, methods: Methods) -> tuple[Fault, ...]:
    """Everything wrong with a recipe, however it was made; nothing for one that came from here."""
    try:
        from_data(to_data(recipe), methods, recipe.root)
    except RecipeError as error:
        return error.faults
    return ()


def notes(recipe: Recipe, methods: Methods) -> tuple[str, ...]:
    """What a recipe says without effect, one sentence each, e.g. "`int8_mask` changes nothing for ties"."""
    spec = methods.get(recipe.method)
    said = () if spec is None else notes_on(recipe, spec)
    inner = (f"{name}: {note}" for name, one in recipe.nested.items() for note in notes(one, methods))
    return tuple(dict.fromkeys((*said, *inner)))


class _DataReader:
    """Plain data from what a Python program hands over, within the limits that a file has."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._count = 0

    def plain(self, value: Any, path: DocumentPath) -> Any:
        self._count += 1
        if len(path) > MAX_DEPTH:
            too_large(f"a recipe should be nested at most {MAX_DEPTH} deep", None)
        if self._count > MAX_NODES:
            too_large(f"a recipe should have at most {MAX_NODES:,} entries", None)
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if isinstance(value, list | tuple):
            return [self.plain(entry, (*path, index)) for index, entry in enumerate(value)]
        return _plain_scalar(value)

    def _mapping(self, value: Mapping[Any, Any], path: DocumentPath) -> dict[str, Any]:
        for key in value:
            if not isinstance(key, str):
                message = f"a key should be text, found {described(key)}"
                self.findings.append(Finding("wrong-type", message, path))
        return {str(key): self.plain(entry, (*path, str(key))) for key, entry in value.items() if isinstance(key, str)}


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str.__str__(value)  # a subclass may print itself in other words
    if isinstance(value, Integral):
        return as_number(int(value))
    return float(value) if isinstance(value, Real) else value
