"""What a method that surveys all tensors first asks of a plan, and the settings that it sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cuvee.errors import Fault
from cuvee.planning.model import Step
from cuvee.types import MethodSpec


def merged_steps(steps: Sequence[Step]) -> list[Step]:
    """The steps that run the method on something."""
    return [step for step in steps if step.action == "merge" and step.out.numel]


def survey_faults(spec: MethodSpec, steps: Sequence[Step]) -> Iterator[Fault]:
    """A model is surveyed as a whole: every tensor must come from the same models, with the same settings."""
    merged = merged_steps(steps)
    if not any(step.scope == "model" for step in merged):
        return
    models = {tuple(piece.model for piece in step.pieces) for step in merged}
    if len(models) > 1:
        message = f"{spec.name} looks at whole models: every tensor must be merged from the same ones"
        yield Fault("ill-placed-parameter", message, subject=spec.name, hint="merge them without slices and modules")
    for name in merged[0].settings:
        values = {repr(step.settings[name]) for step in merged}
        if len(values) > 1:
            told = "lambda" if name == "lambda_" else name
            message = f"{spec.name} looks at whole models: `{told}` must be the same for every tensor"
            hint = "give it without gradient and filters"
            yield Fault("ill-placed-parameter", message, subject=told, hint=hint)
