"""Whether a stack of moved layers makes a model that loads.

Names and shapes are the whole of what a plan knows, and a class may ask for more: a tensor that its configuration puts
into the layers of certain numbers, or one outside the layers whose size grows with their number. So the class is asked,
on the meta device, with names and shapes and no data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from cuvee.errors import Fault, UsageError, listed
from cuvee.families import spot_of
from cuvee.families.pretrained import fit_report
from cuvee.families.report import LoadReport
from cuvee.planning.model import Step
from cuvee.planning.slots import Opened, Stacking

_SHOWN = 6


def fit_findings(
    opened: Sequence[Opened], stackings: Sequence[Stacking], steps: Sequence[Step], config_text: str | None
) -> tuple[list[Fault], list[str]]:
    """Faults of a stack that would not load, and notes where that could not be found out though it is in doubt.

    A first model that does not load cleanly by itself (it has tensors of its own, say) can prove nothing against the
    stack.
    """
    if config_text is None or not any(_moves(opened, stacking) for stacking in stackings):
        return [], []
    doubts = [text for stacking in stackings for text in _uneven_moves(opened, stacking)]
    report = _report(json.loads(config_text), {step.out.name: step.out.shape for step in steps})
    if report is not None and report.clean:
        return [], []
    alone = _report(opened[0].reader.config or {}, {n: spec.shape for n, spec in opened[0].reader.specs.items()})
    if report is None or alone is None or not alone.clean:
        return [], [f"{text}; whether the result loads could not be found out" for text in doubts]
    message = f"{alone.architecture} cannot be built from these layers: {_told(report)}"
    hint = doubts[0] if doubts else "choose layer ranges that keep the order of the layers, or another number of them"
    return [Fault("layers-unrepresentable", message, subject=alone.architecture, hint=hint)], []


def _report(config: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]]) -> LoadReport | None:
    try:
        return fit_report(config, shapes)
    except UsageError:  # transformers is not installed
        return None


def _told(report: LoadReport) -> str:
    """The first things that do not fit."""
    sizes = (f"{m.name} ({list(m.found)} where {list(m.expected)} is wanted)" for m in report.mismatched)
    found = [*(f"{n} (missing)" for n in report.missing), *(f"{n} (no place)" for n in report.unexpected), *sizes]
    found += report.failed
    return listed(found, _SHOWN)


def _moves(opened: Sequence[Opened], stacking: Stacking) -> bool:
    """Whether any layer comes to another number, or their count changes."""
    stack = opened[0].anatomy.stack(stacking.prefix)
    layers = [layer for _, layer in stacking.sources]
    return stack is None or layers != list(range(stack.count - stack.extra))


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
