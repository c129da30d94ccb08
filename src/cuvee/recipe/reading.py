"""A document and the recipes inside it, examined one by one: the recipe, or everything that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cuvee.errors import Fault, RecipeError, nearest
from cuvee.recipe.arity import model_findings
from cuvee.recipe.check import missing_findings, parameter_findings, scaling_findings, zero_sum_findings
from cuvee.recipe.dialect import build, not_yet
from cuvee.recipe.document import Document
from cuvee.recipe.findings import Excused, Finding, Places, described, shortened, to_faults
from cuvee.recipe.holes import hole_findings
from cuvee.recipe.inner import Around, Examined, Taken, Takes
from cuvee.recipe.model import DocumentPath, Recipe
from cuvee.recipe.nesting import replaced
from cuvee.recipe.slice_methods import led_back, refused_findings, written_out
from cuvee.recipe.stages import arranged, unused
from cuvee.types import MethodSpec

Methods = Mapping[str, MethodSpec]
"""The methods that a recipe may name."""


class Reading:
    """One reading of a recipe with all that stands inside it; files and documents are read once.

    Args:
        methods: the methods it may name.
        file: where it stands, if it is a file.
    """

    def __init__(self, methods: Methods, file: Path | None = None) -> None:
        self._methods = methods
        self._start = ((None if file is None else file.resolve(), "the recipe" if file is None else file.name),)
        self._takes = Takes(self.examined, self.result)

    def finished(self, documents: Sequence[Document], root: Path | None) -> Recipe:
        """The recipe that documents say, unless anything at all is wrong.

        Args:
            documents: those of one file.
            root: folder that relative model paths start from.

        Raises:
            RecipeError: with every fault there is.
        """
        found = self.result(documents, Around(root, within=self._start))
        if found.recipe is not None and not found.faults:
            return found.recipe
        about = {finding.path[0] for finding in found.findings if finding.path}
        later = () if found.recipe is None or about & {"tokenizer", "tokenizer_source"} else not_yet(found.recipe)
        raise RecipeError(_by_file([*found.faults, *later]))

    def result(self, documents: Sequence[Document], around: Around) -> Examined:
        """What the documents of one file come to: `faults` has everything wrong with any of them."""
        given = arranged(documents)
        around = replace(around, documents=given.named)
        final = self.examined(given.final, around)
        wrong = list(given.findings)
        faults = [*final.faults]
        for name, document in given.named.items():
            if document is not given.final and document not in self._takes:
                faults += self._takes.document(document, name, around).faults
                wrong += [] if final.findings or final.faults or wrong else [(document, unused(name))]
        told = [*to_faults(final.findings, given.final.positions)]
        told += [fault for document, finding in wrong for fault in to_faults([finding], document.positions)]
        return Examined(final.recipe, final.findings, list(dict.fromkeys([*told, *faults])))

    def examined(self, document: Document, around: Around) -> Examined:
        """A recipe as far as it can be read, everything wrong with it, and the faults of other documents in it."""
        data, findings = document.data, list(document.findings)
        if not isinstance(data, Mapping):
            message = f"a recipe should be a mapping of keys to values, found {described(data)}"
            findings.append(Finding("wrong-type", message, (), "start it with `merge_method: …`"))
            return Examined(None, findings, [])
        if "experts" in data and "merge_method" not in data:
            return Examined(None, [*findings, _mixture()], [])
        if halves := list(_halves(data, ())):
            return Examined(None, [*findings, *halves], [])
        if holes := hole_findings(data, document.positions.file if document.positions else None):
            return Examined(None, [*findings, *holes], [])
        findings += refused_findings(data)
        meant, own = written_out(document)
        taken = self._takes.out(meant, around)
        recipe, found = self._examined(taken, meant.positions, around.root)
        return Examined(recipe, [*findings, *led_back([*taken.findings, *found], own)], taken.faults)

    def _examined(self, taken: Taken, positions: Places | None, root: Path | None) -> tuple[Recipe, list[Finding]]:
        from cuvee.recipe.structure import structure_findings, told, without  # pydantic: only who checks loads it

        data = replaced(taken.data, taken.given)
        method = data.get("merge_method")
        spec = self._methods.get(method) if isinstance(method, str) else None
        parameters = [param.name for param in spec.params] if spec else ()
        found = structure_findings(data, root, parameters)
        recipe = replace(build(without(data, found), root, positions), nested=taken.nested)
        if isinstance(method, str) and method and spec is None:
            found.append(_unknown_method(method, self._methods))
        return recipe, told(found) + _meaning(recipe, spec, found)


def _mixture() -> Finding:
    """What is told of a mixture, instead of every key that it has and a recipe has not."""
    message = "a recipe should have `merge_method`; this is a mixture of experts"
    hint = "`cuvee moe FILE -o OUT` makes it, `--dry-run` tells what it would be"
    return Finding("missing-key", message, ("experts",), hint, "merge_method", on_key=True)


def _by_file(faults: Iterable[Fault]) -> list[Fault]:
    """The faults in the order of each file, those without a place first; the files as they come."""
    told = list(dict.fromkeys(faults))
    files: dict[str, int] = {}
    for fault in told:
        if fault.place:
            files.setdefault(fault.place.file, len(files))

    def order(fault: Fault) -> tuple[int, int, int]:
        place = fault.place
        return (files[place.file], place.line, place.column) if place else (-1, 0, 0)

    return sorted(told, key=order)


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
