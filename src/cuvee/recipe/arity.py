"""Faults of a recipe's models: how many, which twice, which base, which layers."""

from __future__ import annotations

from collections.abc import Iterator

from cuvee.recipe.findings import Excused, Finding
from cuvee.recipe.grouping import Group, Member, groups
from cuvee.recipe.layer_list import written_layers
from cuvee.recipe.model import Recipe, Source
from cuvee.types import MethodSpec


def model_findings(recipe: Recipe, spec: MethodSpec | None, excused: Excused) -> list[Finding]:
    """Everything wrong with the models of a recipe.

    Args:
        recipe: the recipe; what was wrong in it is replaced by placeholders.
        spec: the method, `None` if the recipe names none that exists.
        excused: the paths that hold placeholders.
    """
    found = []
    for group in groups(recipe):
        found += [*_duplicates(group, excused), *_layer_lengths(group, spec, excused)]
        if spec is not None and not excused.touches(group.path):
            found += _count_findings(group, spec, excused)
    return found if spec is None else [*found, *_base_findings(recipe, spec, excused)]


def _duplicates(group: Group, excused: Excused) -> Iterator[Finding]:
    """The same model twice, in a slice with the same layers."""
    first: dict[object, Member] = {}
    for member in group.members:
        if excused.covers((*member.path, "model")) or _are_layers_misread(member, excused):
            continue
        key = member.model, member.layers if member.layers is None else tuple(member.layers)
        if member is not first.setdefault(key, member):
            what = (
                f"`{member.model}`" if member.source is None else f"layers {_told(member.source)} of `{member.model}`"
            )
            message = f"{what} should be listed once, found it twice"
            number = first[key].path[-1]
            hint = f"it is entry {int(number) + 1} of the list already; give that one the weight of both"
            yield Finding("duplicate-model", message, (*member.path, "model"), hint, str(member.model))


def _are_layers_misread(member: Member, excused: Excused) -> bool:
    return any(excused.covers((*member.path, key)) for key in ("layer_range", "layers"))


def _told(source: Source) -> str:
    """The layers as they were written."""
    return written_layers(source.listed) if source.listed else str(list(source.layers))


def _layer_lengths(group: Group, spec: MethodSpec | None, excused: Excused) -> Iterator[Finding]:
    """Sources of a slice whose layer ranges are not as long as that of the first."""
    ranged = [(m, m.layers) for m in group.members if m.layers and not _are_layers_misread(m, excused)]
    lengths = [len(layers) for _, layers in ranged]
    for (member, _), length in zip(ranged, lengths, strict=True):
        if length != lengths[0]:
            wanted = _counted(lengths[0], "layer")
            message = f"every source of a slice should have {wanted} as the first, found {length}"
            yield Finding("bad-layer-range", message, member.path_of_layers, subject=str(member.model))
    if len(ranged) == len(group.members) and spec is not None and not excused.touches(group.path):
        yield from _base_layers(group, spec)


def _base_layers(group: Group, spec: MethodSpec) -> Iterator[Finding]:
    """A base that is no source takes the layers of the sources, which must then be the same."""
    ranges = {tuple(member.layers or ()) for member in group.members}
    if spec.base != "input" and group.base is not None and group.base_member is None and len(ranges) > 1:
        message = f"{spec.name} needs layers of the base model `{group.base}`, found sources of different layer ranges"
        hint = "list the base model among the sources, with a `layer_range` of its own"
        yield Finding("missing-base", message, group.path, hint, str(group.base))


def _count_findings(group: Group, spec: MethodSpec, excused: Excused) -> Iterator[Finding]:
    """Too few or too many models."""
    counts = _possible_counts(group, spec, excused)
    fewest, most = spec.models
    if not any(fewest <= count and (most is None or count <= most) for count in counts):
        message = f"{spec.name} takes {wanted_models(spec)}, found {counts[0]}{_beside(group, spec)}"
        yield Finding("wrong-number-of-models", message, group.path, subject=spec.name)


def _possible_counts(group: Group, spec: MethodSpec, excused: Excused) -> tuple[int, ...]:
    """The number of models; two where the base is still to be named, which may or may not be one of those listed."""
    count = len(group.merged(spec))
    misread = any(excused.covers((*path, "base_model")) for path in ((), group.path[:-1]))
    if group.base is not None or not (misread or spec.base == "required"):
        return (count,)
    return (count, count + 1) if spec.base == "input" else (count, count - 1)


def wanted_models(spec: MethodSpec) -> str:
    """The number of models that a method takes, in words.

    Example:
        >>> wanted_models(MethodSpec("ties", "", "", "delta", "element", "required", (1, None)))
        'one model or more besides the base'
    """
    fewest, most = spec.models
    if spec.base == "required" and fewest == most == 1:
        return "exactly two models, one of them the base"
    if fewest == most:
        count = f"exactly {_counted(fewest, 'model')}"
    elif most is None:
        count = f"{_counted(fewest, 'model')} or more"
    else:
        count = f"{fewest} to {_counted(most, 'model')}"
    return count if spec.base == "input" else f"{count} besides the base"


def _counted(number: int, noun: str) -> str:
    word = {0: "no", 1: "one", 2: "two", 3: "three"}.get(number, str(number))
    return f"{word} {noun}" if number == 1 else f"{word} {noun}s"


def _beside(group: Group, spec: MethodSpec) -> str:
    """What was counted, where that is not plain from the list."""
    if spec.base == "input":
        return "" if len(group.merged(spec)) == len(group.members) else f", the base model `{group.base}` among them"
    return "" if group.base is None else f" besides the base `{group.base}`"


def _base_findings(recipe: Recipe, spec: MethodSpec, excused: Excused) -> Iterator[Finding]:
    """A base model that the method needs and that is named nowhere."""
    if spec.base != "required" or excused.covers(("base_model",)):
        return
    units = groups(recipe)
    lacking = [g for g in units if g.base is None and not excused.covers((*g.path[:-1], "base_model"))]
    everywhere = len(lacking) == len(units)
    for path in (("merge_method",),) if everywhere else tuple(group.path[:-1] for group in lacking):
        message = f"{spec.name} needs a base model, found none"
        hint = "write `base_model: …`, the model that the others were made from"
        if lacking:
            yield Finding("missing-base", message, path, hint, spec.name)
