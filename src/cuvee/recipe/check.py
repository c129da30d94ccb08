"""Faults of a recipe's parameters: every one held against the method's declaration."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from dataclasses import asdict

from cuvee.errors import nearest
from cuvee.recipe.findings import Excused, Finding, described, named, shortened
from cuvee.recipe.grouping import Group, Level, Member, all_levels, groups, references
from cuvee.recipe.model import Conditions, DocumentPath, Gradient, LayerScaling, Recipe, Setting
from cuvee.types import MethodSpec, Param, Scalar, vanishes


def parameter_findings(recipe: Recipe, spec: MethodSpec) -> list[Finding]:
    """Unknown, ill-placed, mistyped and out-of-range parameters, wherever they stand."""
    return [
        finding
        for level, is_entry in all_levels(recipe)
        for name, setting in level.parameters.items()
        for finding in _setting_findings(spec, level, name, setting, is_entry)
    ]


def _setting_findings(spec: MethodSpec, level: Level, name: str, setting: Setting, is_entry: bool) -> Iterator[Finding]:
    param = spec.param(name)
    if param is None:
        yield _unknown(spec, level, name)
        return
    if is_entry and not param.per_model and not param.ignored:
        message = f"`{name}` should be shared by all models of {spec.name}, found it under one of them"
        hint = "move it to the recipe's own `parameters:`"
        meant = (("parameters", name),)
        yield Finding("ill-placed-parameter", message, level.path_of(name), hint, name, on_key=True, excuses=meant)
    for value, path in leaves(setting, level.path_of(name)):
        finding = scalar_finding(param, value, path)
        if finding is not None:
            yield finding


def _unknown(spec: MethodSpec, level: Level, name: str) -> Finding:
    known = [param.name for param in spec.params]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    excuses = tuple(level.path_of(other) for other in close)
    hint = nearest(name, known) if known else f"{spec.name} has no parameters: take it out"
    message = f"{spec.name} has no parameter `{shortened(name)}`"
    return Finding("unknown-parameter", message, level.path_of(name), hint, name, on_key=True, excuses=excuses)


def leaves(setting: Setting, path: DocumentPath) -> Iterator[tuple[Scalar, DocumentPath]]:
    """Every scalar of a setting with its document path."""
    if isinstance(setting, Conditions):
        for index, branch in enumerate(setting.branches):
            yield from _plain_leaves(branch.value, (*path, index, "value"))
    else:
        yield from _plain_leaves(setting, path)


def _plain_leaves(value: Scalar | Gradient, path: DocumentPath) -> Iterator[tuple[Scalar, DocumentPath]]:
    if isinstance(value, tuple):
        yield from ((entry, (*path, index)) for index, entry in enumerate(value))
    else:
        yield value, path


def scalar_finding(param: Param, value: Scalar, path: DocumentPath) -> Finding | None:
    """What is wrong with one scalar, if anything; a switch may be written 0 or 1, as older recipes do."""
    if isinstance(value, float) and not math.isfinite(value):
        message = f"`{param.name}` should be finite, found {described(value)}"
        return Finding("out-of-range", message, path, None, param.name)
    message = f"`{param.name}` should be {param.wanted}, found {described(value)}"
    if not param.has_kind(value):
        return Finding("wrong-type", message, path, _type_hint(param, value), param.name)
    if param.kind != "bool" and not param.admits(value):
        hint = nearest(value, param.options) if isinstance(value, str) else None
        return Finding("out-of-range", message, path, hint, param.name)
    return None


def _type_hint(param: Param, value: Scalar) -> str | None:
    if param.kind == "choice":
        return None
    if isinstance(value, str) and param.kind != "bool":
        try:
            float(value)
        except ValueError:
            return param.doc
        return "write it without quotes"
    return None


def missing_findings(recipe: Recipe, spec: MethodSpec, excused: Excused) -> list[Finding]:
    """Required parameters that no level has.

    A filtered setting counts as given even where its filters leave names out: which tensors those are is known only
    when the models are.
    """
    units = groups(recipe)
    found = [finding for group in units for finding in _missing_per_model(group, spec, excused)]
    for param in spec.params:
        if param.required and not param.per_model:
            lacking = [group for group in units if not _given(group.levels, param, excused)]
            found += _missing_shared(param, lacking, spec, everywhere=len(lacking) == len(units))
    return found


def _missing_per_model(group: Group, spec: MethodSpec, excused: Excused) -> Iterator[Finding]:
    for member in group.merged(spec):
        for param in spec.params:
            levels = (member.level, *group.levels)
            if param.required and param.per_model and not _given(levels, param, excused):
                whose = named(member.path) if excused.covers((*member.path, "model")) else f"`{member.model}`"
                message = f"{spec.name} needs `{param.name}` for {whose}, found none"
                hint = f"write `parameters: {{{param.name}: …}}` under the model, or under the recipe for all models"
                yield Finding("missing-parameter", message, member.path, hint, str(member.model))


def _missing_shared(param: Param, lacking: list[Group], spec: MethodSpec, *, everywhere: bool) -> Iterator[Finding]:
    message = f"{spec.name} needs `{param.name}`, found none"
    hint = f"write `{param.name}: …` under the recipe's `parameters:`"
    places: list[DocumentPath] = [("merge_method",)] if everywhere else [group.path[:-1] for group in lacking]
    for path in places if lacking else ():
        yield Finding("missing-parameter", message, path, hint, param.name)


def _given(levels: tuple[Level, ...], param: Param, excused: Excused) -> bool:
    """Whether some level has the parameter, or something there that was meant to be it."""
    return any(param.name in level.parameters or excused.covers(level.path_of(param.name)) for level in levels)


def scaling_findings(recipe: Recipe, spec: MethodSpec) -> list[Finding]:
    """Layers can be scaled where a method has a scale of its merged delta; the numbers must be finite."""
    scaling, at = recipe.layer_scaling, ("layer_scaling",)
    if scaling is None:
        return []
    found = []
    if spec.space != "delta" or spec.param("lambda") is None:
        message = f"`layer_scaling` scales merged deltas; {spec.name} has no `lambda`"
        found.append(Finding("ill-placed-parameter", message, at, "take it out", "layer_scaling", on_key=True))
    for path, value in _numbers_of(scaling):
        if not math.isfinite(value):
            message = f"`{path[0]}` should be finite, found {described(value)}"
            found.append(Finding("out-of-range", message, (*at, *path), None, str(path[0])))
    return found


def _numbers_of(scaling: LayerScaling) -> Iterator[tuple[DocumentPath, float]]:
    """Every number of a layer scaling with its place in it."""
    for name, value in asdict(scaling).items():
        if isinstance(value, float):
            yield (name,), value
        elif isinstance(value, tuple):
            yield from (((name, index), one) for index, one in enumerate(value))


def zero_sum_findings(recipe: Recipe, spec: MethodSpec) -> list[Finding]:
    """Plain weights that sum to zero where the result is divided by their sum; gradients and filters are left out."""
    return [finding for group in groups(recipe) if _is_divided(spec, group) for finding in _zero_sum(group, spec)]


def _zero_sum(group: Group, spec: MethodSpec) -> Iterator[Finding]:
    weights = [_weight(spec, member, group) for member in group.merged(spec)]
    known = [weight for weight, _ in weights if weight is not None]
    if weights and len(known) == len(weights) and vanishes(known):
        message = f"the values of `{spec.divides_by}` should not sum to 0: {spec.name} divides by their sum"
        hint = f"change one, or set `{spec.divides_when}: false`" if spec.param(spec.divides_when) else "change one"
        yield Finding("zero-weight-sum", message, weights[0][1], hint, spec.divides_by)


def _weight(spec: MethodSpec, member: Member, group: Group) -> tuple[float | None, DocumentPath]:
    """A model's weight, `None` unless a plain number at the first level that has one; and where it stands."""
    name = spec.divides_by or ""
    for level in (member.level, *group.levels):
        if name in level.parameters:
            value = level.parameters[name]
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            return (float(value) if is_number else None), level.path_of(name)  # type: ignore[arg-type]
    param = spec.param(name)
    default = None if param is None or param.default is None else float(param.default)
    return default, member.path


