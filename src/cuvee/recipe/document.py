"""A document as plain data, with the place of everything in it; and a part of one that is a recipe of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cuvee.errors import Place
from cuvee.recipe.findings import Finding, Places
from cuvee.recipe.model import DocumentPath


@dataclass(frozen=True, slots=True)
class Document:
    """A document as plain data, with the places in it, `None` for data of a program, and what is wrong with it."""

    data: Any
    positions: Places | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Inside:
    """The places of a part of a document, by paths that begin there."""

    outer: Places
    at: DocumentPath

    @property
    def file(self) -> str:
        """The file's name."""
        return self.outer.file

    def __call__(self, path: DocumentPath) -> Place | None:
        """Place of the value at a path."""
        return self.outer((*self.at, *path))

    def key(self, path: DocumentPath) -> Place | None:
        """Place of the key at a path."""
        return self.outer.key((*self.at, *path))
