"""Several documents in one file: which of them is the result, and what is wrong with their names."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cuvee.recipe.document import Document
from cuvee.recipe.findings import Finding, shortened
from cuvee.recipe.nesting import names_in


@dataclass(frozen=True, slots=True)
class Arranged:
    """The documents of a file: that of the result, those with a name, and what is wrong, by document."""

    final: Document
    named: Mapping[str, Document]
    findings: tuple[tuple[Document, Finding], ...] = ()


def arranged(documents: Sequence[Document]) -> Arranged:
    """Find the document of the result: the one without a name, else the only one that no other names as a model."""
    if len(documents) == 1:
        return Arranged(documents[0], {})
    named: dict[str, Document] = {}
    unnamed: list[Document] = []
    wrong: list[tuple[Document, Finding]] = []
    for document in documents:
        name = _name_of(document)
        if name is None:
            unnamed.append(document)
            if len(unnamed) > 1:
                wrong.append((document, _second_result("is another one without a name")))
        elif name in named:
            message = f"the name `{shortened(name)}` should stand once, found it in two documents"
            wrong.append((document, Finding("bad-stage", message, ("name",), "rename one of them", name)))
        else:
            named[name] = document
    if unnamed:
        return Arranged(unnamed[0], named, tuple(wrong))
    used = {text for document in documents for text in names_in(document.data)}
    ends = [document for name, document in named.items() if name not in used]
    wrong += [(document, _second_result("is another one that no document uses")) for document in ends[1:]]
    return Arranged((ends or documents)[0], named, tuple(wrong))


def _name_of(document: Document) -> str | None:
    """The name as far as it is one; what is wrong with it is found when the document is read."""
    name = document.data.get("name") if isinstance(document.data, Mapping) else None
    return None if name is None else str(name)


def _second_result(found: str) -> Finding:
    message = f"one document should be the result, the one without a `name`; this {found}"
    return Finding("bad-stage", message, (), "give it a `name` and use it as a model of another one")


def unused(name: str) -> Finding:
    """A document that nothing comes of."""
    message = f"the document `{shortened(name)}` should be a model of another one, found none that names it"
    return Finding("bad-stage", message, ("name",), "take it out, or merge it by a recipe of its own", name)


def misspelt(text: str, names: Collection[str]) -> str | None:
    """The name of a document that a path was surely meant to be: one that is nearly the same, and no folder."""
    close = difflib.get_close_matches(text, names, n=1, cutoff=0.75) if "/" not in text else []
    return close[0] if close else None
