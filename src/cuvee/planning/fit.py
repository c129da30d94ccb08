"""Whether moved layers fit where they now stand.

Most models are made of layers that all have the same tensors, and then any order of them loads. Where a layer lacks a
tensor that its new place asks for, or brings one that has no place there, only the model's class can tell: it is asked
on the meta device, with names and shapes and no data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from cuvee.errors import Fault, UsageError
from cuvee.families import spot_of
from cuvee.families.pretrained import fit_report
from cuvee.planning.model import Step
from cuvee.planning.slots import Opened, Stacking


def fit_findings(
    opened: Sequence[Opened], stackings: Sequence[Stacking], steps: Sequence[Step], config_text: str | None
) -> tuple[list[Fault], list[str]]:
    """Faults of a stack that would not load, and notes where that could not be found out."""
    moved = [text for stacking in stackings for text in _uneven_moves(opened, stacking)]
    if not moved or config_text is None:
        return [], []
    shapes = {step.out.name: step.out.shape for step in steps}
    try:
        report = fit_report(json.loads(config_text), shapes)
    except UsageError:
        report = None
    if report is None:
        return [], [f"{text}; whether the result loads could not be found out" for text in moved]
    if report.clean:
        return [], []
    lacking = ", ".join(
        [*(f"{n} (missing)" for n in report.missing), *(f"{n} (no place)" for n in report.unexpected)][:6]
    )
    message = f"{moved[0]}, and {report.architecture} cannot be told so: {lacking}"
    hint = "keep layers of another make-up at the numbers they have"
    return [Fault("layers-unrepresentable", message, subject=moved[0], hint=hint)], []


def _uneven_moves(opened: Sequence[Opened], stacking: Stacking) -> Iterator[str]:
    """Layers that now stand where their model had a layer of other tensors."""
    makeup = {model: _makeup(opened[model], stacking.prefix) for model, _ in stacking.sources}
    for output, (model, layer) in enumerate(stacking.sources):
        own = makeup[model]
        place = min(output, max(own, default=0))
        if place in own and own[place] != own.get(layer):
            yield f"layer {layer} of {opened[model].ref} has other tensors than layer {place}, whose place it takes"


def _makeup(model: Opened, prefix: str) -> dict[int, frozenset[str]]:
    """The names of the tensors of every layer, without prefix and number."""
    found: dict[int, set[str]] = {}
    for name in model.reader.specs:
        spot = spot_of(name)
        if spot and spot.prefix == prefix:
            found.setdefault(spot.index, set()).add(spot.rest)
    return {index: frozenset(rests) for index, rests in found.items()}
