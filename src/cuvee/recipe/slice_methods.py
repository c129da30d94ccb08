"""Slices with a method of their own, as what they mean: stacked results of recipes.

    merge_method: linear                        merge_method: passthrough
    slices:                                     slices:
      - sources: [a 0-8, b 0-8]                   - sources:
      - merge_method: ties            means           - model: {merge_method: linear, slices: [a 0-8, b 0-8]}
        sources: [a 8-16, b 8-16]                       layer_range: [0, 8]
                                                  - sources:
                                                      - model: {merge_method: ties, slices: [a 8-16, b 8-16]}
                                                        layer_range: [0, 8]

Nothing else would have to be learned by planning, tiles or records: recipes inside recipes are there. Paths of the
meaning are led back to what was written, so that faults stand at their places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cuvee.errors import Place
from cuvee.recipe.document import Document
from cuvee.recipe.findings import Finding, Places
from cuvee.recipe.layer_list import read_layers
from cuvee.recipe.model import DocumentPath
from cuvee.recipe.nesting import entries_of

_INHERITED: Final = ("base_model", "dtype", "out_dtype", "missing")
"""What holds for every slice, whatever its method."""

_SHARED: Final = ("parameters", "layer_scaling")
"""What belongs to the recipe's own method."""

_OF_SLICE: Final = ("merge_method", "repeat")
_INNER: Final = ("sources", 0, "model")


@dataclass(frozen=True, slots=True)
class Meant:
    """The places of a document whose slices were written out, by paths in what they mean."""

    outer: Places
    own: Mapping[int, bool]

    @property
    def file(self) -> str:
        """The file's name."""
        return self.outer.file

    def __call__(self, path: DocumentPath) -> Place | None:
        """Place of the value at a path."""
        return self.outer(written_path(path, self.own))

    def key(self, path: DocumentPath) -> Place | None:
        """Place of the key at a path."""
        return self.outer.key(written_path(path, self.own))


def written_path(path: DocumentPath, own: Mapping[int, bool]) -> DocumentPath:
    """Where something of the meaning was written.

    Args:
        path: a path in what the document means.
        own: the numbers of the slices that became recipes, and whether each has a method of its own.

    Example:
        >>> written_path(("slices", 1, "sources", 0, "model", "slices", 0, "sources", 2), {1: True})
        ('slices', 1, 'sources', 2)
        >>> written_path(("slices", 1, "sources", 0, "model", "merge_method"), {1: True})
        ('slices', 1, 'merge_method')
    """
    if len(path) < 2 or path[0] != "slices" or path[1] not in own:
        return path
    number, piece, rest = int(path[1]), path[:2], path[2:]
    if rest[:3] != _INNER:
        return (*piece, *rest) if rest[:1] == ("repeat",) else piece
    inside = rest[3:]
    if inside[:2] == ("slices", 0):
        return (*piece, *inside[2:])
    if inside[:1] == ("merge_method",) and own[number]:
        return (*piece, *inside)
    return inside or piece


def written_out(document: Document) -> tuple[Document, Mapping[int, bool]]:
    """The document that one with methods of its slices means, and which of its slices became recipes.

    Returns:
        The document itself and nothing, where no slice has a method of its own.
    """
    data = document.data
    pieces = {path[1]: piece for path, piece in entries_of(data, "slices", ())}
    if not any(_has_method(piece) for piece in pieces.values()):
        return document, {}
    own = {int(n): _has_method(piece) for n, piece in pieces.items() if not _is_plain(data, piece)}
    slices = [_meaning(data, piece, n in own) for n, piece in enumerate(data["slices"])]
    kept = {key: value for key, value in data.items() if key not in _SHARED}
    meant = {**kept, "merge_method": "passthrough", "slices": slices}
    places = None if document.positions is None else Meant(document.positions, own)
    return Document(meant, places, document.findings), own


def _has_method(piece: Mapping[str, Any]) -> bool:
    return piece.get("merge_method") is not None


def _is_plain(data: Mapping[str, Any], piece: Mapping[str, Any]) -> bool:
    """Whether a slice is passed through in any case, by itself."""
    method = piece["merge_method"] if _has_method(piece) else data.get("merge_method")
    return method == "passthrough" and (_has_method(piece) or not data.get("parameters"))


def _meaning(data: Mapping[str, Any], piece: Any, is_recipe: bool) -> Any:
    if not isinstance(piece, Mapping):
        return piece
    if not is_recipe:
        return {key: value for key, value in piece.items() if key != "merge_method"}
    inherited = {key: data[key] for key in _INHERITED if data.get(key) is not None}
    if "merge_method" not in piece and data.get("parameters") is not None:
        inherited["parameters"] = data["parameters"]
    method = {"merge_method": piece["merge_method"]} if _has_method(piece) else _method_of(data)
    one = {key: value for key, value in piece.items() if key not in _OF_SLICE}
    source = {"model": {**method, "slices": [one], **inherited}, "layer_range": [0, _length(piece)]}
    repeat = {"repeat": piece["repeat"]} if "repeat" in piece else {}
    return {"sources": [source], **repeat}


def _method_of(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"merge_method": data["merge_method"]} if "merge_method" in data else {}


def _length(piece: Mapping[str, Any]) -> int:
    """Layers of a slice, by its first source; 1 where it does not say: what is wrong is told of the recipe inside."""
    for _, source in entries_of(piece, "sources", ()):
        try:
            return _layers(source)
        except (ValueError, TypeError, KeyError):
            return 1
    return 1


def _layers(source: Mapping[str, Any]) -> int:
    if source.get("layers") is not None:
        return len(read_layers(str(source["layers"])))
    start, stop = source["layer_range"]
    return max(int(stop - start), 1)


def led_back(findings: list[Finding], own: Mapping[int, bool]) -> list[Finding]:
    """The findings at the paths of what was written."""
    return [_led_back(finding, own) for finding in findings] if own else findings


def _led_back(finding: Finding, own: Mapping[int, bool]) -> Finding:
    excuses = tuple(written_path(path, own) for path in finding.excuses)
    return replace(finding, path=written_path(finding.path, own), excuses=excuses)


def refused_findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    """What methods of slices do not go with: a scaling of all layers, and `modules:`, whose parts are no models."""
    if data.get("layer_scaling") is not None and any(_has_method(one) for _, one in entries_of(data, "slices", ())):
        message = (
            "`layer_scaling` should scale the layers of one merge, found slices that are merged by recipes of their own"
        )
        hint = (
            "take it out, or write the slice as a recipe in the place of its model, with a `layer_scaling` of its own"
        )
        yield Finding("ill-placed-parameter", message, ("layer_scaling",), hint, "layer_scaling", on_key=True)
    modules = data.get("modules")
    for name, module in modules.items() if isinstance(modules, Mapping) else ():
        for path, piece in entries_of(module, "slices", ("modules", name)) if isinstance(module, Mapping) else ():
            if _has_method(piece):
                message = "a slice of `modules:` should be merged as the recipe says, found a method of its own"
                hint = "merge these layers by a recipe of their own, and name it as the model of the slice"
                yield Finding("not-yet", message, (*path, "merge_method"), hint, "merge_method", on_key=True)
