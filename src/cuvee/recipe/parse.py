"""From text, file or Python data to a recipe, or to one error with everything that is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from cuvee.errors import Fault, Place, RecipeError, nearest
from cuvee.recipe.arity import model_findings
from cuvee.recipe.check import (
    missing_findings,
    notes_on,
    parameter_findings,
    scaling_findings,
    zero_sum_findings,
)
from cuvee.recipe.dialect import build, not_yet
from cuvee.recipe.findings import Excused, Finding, Positions, described, in_order, shortened, to_faults
from cuvee.recipe.limits import MAX_BYTES, MAX_DEPTH, MAX_NODES, as_number, refuse_large, too_large
from cuvee.recipe.model import DocumentPath, Recipe
from cuvee.recipe.write import to_data
from cuvee.types import MethodSpec

Methods = Mapping[str, MethodSpec]
"""The methods that a recipe may name."""


def parse_file(path: str | PathLike[str], methods: Methods) -> Recipe:
    """Read a recipe file.

    Args:
        path: a YAML file; relative model paths in it start from its folder, places in messages name it as given.
        methods: the methods it may name.

    Raises:
        RecipeError: with every fault there is; `recipe-missing` if the file cannot be read.
    """
    file = fspath(path)
    try:
        raw = _start_of(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"the recipe `{file}` cannot be read: {reason}"
        raise RecipeError(Fault("recipe-missing", message, subject=file, hint="check the path")) from None
    refuse_large(len(raw), file)
    return parse_text(_decoded(raw, file), methods, file, Path(file).absolute().parent)


def _start_of(file: str) -> bytes:
    """The bytes of a file, up to one more than a recipe may have."""
    # Opened without waiting: a pipe that nobody writes to would hold us for ever. One with a writer is read as usual.
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _decoded(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        place = Place(file, before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        message = f"a recipe should be UTF-8 text, found the byte 0x{raw[error.start]:02x}"
        raise RecipeError(Fault("recipe-syntax", message, place, hint="save it as UTF-8")) from None


def parse_text(text: str, methods: Methods, file: str = "<recipe>", root: Path | str | None = None) -> Recipe:
    """Read a recipe from YAML text.

    Args:
        text: one YAML document.
        methods: the methods it may name.
        file: name of the text in messages.
        root: folder that relative model paths start from; `None` is the working folder.

    Raises:
        RecipeError: with every fault there is, in the order of the text.
    """
    from cuvee.recipe.text import read_yaml  # ruamel.yaml: only who reads YAML loads it

    document = read_yaml(text, file)
    return _finished(document.data, list(document.findings), document.positions, methods, root)


def from_data(data: Mapping[str, Any], methods: Methods, root: Path | str | None = None) -> Recipe:
    """A recipe from Python data with mergekit's keys; tuples and NumPy numbers are welcome.

    Args:
        data: what YAML would give.
        methods: the methods it may name.
        root: folder that relative model paths start from; `None` is the working folder.

    Raises:
        RecipeError: with every fault there is; messages start with the path in the data.
    """
    reader = _DataReader()
    return _finished(reader.plain(data, ()), reader.findings, None, methods, root)


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
    return () if spec is None else notes_on(recipe, spec)


def _finished(
    data: Any, findings: list[Finding], positions: Positions | None, methods: Methods, root: Path | str | None
) -> Recipe:
    """The recipe that plain data say, unless anything at all is wrong."""
    folder = None if root is None else Path(root)
    if not isinstance(data, Mapping):
        message = f"a recipe should be a mapping of keys to values, found {described(data)}"
        findings.append(Finding("wrong-type", message, (), "start it with `merge_method: …`"))
        raise RecipeError(to_faults(findings, positions))
    if halves := list(_halves(data, ())):
        raise RecipeError(to_faults([*findings, *halves], positions))
    recipe, found = _examined(data, positions, methods, folder)
    if findings or found:
        about = {finding.path[0] for finding in (*findings, *found) if finding.path}
        later = () if about & {"tokenizer", "tokenizer_source"} else not_yet(recipe)
        told = [*to_faults([*findings, *found], positions), *later]
        raise RecipeError(in_order(told))
    return recipe


def _halves(value: Any, path: DocumentPath) -> Iterator[Finding]:
    """Texts that no file can hold: Python and the escapes of YAML can write half of a surrogate pair."""
    if isinstance(value, str):
        if value.encode("utf-8", "replace").decode("utf-8") != value:
            yield Finding("wrong-value", f"a text should be one that UTF-8 can hold, found {described(value)}", path)
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _halves(key, path)
            yield from _halves(entry, (*path, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _halves(entry, (*path, index))


def _examined(
    data: Mapping[str, Any], positions: Positions | None, methods: Methods, root: Path | None
) -> tuple[Recipe, list[Finding]]:
    """The recipe as far as it can be read, and everything wrong with it."""
    from cuvee.recipe.structure import structure_findings, told, without  # pydantic: only who checks loads it

    method = data.get("merge_method")
    spec = methods.get(method) if isinstance(method, str) else None
    parameters = [param.name for param in spec.params] if spec else ()
    found = structure_findings(data, root, parameters)
    recipe = build(without(data, found), root, positions)
    if isinstance(method, str) and method and spec is None:
        found.append(_unknown_method(method, methods))
    return recipe, told(found) + _meaning(recipe, spec, found)


def _unknown_method(method: str, methods: Methods) -> Finding:
    message = f"`merge_method` should be one that exists, found `{shortened(method)}`"
    return Finding("unknown-method", message, ("merge_method",), nearest(method, methods), method)


def _meaning(recipe: Recipe, spec: MethodSpec | None, structure: Iterable[Finding]) -> list[Finding]:
    """What is wrong with a recipe of the right structure; consequences of what was found before are left out."""
    if spec is None:
        return model_findings(recipe, None, Excused.of(structure))
    found = parameter_findings(recipe, spec)
    excused = Excused.of([*structure, *found])
    found += missing_findings(recipe, spec, excused)
    found += scaling_findings(recipe, spec)
    return [*found, *model_findings(recipe, spec, excused), *zero_sum_findings(recipe, spec)]


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
