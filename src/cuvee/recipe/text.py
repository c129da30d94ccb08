"""YAML text as plain data, with the place of every key and value.

The document is composed from the parser's events, never by YAML's own object construction: nothing is built but
text, numbers, switches, lists and mappings, every key and value keeps its place, and a hostile file is refused as
soon as it passes a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from cuvee.errors import Fault, Place, RecipeError
from cuvee.recipe.document import Document
from cuvee.recipe.expand import Expander
from cuvee.recipe.findings import Positions
from cuvee.recipe.limits import MAX_DEPTH, MAX_NODES, MAX_STAGES, refuse_large, too_large
from cuvee.recipe.nodes import Node, read_scalar

STANDARD: Final = "tag:yaml.org,2002:"
TAGS: Final = frozenset(
    {None, "!", *(STANDARD + name for name in ("str", "int", "float", "bool", "null", "seq", "map"))}
)
"""Tags that say what YAML would have thought anyway."""


def read_yaml(text: str, file: str) -> Document:
    """Read the first YAML document of a text; see `read_documents`."""
    return read_documents(text, file)[0]


def read_documents(text: str, file: str) -> list[Document]:
    """Read the YAML documents of a text, at least one.

    Args:
        text: the documents, at most `MAX_BYTES` bytes of UTF-8 in all.
        file: the name to use in places.

    Returns:
        The plain data and where everything stands; a key that stands twice is a finding, and its first value holds.

    Raises:
        RecipeError: `recipe-syntax` or `recipe-too-large`, at a place in the file.
    """
    refuse_large(len(text.encode("utf-8", "replace")), file)
    return [_expanded(node, file) for node in _Composer(text, file).documents()]


def _expanded(node: Node, file: str) -> Document:
    expander = Expander()
    data = expander.plain(node, (), False)
    return Document(data, Positions(file, expander.keys, expander.values), tuple(expander.findings))


class _Composer:
    """Nodes from the parser's events; an alias gives the very node that its anchor names."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._events = self._limited(self._parsed(text))
        self._anchors: dict[str, Node] = {}

    def documents(self) -> list[Node]:
        """The documents of the stream; nothing at all is one null."""
        roots: list[Node] = []
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                self._anchors = {}
                if len(roots) == MAX_STAGES:
                    too_large(f"a recipe should have at most {MAX_STAGES} documents", self._place(event))
            if isinstance(event, NodeEvent):
                roots.append(self._node(event))
        return roots or [Node(Place(self._file, 1, 1))]

    def _parsed(self, text: str) -> Iterator[Event]:
        # Whatever the parser trips over in a damaged file is a fault of that file.
        try:
            yield from YAML(typ="safe", pure=True).parse(text)
        except Exception as error:
            raise RecipeError(_syntax_fault(error, text, self._file)) from None

    def _limited(self, events: Iterator[Event]) -> Iterator[Event]:
        depth = 0
        for count, event in enumerate(events):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                too_large(f"a recipe should be nested at most {MAX_DEPTH} deep", self._place(event))
            if count > MAX_NODES:
                too_large(f"a recipe should have at most {MAX_NODES:,} entries", self._place(event))
            yield event

    def _place(self, event: Event) -> Place:
        return Place(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _node(self, event: NodeEvent) -> Node:
        if isinstance(event, AliasEvent):
            return self._aliased(event)
        tag: str | None = getattr(event, "tag", None)
        if tag not in TAGS:
            tag = str(tag).replace(STANDARD, "!!")
            self._refuse(event, f"a recipe holds plain values only, found the tag `{tag}`", "take the tag out")
        node = self._scalar(event) if isinstance(event, ScalarEvent) else self._collection(event)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _aliased(self, event: AliasEvent) -> Node:
        if event.anchor not in self._anchors:
            self._refuse(event, f"the alias `*{event.anchor}` should name an anchor that ends before it, found none")
        return self._anchors[event.anchor]

    def _scalar(self, event: ScalarEvent) -> Node:
        is_plain = event.style is None and event.tag not in ("!", STANDARD + "str")
        value = read_scalar(event.value) if is_plain else event.value
        return Node(self._place(event), value, event.value, is_plain)

    def _collection(self, start: NodeEvent) -> Node:
        children = tuple(self._node(event) for event in self._until_end())
        if isinstance(start, SequenceStartEvent):
            return Node(self._place(start), items=children)
        return Node(self._place(start), pairs=tuple(zip(children[::2], children[1::2], strict=True)))

    def _until_end(self) -> Iterator[NodeEvent]:
        for event in self._events:
            if isinstance(event, CollectionEndEvent):
                return
            if isinstance(event, NodeEvent):
                yield event

    def _refuse(self, event: Event, message: str, hint: str | None = None) -> NoReturn:
        raise RecipeError(Fault("recipe-syntax", message, self._place(event), hint=hint))


def _syntax_fault(error: Exception, text: str, file: str) -> Fault:
    """A parser's error as a fault, where the parser stopped."""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        place = Place(file, mark.line + 1, mark.column + 1)
    else:
        before = text[: getattr(error, "position", 0)]
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
    return Fault("recipe-syntax", f"a recipe should be YAML: {problem}", place)