def _is_divided(spec: MethodSpec, group: Group) -> bool:
    """Whether the division surely takes place: a switch that is not one plain value may be off somewhere."""
    switches = [p for name in (spec.divides_when, *spec.divides_if) if (p := spec.param(name)) is not None]
    values = {switch.name: _plain(switch, group) for switch in switches}
    return None not in values.values() and spec.divides(values)


def _plain(param: Param, group: Group) -> Scalar | None:
    """The value of a shared parameter where it is one plain value."""
    given = [level.parameters[param.name] for level in group.levels if param.name in level.parameters]
    value = given[0] if given else param.default
    return value if isinstance(value, bool | int | float | str) else None


def notes_on(recipe: Recipe, spec: MethodSpec) -> tuple[str, ...]:
    """What the recipe says without effect; see `cuvee.recipe.notes`."""
    names = [name for level, _ in all_levels(recipe) for name in level.parameters]
    ignored = [name for name in dict.fromkeys(names) if (param := spec.param(name)) is not None and param.ignored]
    said = [f"`{name}` changes nothing for {spec.name}" for name in ignored]
    if spec.base != "input":
        bases = [group.base_member for group in groups(recipe)]
        models = dict.fromkeys(str(base.model) for base in bases if base is not None and base.level.parameters)
        said += [f"parameters of the base model `{model}` change nothing for {spec.name}" for model in models]
    if any(ref.override_architecture for ref, _ in references(recipe)):
        said.append("`override_architecture` changes nothing: tensors are read off the checkpoints themselves")
    return tuple(said)
