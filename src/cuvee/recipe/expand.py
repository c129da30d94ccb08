"""Plain data from the nodes of a YAML document: aliases and merges written out, places kept, equal keys found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cuvee.errors import Place
from cuvee.recipe.findings import Finding, shortened
from cuvee.recipe.limits import MAX_DEPTH, MAX_REPEATED, too_large
from cuvee.recipe.model import DocumentPath
from cuvee.recipe.nodes import Node


class Expander:
    """Plain data from nodes, with the place of everything; aliases are written out, up to a limit."""

    def __init__(self) -> None:
        self.keys: dict[DocumentPath, Place] = {}
        self.values: dict[DocumentPath, Place] = {}
        self.findings: list[Finding] = []
        self._seen: set[int] = set()
        self._repeated = 0

    def plain(self, node: Node, path: DocumentPath, repeated: bool) -> Any:
        """The node's value; `repeated` says that it stands inside an alias."""
        repeated = repeated or id(node) in self._seen
        self._count(node, len(path), repeated)
        self.values.setdefault(path, node.place)
        if node.pairs is not None:
            return {key: self.plain(value, (*path, key), repeated) for key, value in self._pairs(node, path)}
        if node.items is not None:
            return [self.plain(item, (*path, index), repeated) for index, item in enumerate(node.items)]
        return node.value

    def _count(self, node: Node, depth: int, repeated: bool) -> None:
        self._seen.add(id(node))
        self._repeated += repeated
        if self._repeated > MAX_REPEATED:
            too_large(f"the aliases of a recipe should repeat at most {MAX_REPEATED:,} entries", node.place)
        if depth > MAX_DEPTH:
            too_large(f"a recipe should be nested at most {MAX_DEPTH} deep", node.place)

    def _pairs(self, node: Node, path: DocumentPath) -> Iterator[tuple[str, Node]]:
        """Keys and values of a mapping, those that `<<` merges in last; the first of two equal keys holds."""
        pairs = node.pairs or ()
        for key, value in pairs:
            if key.text is None:
                self._not_text(key, path)
            elif not key.is_merge and self._is_new(key, value, (*path, key.text)):
                yield key.text, value
        for key, value in pairs:
            if key.is_merge:
                yield from self._merged(value, path, 1)

    def _is_new(self, key: Node, value: Node, path: DocumentPath) -> bool:
        if path in self.keys:
            hint = f"it stands in line {self.keys[path].line} already; take one out"
            message = f"`{shortened(key.text or '')}` should stand once, found it twice"
            again = (*path, f"#{len(self.findings)}")
            self.findings.append(Finding("duplicate-key", message, again, hint, key.text, on_key=True))
            self.keys[again] = key.place
            return False
        self._note(key, value, path)
        return True

    def _note(self, key: Node, value: Node, path: DocumentPath) -> None:
        """Remember where a key and its value stand; a value left empty stands where its key does."""
        self.keys[path] = key.place
        if value.text == "" and value.is_plain:
            self.values[path] = key.place

    def _merged(self, source: Node, path: DocumentPath, depth: int) -> Iterator[tuple[str, Node]]:
        """What `<<` adds: keys that the mapping does not have itself."""
        self._count(source, len(path) + depth, True)
        if source.items is not None:
            for item in source.items:
                yield from self._merged(item, path, depth + 1)
        elif source.pairs is None:
            self.values[(*path, "<<")] = source.place
            message = "`<<` should merge a mapping or a list of mappings, found neither"
            self.findings.append(Finding("wrong-type", message, (*path, "<<")))
        else:
            yield from self._merged_pairs(source.pairs, path, depth)

    def _merged_pairs(
        self, pairs: tuple[tuple[Node, Node], ...], path: DocumentPath, depth: int
    ) -> Iterator[tuple[str, Node]]:
        for key, value in pairs:
            if key.is_merge:
                yield from self._merged(value, path, depth + 1)
            elif key.text is not None and (*path, key.text) not in self.keys:
                self._note(key, value, (*path, key.text))
                yield key.text, value

    def _not_text(self, key: Node, path: DocumentPath) -> None:
        odd = (*path, f"?{len(self.findings)}")
        self.values[odd] = key.place
        found = "a list" if key.items is not None else "a mapping"
        self.findings.append(Finding("wrong-type", f"a key should be text, found {found}", odd))
