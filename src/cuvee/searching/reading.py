"""A recipe with holes, read with the place of everything: all faults of holes and of the recipe around them at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cuvee.errors import Fault, RecipeError, nearest
from cuvee.recipe.document import Document
from cuvee.recipe.findings import Finding, described, dotted, in_order, to_faults
from cuvee.recipe.holes import holes_in, is_hole
from cuvee.recipe.model import DocumentPath
from cuvee.searching.flow import Flow, flow_faults
from cuvee.searching.holes import Hole
from cuvee.searching.space import Space, Spot, fill

_KEYS: Final = {
    "search": ("search", "log", "step", "start", "per", "name"),
    "choose": ("choose", "start", "per", "name"),
    "flow": ("flow",),
}
_PLACEHOLDER: Final = 0.5


def read_space(documents: list[Document], root: Path | None, file: Path | None = None) -> Space:
    """The space of a recipe; without a hole in it, a space of one candidate.

    Every hole is tried with both bounds or with every option, the others at their start, so that a bound that a
    parameter does not admit is told before anything is opened.

    Args:
        documents: those of one file.
        root: folder that relative model paths start from.
        file: the file.

    Raises:
        RecipeError: with every fault there is.
    """
    if len(documents) > 1:
        raise RecipeError(_several(documents[1]))
    document = documents[0]
    if not isinstance(document.data, Mapping):
        raise RecipeError(to_faults([_no_mapping(document.data)], document.positions))
    found = list(document.findings)
    spots, holes = _spots(document.data, found)
    bad = [path for path, _ in holes_in(document.data) if path not in {spot.path for spot in spots}]
    spots += [Spot(path, "value", (dotted(path),)) for path in bad]
    holes |= {dotted(path): Hole(dotted(path), "choice", options=(_PLACEHOLDER,)) for path in bad}
    space = Space(document.data, tuple(holes.values()), tuple(spots), root, document.positions, file)
    if faults := [*to_faults(found, document.positions), *_recipe_faults(space, bad)]:
        raise RecipeError(in_order(dict.fromkeys(faults)) if document.positions else dict.fromkeys(faults))
    return space


def _several(document: Document) -> Iterable[Fault]:
    message = "a recipe with holes should be one document; found several"
    hint = "write recipes inside it in their place, or in files of their own"
    return to_faults([Finding("not-yet", message, (), hint)], document.positions)


def _no_mapping(data: Any) -> Finding:
    message = f"a recipe should be a mapping of keys to values, found {described(data)}"
    return Finding("wrong-type", message, (), "start it with `merge_method: …`")


def _spots(data: Mapping[str, Any], found: list[Finding]) -> tuple[list[Spot], dict[str, Hole]]:
    """The spots and holes that are right; what is wrong with the others is added to `found`."""
    spots: list[Spot] = []
    holes: dict[str, Hole] = {}
    for path, asked in holes_in(data):
        if wrong := list(_hole_findings(path, asked)):
            found += wrong
            continue
        spot, own = _spot(path, asked)
        clash = next((hole for hole in own if holes.get(hole.name, hole) != hole), None)
        if clash is not None:
            message = f"holes of one name share their value and should be the same; `{clash.name}` is not as before"
            found.append(Finding("wrong-value", message, (*path, "name"), "rename one of them", clash.name))
            continue
        spots.append(spot)
        holes |= {hole.name: hole for hole in own}
    return spots, holes


def _spot(path: DocumentPath, asked: Mapping[str, Any]) -> tuple[Spot, list[Hole]]:
    """A hole that is right: where its values stand, and what is free there."""
    if "flow" in asked:
        flow = Flow(tuple(asked["flow"]["models"]), asked["flow"]["layers"], asked["flow"].get("repeats", 1))
        return Spot(path, "flow", tuple(hole.name for hole in flow.holes), flow=flow), list(flow.holes)
    name = asked.get("name") or dotted(tuple(step for step in path if step != "parameters"))
    per = asked.get("per")
    if per is None:
        form = "include" if path[-1] == "include" else "value"
        return Spot(path, form, (name,)), [_hole(name, asked)]  # type: ignore[arg-type]
    parts = [str(i) for i in range(per)] if isinstance(per, int) else list(per)
    names = tuple(f"{name}/{part}" for part in parts)
    own = [_hole(each, asked) for each in names]
    return Spot(
        path, "gradient" if isinstance(per, int) else "filters", names, () if isinstance(per, int) else tuple(per)
    ), own


def _hole(name: str, asked: Mapping[str, Any]) -> Hole:
    if "choose" in asked:
        return Hole(name, "choice", options=tuple(asked["choose"]), start=asked.get("start"))
    low, high = asked["search"]
    return Hole(name, "range", low, high, bool(asked.get("log")), asked.get("step"), start=asked.get("start"))


def _hole_findings(path: DocumentPath, asked: Mapping[str, Any]) -> Iterator[Finding]:
    kinds = [kind for kind in _KEYS if kind in asked]
    if len(kinds) > 1:
        message = f"a hole should have one of {', '.join(kinds)}, found all of them"
        yield Finding("wrong-value", message, path)
        return
    for key in asked:
        if key not in _KEYS[kinds[0]]:
            message = f"a hole with `{kinds[0]}` has no key `{key}`"
            yield Finding("unknown-key", message, (*path, key), nearest(key, _KEYS[kinds[0]]), key, on_key=True)
    if kinds[0] == "flow":
        yield from _flow_findings(path, asked["flow"])
        return
    wrong = list(_range_findings(path, asked) if kinds[0] == "search" else _choice_findings(path, asked))
    yield from wrong
    if not wrong and asked.get("start") is not None and not _admits(_hole("", asked), asked["start"]):
        message = f"`start` should be a value that the hole has, found {described(asked['start'])}"
        yield Finding("out-of-range", message, (*path, "start"))
    yield from _common_findings(path, asked)


def _flow_findings(path: DocumentPath, asked: Any) -> Iterator[Finding]:
    if path != ("slices",):
        yield Finding("wrong-value", "`flow` should stand under the recipe's own `slices:`", path)
    for key, message in flow_faults(asked):
        yield Finding("wrong-value", message, (*path, "flow", key) if key else (*path, "flow"))


def _range_findings(path: DocumentPath, asked: Mapping[str, Any]) -> Iterator[Finding]:
    ends, at = asked["search"], (*path, "search")
    if not (isinstance(ends, list) and len(ends) == 2 and all(map(_is_number, ends))):
        yield Finding("wrong-type", f"`search` should be two numbers `[low, high]`, found {_shown(ends)}", at)
        return
    low, high = ends
    if low >= high:
        yield Finding("out-of-range", f"`search` should run from low to high, found [{low}, {high}]", at)
    if not isinstance(asked.get("log", False), bool):
        yield Finding("wrong-type", f"`log` should be true or false, found {described(asked['log'])}", (*path, "log"))
    elif asked.get("log") and low <= 0:
        yield Finding("out-of-range", f"`log` needs bounds above 0, found [{low}, {high}]", (*path, "log"))
    step = asked.get("step")
    if step is not None and (not _is_number(step) or not 0 < step <= high - low):
        message = f"`step` should be a number above 0 and within the range, found {described(step)}"
        yield Finding("out-of-range", message, (*path, "step"))
    elif step is not None and asked.get("log"):
        yield Finding("wrong-value", "`step` and `log` exclude each other, found both", (*path, "step"))


def _choice_findings(path: DocumentPath, asked: Mapping[str, Any]) -> Iterator[Finding]:
    options, at = asked["choose"], (*path, "choose")
    if not isinstance(options, list) or len(options) < 2:
        yield Finding("wrong-type", f"`choose` should be a list of two options or more, found {_shown(options)}", at)
    elif len({json.dumps(option, sort_keys=True) for option in options}) < len(options):
        yield Finding("wrong-value", "the options of `choose` should differ, found one twice", at)
    elif any(True for option in options for _ in holes_in(option)):
        yield Finding("wrong-value", "an option should be a value, found a hole inside one", at)
    elif path[-1] == "include" and not all(isinstance(option, bool) for option in options):
        yield Finding("wrong-type", "`include` should be `{choose: [true, false]}`", at)


def _common_findings(path: DocumentPath, asked: Mapping[str, Any]) -> Iterator[Finding]:
    """What any hole may say: its name, and how many numbers it stands for."""
    name, per = asked.get("name"), asked.get("per")
    if name is not None and not (isinstance(name, str) and name):
        yield Finding("wrong-type", f"`name` should be text, found {described(name)}", (*path, "name"))
    if path[-1:] == ("include",) and ("choose" not in asked or len(path) < 3 or path[-3] != "models"):
        message = "`include` should stand in an entry of `models`, as `include: {choose: [true, false]}`"
        yield Finding("wrong-value", message, path)
    if per is None:
        return
    several = isinstance(per, list) and per and all(isinstance(part, str) for part in per) and len(set(per)) == len(per)
    if not several and not (type(per) is int and per > 1):
        message = (
            f"`per` should be 2 or more groups of layers, or a list of parts of tensors' names, found {_shown(per)}"
        )
        yield Finding("wrong-type", message, (*path, "per"))
    elif "parameters" not in path:
        yield Finding("wrong-value", "`per` is for parameters: only they have values by layers", (*path, "per"))


def _admits(hole: Hole, value: Any) -> bool:
    if hole.kind == "choice":
        return any(type(option) is type(value) and option == value for option in hole.options)
    return _is_number(value) and hole.low <= value <= hole.high


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: Any) -> str:
    return (
        str(value) if isinstance(value, list) and len(value) <= 4 and not any(map(is_hole, value)) else described(value)
    )


def _recipe_faults(space: Space, bad: list[DocumentPath]) -> list[Fault]:
    """What is wrong with the recipe around its holes, and with the ends of them; a hole that is wrong is told once."""
    faults: dict[Fault, None] = {}
    for values in ends(space):
        try:
            fill(space, values)
        except RecipeError as error:
            faults |= dict.fromkeys(error.faults)
    return [fault for fault in faults if not any(_is_of(fault, path, space) for path in bad)]


def ends(space: Space) -> Iterator[dict[str, Any]]:
    """The start, and every hole at its bounds or options; models stay included, since how many may go is not fixed."""
    start = space.start
    yield {**start, **dict.fromkeys(space.switches, True)}
    fixed = {name for spot in space.spots if spot.form in ("include", "flow") for name in spot.names}
    for hole in space.holes:
        if hole.name in fixed:
            continue
        ends = hole.options if hole.kind == "choice" else (hole.at(0), hole.at(1))
        yield from ({**start, **dict.fromkeys(space.switches, True), hole.name: end} for end in ends)


def _is_of(fault: Fault, path: DocumentPath, space: Space) -> bool:
    """Whether a fault is about the placeholder of a hole that is wrong."""
    if space.positions is None:
        return fault.message.startswith(dotted(path))
    return fault.place is not None and fault.place == space.positions(path)
