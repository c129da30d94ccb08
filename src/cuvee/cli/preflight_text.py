"""What `cuvee inspect` says of several models, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from cuvee.cli.tables import Column, facts, paragraph, table
from cuvee.cli.words import counted, in_millions

if TYPE_CHECKING:
    from cuvee.preflight.facts import Barrier, ModelFigures, PairFigures, Preflight, Reason

_BEFORE = {"stops": "no:", "care": "care:", "note": "note:"}


def data_of(found: Preflight, recipe: Path | None) -> dict[str, Any]:
    """Everything, as plain data; the suggestion's recipe as its own plain data."""
    from cuvee.recipe import to_data

    plain = {key: value for key, value in _shallow(found).items() if key != "suggestion"}
    suggestion = found.suggestion
    plain["suggestion"] = None if suggestion is None else {**_shallow(suggestion), "recipe": to_data(suggestion.recipe)}
    plain["barriers"] = [{**asdict(barrier), "sure": barrier.sure} for barrier in found.barriers]
    return {**plain, "recipe": None if suggestion is None else recipe}


def _shallow(thing: Any) -> dict[str, Any]:
    """A dataclass's fields, plain all the way down but for recipes."""
    values = {name: getattr(thing, name) for name in thing.__slots__}
    return {name: _plain(value) for name, value in values.items() if name != "recipe"}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return asdict(value) if hasattr(value, "__slots__") and hasattr(type(value), "__dataclass_fields__") else value


def text_of(found: Preflight, recipe: Path | None, *, layers: bool) -> Iterator[RenderableType]:
    """The verdict, its reasons, the figures, and what to begin with."""
    sample = found.sample
    share = f", {sample.entries / sample.of:.0%} of what the models have alike" if sample.of else ""
    yield facts(
        [
            ("verdict", found.verdict),
            ("base", f"{found.base.model}: {found.base.how}" if found.base.model else found.base.how),
            ("read", f"{in_millions(sample.entries)} entries of each model{share} (seed {sample.seed})"),
        ]
    )
    yield ""
    yield facts([(_BEFORE[reason.level], _said(reason)) for reason in found.reasons])
    if found.pairs:
        yield ""
        yield _pairs(found.pairs)
    if any(model.task_norm is not None for model in found.models):
        yield ""
        yield _models(found.models)
    if found.barriers:
        yield ""
        yield _barriers(found.barriers)
    if layers:
        yield from _layers(found)
    yield ""
    yield paragraph(_next(found, recipe))
    yield from (paragraph(f"note: {note}") for note in found.notes)


def _said(reason: Reason) -> str:
    return reason.text if reason.limit is None else f"{reason.text} [{reason.rule} {reason.limit}]"


def _figure(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else format(value, form)


def _pairs(pairs: tuple[PairFigures, ...]) -> RenderableType:
    headings = ("cosine", "distance", "task cosine", "signs", "overlap")
    columns = [Column("two models"), *(Column(heading, numbers=True) for heading in headings)]
    rows = (
        [
            f"{pair.a} – {pair.b}",
            _figure(pair.cosine),
            _figure(pair.distance),
            _figure(pair.task_cosine),
            _figure(pair.sign_conflict, ".0%"),
            "–" if pair.overlap is None else f"{pair.overlap.right:.2f} (chance {pair.overlap.by_chance:.2f})",
        ]
        for pair in pairs
    )
    return table(columns, rows)


def _models(models: tuple[ModelFigures, ...]) -> RenderableType:
    columns = [Column("model"), *(Column(h, numbers=True) for h in ("‖τ‖/‖base‖", "unchanged", "zeros", "rank"))]
    rows = (
        [m.model, _figure(m.task_norm), *(_figure(x, ".1%") for x in (m.unchanged, m.zeros, m.rank))]
        for m in models
        if not m.is_base
    )
    return table(columns, rows)


def _barriers(barriers: tuple[Barrier, ...]) -> RenderableType:
    columns = [Column("loss"), *(Column(h, numbers=True) for h in ("first", "halfway", "second", "barrier", "rows"))]
    rows = (
        [f"{b.a} – {b.b}", *(f"{loss:.3f}" for loss in b.losses), f"{b.barrier:+.3f} ± {b.stderr:.3f}", f"{b.rows}"]
        for b in barriers
    )
    return table(columns, rows)


def _layers(found: Preflight) -> Iterator[RenderableType]:
    """One table for each pair, and one for the norms of task vectors."""
    for pair in found.pairs:
        columns = [
            Column(f"{pair.a} – {pair.b}"),
            *(Column(h, numbers=True) for h in ("cosine", "task cosine", "signs")),
        ]
        rows = (
            [layer.layer, _figure(layer.cosine), _figure(layer.task_cosine), _figure(layer.sign_conflict, ".0%")]
            for layer in pair.layers
        )
        yield ""
        yield table(columns, rows)
    tuned = [model for model in found.models if model.layers]
    if tuned:
        yield ""
        columns = [Column("‖τ‖/‖base‖"), *(Column(model.model, numbers=True) for model in tuned)]
        names = dict.fromkeys(layer for model in tuned for layer in model.layers or ())
        yield table(columns, ([name, *(_figure((m.layers or {}).get(name)) for m in tuned)] for name in names))


def _next(found: Preflight, recipe: Path | None) -> str:
    if found.suggestion is None:
        stops = counted(sum(reason.level == "stops" for reason in found.reasons), "reason")
        written = "" if recipe is None else "; no recipe is written"
        return f"no method to begin with: {stops} above must go first{written}"
    where = (
        "--recipe FILE writes the recipe" if recipe is None else f"recipe written to {recipe}; `cuvee plan` shows it"
    )
    return f"begin with {found.suggestion.method}: {found.suggestion.why}; {where}"
