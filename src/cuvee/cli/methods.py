"""`cuvee methods`: the merge methods, and what one of them means."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.console import plain
from cuvee.cli.options import COMMON, Common
from cuvee.cli.tables import Column, facts, table
from cuvee.cli.words import setting
from cuvee.errors import RecipeError, UsageError

if TYPE_CHECKING:
    from cuvee.types import Cite, MethodSpec, Param

_SPACES = {"weight": "weights", "delta": "deltas from the base"}


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
    return {**asdict(spec), "params": params, "models": {"fewest": spec.models[0], "most": spec.models[1]}}


def _list(specs: Mapping[str, MethodSpec]) -> Iterator[RenderableType]:
    columns = [Column("method"), Column("works on"), Column("what it does")]
    yield table(columns, ([s.name, s.space + "s", s.summary] for s in specs.values()))
    yield ""
    yield "`cuvee methods NAME` explains one."


def explanation(spec: MethodSpec) -> Iterator[RenderableType]:
    """What a method means, from its declaration."""
    yield f"{spec.name} — {spec.summary}"
    yield ""
    yield from textwrap.indent(spec.formula, "    ").splitlines()
    yield ""
    yield facts([("works on", _SPACES[spec.space]), ("models", _models(spec)), ("base", _base(spec))])
    yield ""
    shown = [param for param in spec.params if not param.ignored]
    if shown:
        yield table(
            [Column("parameter"), Column("range"), Column("default"), Column("given"), Column("meaning")],
            ([p.name, p.range, _default(p), "per model" if p.per_model else "once", p.doc] for p in shown),
        )
        yield ""
    yield from _about(spec)


def _about(spec: MethodSpec) -> Iterator[RenderableType]:
    """Accepted parameters, laws, sources and differences."""
    ignored = ", ".join(param.name for param in spec.params if param.ignored)
    yield facts([("accepted, changes nothing", ignored), ("laws", ", ".join(spec.laws))])
    for heading, entries in (("From", [source(c) for c in spec.cite]), ("Differs from other tools", spec.differs)):
        if entries:
            yield ""
            yield plain(heading, "bold")
            yield facts(("–", entry) for entry in entries)


def source(cite: Cite) -> str:
    """A citation on one line."""
    where = f"arXiv:{cite.arxiv}" if cite.arxiv else cite.url
    return f"{cite.text} ({where})" if where else cite.text


def _default(param: Param) -> str:
    if param.required:
        return "required"
    return "–" if param.default is None else setting(param.default)


def _models(spec: MethodSpec) -> str:
    """Fewest and most models, and whether the base is one of them."""
    fewest, most = spec.models
    number = f"{fewest} or more" if most is None else str(fewest) if fewest == most else f"{fewest} to {most}"
    return number if spec.base == "input" else f"{number} besides the base"


def _base(spec: MethodSpec) -> str:
    words = {
        "required": "required",
        "optional": "optional",
        "input": "none needed; one that is given counts as one more model",
    }
    return words[spec.base]
