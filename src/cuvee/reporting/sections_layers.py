"""The section on what became of every layer: heat maps of each model, and how the changes of a tensor are spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cuvee.reporting import charts
from cuvee.reporting.cast import short_names
from cuvee.reporting.evidence import Evidence
from cuvee.reporting.figures import Figure
from cuvee.reporting.layers import BINS, Figures
from cuvee.reporting.looked import Looked
from cuvee.reporting.markup import Html, joined, table, tag
from cuvee.reporting.parts import Section, absent, chart, grid, notes
from cuvee.reporting.words import figure

_MERGE: Final = "this merge"
_BASED: Final = (
    (
        "Cosine",
        "between the model’s changes and the merge’s, ⟨δₖ, δ⟩ / (‖δₖ‖ ‖δ‖): 1 where the merge went the same way",
    ),
    ("Norm ratio", "size of the model’s changes beside the base, ‖δₖ‖ / ‖b‖"),
    (
        "Sign conflict",
        "share of the entries that the model changed whose sign is not that of the sum over models, Σⱼ δⱼ",
    ),
)
_UNBASED: Final = (
    ("Cosine", "between the model’s weights and the merge’s, ⟨θₖ, θ*⟩ / (‖θₖ‖ ‖θ*‖); there is no base to count from"),
    ("Norm ratio", "distance from the mean of the models beside that mean, ‖θₖ − m‖ / ‖m‖"),
    ("Sign conflict", "share of the model’s entries whose sign is not that of the sum over models, Σⱼ θⱼ"),
)
_KEYS: Final = ("cosine", "ratio", "conflict")
MAPS: Final = tuple(f"map-{key}" for key in _KEYS)
"""Names of the heat maps."""


def layers(evidence: Evidence, looked: Looked) -> tuple[Section, Mapping[str, Any]]:
    """The section, and what its selectors choose from."""
    if not looked.cells or looked.applied is None:
        why = looked.why or "tensors were copied as they are, so that there are no changes to measure"
        return Section("layers", "Layer by layer", absent(f"No figures: {why}"), is_told=False), {}
    names = _names(looked)
    data = _data(looked, names)
    words = _BASED if looked.cells[0].based else _UNBASED
    maps = tuple(_map(number, looked, names, words[number]) for number in range(3))
    shown = next(iter(names.values()))
    spread = _histogram(data, shown)
    body = joined(
        [
            tag("p", _how(looked, evidence)),
            _totals(looked, names, words),
            _chooser(names),
            grid([*(chart(one, width=340) for one in maps), tag("div", chart(spread, width=340), _tensors(data))]),
            notes(looked.notes),
        ]
    )
    return Section("layers", "Layer by layer", body, (*maps, spread)), data


def _names(looked: Looked) -> dict[int, str]:
    """Short names of the models that have figures."""
    assert looked.applied is not None
    found = sorted({number for cell in looked.cells for number in cell.models})
    short = short_names([looked.applied.models[number] for number in found])
    return {number: short[looked.applied.models[number]] for number in found}


def _how(looked: Looked, evidence: Evidence) -> str:
    read = sum(cell.entries for cell in looked.cells)
    of = sum(cell.of for cell in looked.cells)
    based = looked.cells[0].based
    start = (
        "δ is what was changed from the base b"
        if based
        else "without a base, δ is the difference from the mean m of the models"
    )
    how = "all" if read == of else f"{read:,} of {of:,}, in blocks spread evenly over each tensor,"
    where = f"the tensors of {evidence.folder.absolute().name} and of its inputs"
    return f"Measured in {where}: {start}; {how} entries were read."


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _figures(one: Figures) -> list[float | None]:
    return [_rounded(getattr(one, key)) for key in _KEYS]


def _data(looked: Looked, names: Mapping[int, str]) -> dict[str, Any]:
    """Everything that the selectors choose from: figures and histograms by cell and model."""
    cells = [
        {
            "layer": cell.layer,
            "part": cell.part,
            "edge": float(f"{cell.edge:.6g}"),
            "entries": cell.entries,
            "models": {names[number]: [*_figures(one), list(one.counts)] for number, one in cell.models.items()},
            "merged": [*_figures(cell.merged), list(cell.merged.counts)],
        }
        for cell in looked.cells
    ]
    return {"bins": BINS, "names": list(names.values()), "cells": cells}


def _map(number: int, looked: Looked, names: Mapping[int, str], words: tuple[str, str]) -> Figure:
    title, what = words
    assert looked.applied is not None
    parts = list(dict.fromkeys(cell.part for cell in looked.cells))
    rows = [
        {
            "x": cell.layer,
            "y": cell.part,
            "model": names[model],
            "value": (own := _figures(one)[number]),
            "label": figure(own),
        }
        for cell in looked.cells
        for model, one in cell.models.items()
    ]
    present = {cell.layer for cell in looked.cells}
    columns = [layer for layer in looked.applied.layers if layer in present]
    found = [value for cell in looked.cells for one in cell.models.values() if (value := _figures(one)[number])]
    highest = max(found, default=1.0)
    domain = (-1.0, 1.0) if number == 0 else (0.0, max(highest, 0.5) if number == 2 else highest)
    chosen = next(iter(names.values()))
    spec = charts.heat(rows, columns, parts, title=title.lower(), domain=domain, diverging=number == 0, chosen=chosen)
    values = {(row["y"], row["x"]): str(row["label"]) for row in rows if row["model"] == chosen}
    body = tuple((part, *(values.get((part, layer), "–") for layer in columns)) for part in parts)
    said = f"{what[0].upper()}{what[1:]}."
    return Figure(MAPS[number], title, said, spec, (f"part ({chosen})", *columns), body)


def _totals(looked: Looked, names: Mapping[int, str], words: Sequence[tuple[str, str]]) -> Html:
    """The figures of every model in the mean over the cells, by their entries."""
    rows: list[list[str]] = []
    for number, name in names.items():
        own = [(cell.models[number], cell.of) for cell in looked.cells if number in cell.models]
        rows.append([name, *(_mean(own, key) for key in _KEYS)])
    merged = [(cell.merged, cell.of) for cell in looked.cells]
    rows.append([_MERGE, "–", *(_mean(merged, key) for key in _KEYS[1:])])
    columns = ("model", *(word for word, _ in words))
    return table(columns, rows, "Every model, in the mean over all tensors by their entries")


def _mean(found: Sequence[tuple[Figures, int]], key: str) -> str:
    told = [(getattr(one, key), size) for one, size in found if getattr(one, key) is not None]
    return figure(sum(value * size for value, size in told) / sum(size for _, size in told)) if told else "–"


def _chooser(names: Mapping[int, str]) -> Html:
    options = [tag("option", name, value=name) for name in names.values()]
    words = "The maps show one model at a time; a click on a cell shows how its changes are spread."
    label = tag("label", "Model", for_="layer-model")
    chosen = tag("div", label, tag("select", options, id="layer-model"), tag("p", words), class_="chooser", hidden=True)
    return joined([chosen, tag("p", f"On paper the maps show {next(iter(names.values()))}.", class_="paper")])


def _tensors(data: Mapping[str, Any]) -> Html:
    options = [
        tag("option", f"{cell['part']}, layer {cell['layer']}", value=number)
        for number, cell in enumerate(data["cells"])
    ]
    label = tag("label", "Tensor", for_="layer-tensor")
    said = tag("output", id="layer-said", for_="layer-model layer-tensor", aria_live="polite")
    return tag("div", label, tag("select", options, id="layer-tensor"), said, class_="chooser", hidden=True)


def _histogram(data: Mapping[str, Any], shown: str) -> Figure:
    """Of the first cell; the page puts in others."""
    cell = data["cells"][0]
    own = next(iter(cell["models"].values()))
    rows = [
        row
        for series, one in zip(("model", _MERGE), (own, cell["merged"]), strict=True)
        for row in bins(cell, one[3], series)
    ]
    said = f"How the changes of {cell['part']}, layer {cell['layer']}, are spread: of {shown}, and of the merge. "
    said += "What lies beyond the ends is counted in the last bars."
    half = len(rows) // 2
    body = tuple(
        (f"{row['from']:.2e} to {row['to']:.2e}", f"{row['share']:.2%}", f"{rows[half + number]['share']:.2%}")
        for number, row in enumerate(rows[:half])
    )
    return Figure("spread", "Changes of one tensor", said, charts.histogram(rows), ("change", shown, _MERGE), body)


def bins(cell: Mapping[str, Any], counts: Sequence[int], series: str) -> list[dict[str, Any]]:
    """A histogram's bars."""
    width, total = 2 * cell["edge"] / len(counts), sum(counts) or 1
    return [
        {
            "from": float(f"{number * width - cell['edge']:.6g}"),
            "to": float(f"{(number + 1) * width - cell['edge']:.6g}"),
            "share": count / total,
            "series": series,
        }
        for number, count in enumerate(counts)
    ]
