"""`cuvee diff`: two models side by side, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common, Switch
from cuvee.cli.progress import metered
from cuvee.cli.tables import Column, table
from cuvee.cli.words import counted
from cuvee.errors import listed

if TYPE_CHECKING:
    from cuvee.execute.compare import Comparison, Row, Sums

_HUGE: Final = 1e6


def diff(a: str, b: str, /, *, base: str | None = None, parts: Switch = False, common: Common = COMMON) -> int:
    """Compare two models layer by layer.

    Told for every layer: the cosine of the angle between the models' weights,
    the ratio of their norms (b to a), the size of their difference relative to
    a, and in what share of the entries their signs are opposite. With --base
    all of this is about what each model changed in the base, and the difference
    is relative to the base. Integers and other tensors without such figures are
    told to be equal or different.

    For example:

        cuvee diff ./math ./code
        cuvee diff ./math ./code --base ./base
        cuvee diff ./base ./merged --parts

    Args:
        a: A model folder, weight file or hub id.
        b: The model to compare it with.
        base: What both were fine-tuned from.
        parts: Tell the parts of a layer (attention, MLP …) one by one.
        common: How to print.
    """
    from cuvee import api

    with metered("comparing", "tensor") as meter:
        found = api.diff(a, b, base=base, progress=meter)
    rows = found.rows if parts else whole_layers(found.rows)
    data = {"a": a, "b": b, "base": base, **_data(found)}
    return deliver(Answer("diff", data, _text(found, rows, base is not None)), common)


def whole_layers(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with the parts of every layer added up; tensors outside layers stay as they are."""
    from cuvee.execute.compare import Row

    sums: dict[tuple[str, int | None, str], Sums] = {}
    for row in rows:
        key = (row.stack, row.layer, row.group if row.layer is None else "")
        sums[key] = sums[key] + row.sums if key in sums else row.sums
    return tuple(Row(*key, total) for key, total in sums.items())


def _measures(sums: Sums) -> dict[str, Any]:
    return {
        "cosine": sums.cosine,
        "norm_ratio": sums.norm_ratio,
        "relative_difference": sums.relative_difference,
        "sign_conflict": sums.sign_conflict,
        "tensors": sums.tensors,
        "parameters": sums.entries,
    }


def _row(row: Row) -> dict[str, Any]:
    return {"stack": row.stack, "layer": row.layer, "part": row.group, **_measures(row.sums)}


def _data(found: Comparison) -> dict[str, Any]:
    return {
        "layers": [_row(row) for row in whole_layers(found.rows) if row.layer is not None],
        "parts": [_row(row) for row in found.rows],
        "total": _measures(found.total),
        "not_compared": {
            "only_a": found.only_a,
            "only_b": found.only_b,
            "not_in_base": found.not_in_base,
            "other_shape": found.other_shape,
        },
        "not_floats": {"different": found.different, "equal": found.equal},
    }


def _text(found: Comparison, rows: Sequence[Row], over_base: bool) -> Iterator[RenderableType]:
    several = len({row.stack for row in rows if row.layer is not None}) > 1
    columns = [Column("layer" if not several else "stack and layer"), Column("tensors", numbers=True)]
    columns += [Column(word, numbers=True) for word in ("cosine", "norm b/a")]
    columns += [Column("‖a−b‖/‖base‖" if over_base else "‖a−b‖/‖a‖", numbers=True), Column("signs", numbers=True)]
    body = [[_place(row, several), *_cells(row.sums)] for row in rows]
    yield table(columns, [*body, ["all", *_cells(found.total)]])
    yield ""
    yield from _without_figures(found)


def _without_figures(found: Comparison) -> Iterator[str]:
    """Tensors that the table says nothing of."""
    unlike = {"only in a": found.only_a, "only in b": found.only_b, "that the base lacks": found.not_in_base}
    for what, names in {**unlike, "of other shapes": found.other_shape}.items():
        if names:
            yield f"not compared: {counted(len(names), 'tensor')} {what} ({listed(names)})"
    for what, names in {"different": found.different, "equal": found.equal}.items():
        if names:
            yield f"no floats, and {what}: {counted(len(names), 'tensor')} ({listed(names)})"


def _place(row: Row, several: bool) -> str:
    """Where a row stands: the layer's number, with its stack if there are several; a name outside layers."""
    if row.layer is None:
        return row.group
    number = f"{row.stack}.{row.layer}" if several else str(row.layer)
    return f"{number} {row.group}" if row.group else number


def _cells(sums: Sums) -> list[str]:
    conflict = sums.sign_conflict
    return [
        f"{sums.tensors:,}",
        _figure(sums.cosine, ".4f"),
        _figure(sums.norm_ratio, ".4f"),
        _figure(sums.relative_difference, ".4g"),
        "–" if conflict is None else f"{100 * conflict:.1f} %",
    ]


def _figure(value: float | None, form: str) -> str:
    """A figure, a dash where there is none; a huge one in few digits, whatever the form."""
    if value is None:
        return "–"
    return format(value, form if abs(value) < _HUGE else ".4g")
