"""The recipes in the places of a recipe's models: taken out, examined, and named in their places."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cuvee.errors import Fault, RecipeError
from cuvee.recipe.document import Document, Inside
from cuvee.recipe.files import documents_in
from cuvee.recipe.findings import Finding, described, shortened, to_faults
from cuvee.recipe.limits import MAX_NESTED, MAX_STAGES
from cuvee.recipe.model import DocumentPath, Recipe
from cuvee.recipe.nesting import (
    PLACING,
    height,
    is_recipe,
    name_of,
    names_a_file,
    places,
    stages,
    text_of,
    value_at,
)
from cuvee.recipe.stages import misspelt


@dataclass(frozen=True, slots=True)
class Around:
    """What a recipe stands in.

    Attributes:
        root: folder that its paths start from.
        documents: the documents that its models may name.
        within: what tells each recipe it stands in from others, and its name; the outermost first.
    """

    root: Path | None
    documents: Mapping[str, Document] = field(default_factory=dict)
    within: tuple[tuple[object, str], ...] = ()

    def entered(self, key: object, name: str) -> Around:
        """The same for a recipe in this one."""
        return replace(self, within=(*self.within, (key, name)))


@dataclass(frozen=True, slots=True)
class Examined:
    """A recipe as far as it can be read, what is wrong with it, and the faults of other documents that it uses."""

    recipe: Recipe | None
    findings: list[Finding]
    faults: list[Fault]

    @property
    def good(self) -> Recipe | None:
        """The recipe, if nothing at all is wrong."""
        return None if self.findings or self.faults else self.recipe


@dataclass(slots=True)
class Taken:
    """A recipe's data without the recipes in it: what stands in their places, and the recipes by name."""

    data: Mapping[str, Any]
    given: dict[DocumentPath, Any] = field(default_factory=dict)
    nested: dict[str, Recipe] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def refuse(self, path: DocumentPath, code: str, message: str, hint: str | None = None) -> None:
        """Note what is wrong with the model at a path, and put something in its place."""
        self.findings.append(Finding(code, message, path, hint))
        self.stand_in(path, f"recipe {len(self.given) + 1}")

    def stand_in(self, path: DocumentPath, name: str) -> None:
        """Put a name in the place of a recipe; as a mapping, so that no `@` or `+` in it divides it."""
        if path[-1] == "model" and path[-2] in ("model", "base_model"):  # beside it stands which part is meant
            self.given[path] = {"path": name}
            return
        there = value_at(self.data, path)
        said = {key: there[key] for key in PLACING & there.keys()} if isinstance(there, Mapping) else {}
        self.given[path] = {"model": {"path": name}, **said}


