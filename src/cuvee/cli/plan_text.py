"""A plan for people: the models, what is done, what it costs, and the parameters layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType
from rich.text import Text

from cuvee.cli.console import one_line, plain
from cuvee.cli.outlook import Outlook, arithmetic, copied_by_reason, effects_of
from cuvee.cli.stages_text import stages_text
from cuvee.cli.tables import Column, FirstThatFits, facts, table
from cuvee.cli.words import counted, duration, fates, in_millions, setting, shortened, span, summary
from cuvee.errors import listed

if TYPE_CHECKING:
    from cuvee.planning import Effect, Plan


_PLACE: Final = (Column("layers"), Column("part"), Column("tensors", True))


def plan_text(outlook: Outlook) -> Iterator[RenderableType]:
    """Everything a plan says but the single tensors."""
    plan = outlook.plan
    yield f"{outlook.recipe}: {summary(plan.recipe)}"
    yield ""
    yield _models(plan)
    yield ""
    yield from stages_text(plan)
    yield facts([*_work(plan), *_costs(outlook)])
    shared, rows = _apart(together(effects_of(plan)))
    yield ""
    yield plain("Parameters, layer by layer", "bold")
    yield _effects(plan, rows)
    if shared:
        yield ""
        yield f"everywhere: {', '.join(f'{name} {setting(value)}' for name, value in shared.items())}"
    yield from (f"note: {note}" for note in plan.notes)


def _models(plan: Plan) -> RenderableType:
    columns = [Column("#", True), Column("model"), Column("tensors", True), Column("parameters", True)]
    columns += [Column("size", True), Column("dtypes"), Column("layers", True), Column("role")]
    return table(columns, (_model(plan, number) for number in range(len(plan.models))))


def _model(plan: Plan, number: int) -> list[str]:
    from cuvee.checkpoint.layout import format_size

    model = plan.models[number]
    roles = [word for word, holds in (("base", model.is_base), ("donor", number == plan.donor)) if holds]
    layers = "+".join(str(count) for count in model.layers.values()) or "–"
    size, dtypes = format_size(model.nbytes), ", ".join(model.dtypes)
    parameters = in_millions(model.parameters)
    return [str(number + 1), str(model.ref), f"{model.tensors:,}", parameters, size, dtypes, layers, ", ".join(roles)]


def _work(plan: Plan) -> Iterator[tuple[str, str]]:
    """What becomes of tensors, configuration and files."""
    yield "tensors", fates(plan.merged, plan.copied, plan.lost, len(plan.tied))
    yield "", ""
    yield "copied", "\n".join(f"{count:,} ({reason})" for reason, count in copied_by_reason(plan).items())
    yield "left out", f"{counted(plan.left_out, 'tensor')} that the slices do not ask for" if plan.left_out else ""
    yield "arithmetic", "\n".join(_rounding(found) for found in arithmetic(plan))
    changes = [
        f"{key}: {'left out' if value is None else shortened(value)}" for key, value in plan.config_changes.items()
    ]
    if plan.vocabulary is not None:
        found = plan.vocabulary
        rows = "" if found.rows == found.tokens else f", {found.rows:,} rows"
        yield "vocabulary", f"{found.source}: {found.tokens:,} tokens{rows}"
    yield "config.json", "\n".join(changes) or ("as in the donor" if plan.config_text is not None else "")
    yield "side files", listed((file.name for file in plan.side_files), most=8)


def _rounding(found: Mapping[str, Any]) -> str:
    """How merged tensors are computed and written."""
    if found["work"] == found["dtype"]:
        return f"accumulated and written in {found['work']}"
    return f"accumulated in {found['work']}, rounded once to {found['dtype']}"


def _costs(outlook: Outlook) -> Iterator[tuple[str, str]]:
    """Bytes, memory and disk."""
    from cuvee.checkpoint.layout import format_size

    cost, workers, disk = outlook.cost, outlook.workers, outlook.disk
    yield "read, write", f"{format_size(cost.read)}, {format_size(cost.write)}"
    who = f"{counted(workers.threads, 'thread')}, tiles of {workers.tile:,} elements"
    yield "peak memory", f"at most {format_size(cost.memory)} besides file cache ({who})"
    yield "time", _time(outlook)
    verdict = "" if disk.enough else " — not enough"
    yield "disk", f"{format_size(disk.needed)} needed, {format_size(disk.free)} free at {disk.path}{verdict}"
    given = "--overwrite replaces it" if outlook.overwrite else "--overwrite will be needed"
    yield "output", f"{outlook.out} is there already: {given}" if outlook.occupied else ""


def _time(outlook: Outlook) -> str:
    """Seconds, and what they rest on."""
    made, basis = outlook.forecast.prediction, outlook.forecast.basis
    rest = {
        "measured": "as measured here",
        "measured-elsewhere": "as measured here, on another disk",
        "assumed": "on a small server; `cuvee env --calibrate` measures this machine",
    }
    return f"about {duration(made.seconds)}, {duration(made.start)} of it to start ({made.form} kernels; {rest[basis]})"


def together(effects: Sequence[Effect]) -> list[Effect]:
    """Parts of the same layers that are treated alike, in one row; `all` for all parts of a stack."""
    everything: dict[str, set[str]] = {}
    groups: dict[str, list[Effect]] = {}
    for effect in effects:
        everything.setdefault(effect.stack, set()).add(effect.group)
        alike = (effect.stack, effect.layers, effect.action, sorted(effect.values.items()), effect.models)
        groups.setdefault(repr(alike), []).append(effect)
    rows = []
    for found in groups.values():
        first, names = found[0], [effect.group for effect in found]
        whole = first.layers is not None and set(names) == everything[first.stack]
        group = "all" if whole else listed(map(one_line, names), between=",\n")  # the only line ends in it are ours
        rows.append(replace(first, group=group, tensors=sum(e.tensors for e in found)))
    return rows


def _apart(rows: Sequence[Effect]) -> tuple[Mapping[str, Any], list[Effect]]:
    """Shared parameters that are the same in every merged row, and the rows without them."""
    merged = [row.values for row in rows if row.action == "merge"]
    first = merged[0] if merged else {}
    shared = {
        name: value
        for name, value in first.items()
        if not isinstance(value, tuple) and all(values.get(name) == value for values in merged)
    }
    return shared, [
        replace(row, values={name: value for name, value in row.values.items() if name not in shared}) for row in rows
    ]


def _effects(plan: Plan, rows: Sequence[Effect]) -> RenderableType:
    """One column per parameter and model where there is room for them, else one per parameter."""
    short = short_names(plan)
    return FirstThatFits([_spread(rows, short), _compact(rows, short)])


def _spread(rows: Sequence[Effect], short: Mapping[str, str]) -> RenderableType:
    """A column for every parameter of every model; an empty cell is a model that takes no part."""
    cells = [_cells(row, short) for row in rows]
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    keys = list(dict.fromkeys(key for name in names for row in cells for key in row if key[0] == name))
    columns = [Column(f"{name}\n{model}".strip(), True) for name, model in keys]
    copies = [_copied(row, short) for row in rows]
    if any(copies):
        columns = [Column(""), *columns]
    places = _places(rows)
    body = [
        [*place, *([copy] if any(copies) else []), *(row.get(key, "") for key in keys)]
        for place, copy, row in zip(places, copies, cells, strict=True)
    ]
    return table([*_PLACE, *columns], body)


def _compact(rows: Sequence[Effect], short: Mapping[str, str]) -> RenderableType:
    """A column for every parameter, with one value per model in the order of the column before."""
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    body = []
    for place, row in zip(_places(rows), rows, strict=True):
        models = _copied(row, short) or " ".join(short[model] for model in row.models)
        body.append([*place, models, *(setting(row.values[n]) if n in row.values else "" for n in names)])
    return table([*_PLACE, Column("models"), *(Column(name, True) for name in names)], body)


def _cells(row: Effect, short: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Values by parameter and model; by parameter alone for shared ones."""
    found: dict[tuple[str, str], str] = {}
    for name, value in row.values.items():
        if not isinstance(value, tuple):
            found[name, ""] = setting(value)
            continue
        for model, one in zip(row.models, value, strict=True):
            before = found.get((name, short[model]))  # a model may come in twice, with different layers
            found[name, short[model]] = setting(one) if before is None else f"{before} {setting(one)}"
    return found


def short_names(plan: Plan) -> Mapping[str, str]:
    """A short name for every model: the end of its path where that tells them apart, else its number in the table."""
    ends = {model.label: PurePath(str(model.ref)).name for model in plan.models}
    clear = len(set(ends.values())) == len(plan.models) and all(0 < len(end) <= 12 for end in ends.values())
    return ends if clear else {model.label: f"#{number}" for number, model in enumerate(plan.models, 1)}


def _places(rows: Sequence[Effect]) -> list[list[str | Text]]:
    """Layers, part and number of tensors; the stack stands with the layers where there are several stacks."""
    several = len({row.stack for row in rows if row.layers}) > 1
    where = [f"{row.stack} {span(row.layers)}" if several and row.layers else span(row.layers) for row in rows]
    return [[place, plain(row.group), f"{row.tensors}"] for place, row in zip(where, rows, strict=True)]


def _copied(row: Effect, short: Mapping[str, str]) -> str:
    """Where a copy comes from; empty for what is merged."""
    return f"copied from {short[row.models[0]]}" if row.action == "copy" else ""
