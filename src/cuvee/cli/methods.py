"""`cuvee methods`: the merge methods, and what one of them means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import plain
from cuvee.cli.options import COMMON, Common
from cuvee.cli.tables import Column, facts, table
from cuvee.cli.words import setting
from cuvee.errors import RecipeError, UsageError
from cuvee.types import FAMILIES

if TYPE_CHECKING:
    from cuvee.types import MethodSpec, Param


def methods(name: str | None = None, /, *, common: Common = COMMON) -> int:
    """List the merge methods, or explain one.

    The explanation of a method has its formula, its parameters with their
    ranges and defaults, where it comes from, the laws it keeps, and where its
    results differ from those of other tools.

    For example:

        cuvee methods
        cuvee methods ties
        cuvee methods ties --json

    Args:
        name: The method to explain; all are listed without it.
        common: How to print.
    """
    from cuvee import methods as known

    if name is None:
        specs = known.specs()
        data: Mapping[str, Any] = {"methods": [as_data(spec) for spec in specs.values()]}
        return deliver(Answer("methods", data, _list(specs)), common)
    try:
        spec = known.get(name).spec
    except RecipeError as error:  # no recipe is at fault when the name stands on the command line
        raise UsageError(error.faults) from None
    return deliver(Answer("methods", {"method": as_data(spec)}, explanation(spec)), common)


def as_data(spec: MethodSpec) -> dict[str, Any]:
    """Everything a method declares, ready for JSON."""
    params = [{**asdict(param), "range": param.range} for param in spec.params]
    declared = asdict(replace(spec, rule=None))
    del declared["rule"]
    return {**declared, "params": params, "models": {"fewest": spec.models[0], "most": spec.models[1]}}


def _list(specs: Mapping[str, MethodSpec]) -> Iterator[RenderableType]:
    """All methods by family, one line each."""
    for family, title in FAMILIES.items():
        members = [spec for spec in specs.values() if spec.family == family]
        if members:
            yield plain(title, "bold")
            yield facts((spec.name, spec.summary) for spec in members)
            yield ""
    yield "`cuvee methods NAME` explains one."


def explanation(spec: MethodSpec) -> Iterator[RenderableType]:
    """What a method means, from its declaration."""
    yield f"{spec.name} — {spec.summary}"
    yield ""
    yield from (f"    {line}" for line in spec.formula.splitlines())
    yield ""
    yield facts(_nature(spec))
    yield ""
    shown = [param for param in spec.params if not param.ignored]
    if shown:
        yield table(
            [Column("parameter"), Column("range"), Column("default"), Column("given"), Column("meaning")],
            ([p.name, p.range, _default(p), "per model" if p.per_model else "once", p.doc] for p in shown),
        )
        yield ""
    yield from _about(spec)


def _nature(spec: MethodSpec) -> list[tuple[str, str]]:
    """What it works on and needs; what there is nothing to say of is left out."""
    from cuvee.methods.pages import BASES, SPACES, models_wanted, scope_told

    collected = f"cuvee collect --kind {spec.collected}" if spec.collected else ""
    told = [("works on", SPACES[spec.space]), ("in", scope_told(spec)), ("models", models_wanted(spec))]
    return [*told, ("base", BASES[spec.base]), ("statistics", collected), ("costs", spec.cost)]


def _about(spec: MethodSpec) -> Iterator[RenderableType]:
    """A recipe, accepted parameters, laws, sources and differences."""
    from cuvee.methods.pages import example, source

    yield plain("Recipe", "bold")
    yield from (f"    {line}" for line in example(spec))
    yield ""
    ignored = ", ".join(param.name for param in spec.params if param.ignored)
    yield facts([("accepted, changes nothing", ignored), ("laws", ", ".join(spec.laws))])
    for heading, entries in (("From", [source(c) for c in spec.cite]), ("Differs from other tools", spec.differs)):
        if entries:
            yield ""
            yield plain(heading, "bold")
            yield facts(("–", entry) for entry in entries)


def _default(param: Param) -> str:
    if param.required:
        return "required"
    return "–" if param.default is None else setting(param.default)