class Takes:
    """Takes the recipes out of recipes; each file and each document is examined once.

    Args:
        examine: examines one document.
        result: examines the documents of one file.
    """

    def __init__(
        self,
        examine: Callable[[Document, Around], Examined],
        result: Callable[[Sequence[Document], Around], Examined],
    ) -> None:
        self._examine = examine
        self._result = result
        self._documents: dict[int, Examined] = {}
        self._files: dict[Path, Examined] = {}

    def __contains__(self, document: Document) -> bool:
        return id(document) in self._documents

    def document(self, document: Document, name: str, around: Around) -> Examined:
        """A document with a name; everything wrong with it is a fault."""
        known = self._documents.get(id(document))
        if known is None:
            found = self._examine(document, around.entered(id(document), name))
            known = Examined(found.recipe, [], [*to_faults(found.findings, document.positions), *found.faults])
            self._documents[id(document)] = known
        return known

    def out(self, document: Document, around: Around) -> Taken:
        """Take the recipes out of a recipe."""
        taken = Taken(document.data)
        named: list[tuple[DocumentPath, str]] = []
        for path, value in places(document.data):
            text = text_of(value)
            if is_recipe(value):
                self._written_here(taken, path, value, document, around)
            elif text is not None and names_a_file(text) and not _is_there(text, around.root, os.path.isdir):
                self._in_a_file(taken, path, text, document, around)
            elif text is not None:
                named.append((path, text))
        for path, text in named:
            self._by_name(taken, path, text, around)
        return taken

    def _written_here(
        self, taken: Taken, path: DocumentPath, value: Mapping[str, Any], document: Document, around: Around
    ) -> None:
        """A recipe in the place of a model."""
        if _too_deep(taken, path, around):
            return
        folder = value.get("folder")
        if folder is not None and not (isinstance(folder, str) and folder and "\0" not in folder):
            message = f"`folder` should be that of a recipe file, found {described(folder)}"
            taken.findings.append(Finding("wrong-type", message, (*path, "folder")))
            folder = None
        inside = around.entered(path, "a recipe in its place")
        if folder is not None:
            inside = replace(inside, root=path_of(folder, around.root), documents={})
        places_in = None if document.positions is None else Inside(document.positions, path)
        data = {key: entry for key, entry in value.items() if key != "folder"}
        found = self._examine(Document(data, places_in), inside)
        taken.findings += [_moved(finding, path) for finding in found.findings]
        taken.faults += found.faults
        good = found.good
        self._put(taken, path, None if good is None else replace(good, folder=folder), around)

    def _in_a_file(self, taken: Taken, path: DocumentPath, text: str, document: Document, around: Around) -> None:
        """A recipe in a file of its own."""
        file = path_of(text, around.root)
        real = Path(os.path.realpath(file))
        if _is_cycle(taken, path, real, text, around) or _too_deep(taken, path, around):
            return
        known = self._files.get(real)
        if known is None:
            shown = str(Path(document.positions.file).parent / text) if document.positions else str(file)
            known = self._files[real] = self._read(file, real, text, shown, around)
        missing = [fault for fault in known.faults if fault.code == "recipe-missing" and fault.place is None]
        taken.findings += [Finding(fault.code, fault.message, path, fault.hint, text) for fault in missing]
        taken.faults += [fault for fault in known.faults if fault not in missing]
        recipe = None if known.faults else known.recipe
        if recipe is not None:
            recipe = replace(recipe, name=recipe.name or text, folder=os.path.dirname(text) or None)  # noqa: PTH120
        self._put(taken, path, recipe, around)

    def _read(self, file: Path, real: Path, text: str, shown: str, around: Around) -> Examined:
        inside = Around(file.parent, within=around.entered(real, text).within)
        try:
            if len(self._files) >= MAX_STAGES:
                message = f"a recipe should be made of at most {MAX_STAGES} files, found more"
                raise RecipeError(Fault("recipe-too-large", message, subject=shown))
            return self._result(documents_in(str(file), shown), inside)
        except RecipeError as error:
            return Examined(None, [], list(error.faults))

    def _by_name(self, taken: Taken, path: DocumentPath, text: str, around: Around) -> None:
        """A model that may be a recipe in this one, or a document beside it."""
        if text in taken.nested:
            taken.stand_in(path, text)
        elif text in around.documents:
            document = around.documents[text]
            if not _is_cycle(taken, path, id(document), text, around) and not _too_deep(taken, path, around):
                found = self.document(document, text, around)
                taken.faults += found.faults
                self._put(taken, path, None if found.faults else found.recipe, around)
        elif (meant := misspelt(text, around.documents)) and not _is_there(text, around.root, os.path.exists):
            message = f"no document and no folder is called `{shortened(text)}`"
            taken.refuse(path, "bad-stage", message, f"did you mean `{meant}`?")

    def _put(self, taken: Taken, path: DocumentPath, recipe: Recipe | None, around: Around) -> None:
        """Name a recipe in its place; `None` is one that is wrong."""
        if recipe is None:
            taken.stand_in(path, f"recipe {len(taken.given) + 1}")
            return
        name = name_of(recipe)
        beside = around.documents.get(name)
        own = beside is None or self._documents.get(id(beside), Examined(None, [], [])).recipe is recipe
        if taken.nested.get(name, recipe) != recipe or not own:
            taken.refuse(path, "bad-stage", f"`{shortened(name)}` should name one recipe, found two", "rename one")
        elif len(around.within) + height(recipe) > MAX_NESTED:
            _refuse_depth(taken, path)
        elif sum(1 + stages(one) for one in {**taken.nested, name: recipe}.values()) > MAX_STAGES:
            message = f"a recipe should have at most {MAX_STAGES} recipes in it, each counted as often as it is used"
            taken.refuse(path, "recipe-too-large", f"{message}; found more")
        else:
            taken.nested[name] = recipe
            taken.stand_in(path, name)


def path_of(text: str, root: Path | None) -> Path:
    """Where a path leads: `~` expanded, relative to `root`."""
    return ((root or Path()) / os.path.expanduser(text.replace("\0", ""))).absolute()  # noqa: PTH111 - raises on `~nobody`


def _is_there(text: str, root: Path | None, kind: Callable[[Path], bool]) -> bool:
    """Whether a path leads to something of a kind; the functions of `os.path` take names that are too long for any."""
    return kind(path_of(text, root))


def _moved(finding: Finding, at: DocumentPath) -> Finding:
    """A finding of a recipe that stands at a path of another one."""
    return replace(finding, path=(*at, *finding.path), excuses=())


def _is_cycle(taken: Taken, path: DocumentPath, key: object, name: str, around: Around) -> bool:
    """Whether a recipe stands in itself, which is noted."""
    keys = [one for one, _ in around.within]
    if key not in keys:
        return False
    chain = [shown for _, shown in around.within[keys.index(key) :]]
    told = " → ".join(shortened(one) for one in (*chain, name))
    taken.refuse(path, "recipe-cycle", f"a recipe should not need its own result: {told}", "take one of them out")
    return True


def _too_deep(taken: Taken, path: DocumentPath, around: Around) -> bool:
    """Whether a recipe stands in too many others, which is noted."""
    if len(around.within) <= MAX_NESTED:
        return False
    _refuse_depth(taken, path)
    return True


def _refuse_depth(taken: Taken, path: DocumentPath) -> None:
    message = f"recipes should stand at most {MAX_NESTED} deep inside one another, found more"
    taken.refuse(path, "recipe-too-large", message, "merge the innermost first, and name its folder")
