"""Which tasks a recipe's models are, what they are called, and which recipes a pack can be made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from cuvee.checkpoint.pack_form import is_task_name, mask_name
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault
from cuvee.planning.model import Plan, Step
from cuvee.planning.whole import merged_steps
from cuvee.recipe import Recipe
from cuvee.types import MethodSpec, ModelRef


def recipe_faults(recipe: Recipe, spec: MethodSpec) -> Iterator[Fault]:
    """Why a recipe cannot be packed, whatever its models hold."""
    if spec.space != "delta":
        message = f"a pack holds what is added to a base; {spec.name} merges the models' weights as they are"
        hint = "take a method that works on deltas, such as emr, task_arithmetic or ties"
        yield Fault("wrong-value", message, subject="merge_method", hint=hint)
    for name in ("slices", "modules"):
        if getattr(recipe, name):
            message = f"a pack is made of whole models; the recipe has `{name}`"
            yield Fault("not-yet", message, subject=name, hint="list them under `models`")
    base = recipe.base_model
    if base is not None and recipe.inner(base) is not None:
        message = f"{base}: the base of a pack must be a model that stays where it is, and this is a recipe"
        yield Fault("not-yet", message, subject=str(base), hint="merge it into a folder first, and name that")
    elif base is not None and base.placing is not None:
        message = f"{base}: the base of a pack must be a whole model, and this is a part of one"
        yield Fault("not-yet", message, subject=str(base), hint="write the part into a folder first, and name that")
    elif base is not None and "#" in base.path:
        message = f"{base}: the base of a pack must be a whole model, with no `#` in its name"
        yield Fault("not-yet", message, subject=str(base), hint="write a task out with `cuvee unpack`, or rename it")


def changed_steps(plan: Plan) -> list[Step]:
    """The steps whose output is more than a copy of the base's tensor."""
    return merged_steps(plan.steps)


def plan_faults(plan: Plan, readers: Sequence[Reader]) -> Iterator[Fault]:
    """Why the plan of a recipe cannot be packed: tensors that do not come from the base and all tasks alike."""
    steps = changed_steps(plan)
    if not steps:
        message = "there is nothing to pack: every tensor of the output is a copy"
        yield Fault("wrong-value", message, hint="does the recipe list models besides the base?")
        return
    if uneven := _uneven_parts(plan, steps):
        yield uneven
        return
    first = models_of(steps[0])
    changed = {step.out.name for step in steps}
    for step in plan.steps:
        name = step.out.name
        if name in changed and (models_of(step) != first or step.base is None):
            message = f"tensor {name}: a pack needs it from every model"
            yield Fault("missing-tensor", message, subject=name, hint="leave `missing` out of the recipe")
        if name not in changed and source_of(step, plan, readers) is None:
            message = f"tensor {name}: it is not in the base, and a pack holds nothing but changes of the base"
            yield Fault("missing-tensor", message, subject=name, hint="leave `missing` out of the recipe")


def _uneven_parts(plan: Plan, steps: Sequence[Step]) -> Fault | None:
    """That partial models stand for another part than the other tasks: told once, not once per tensor."""
    partial = [str(facts.ref) for facts in plan.models if facts.ref.is_partial]
    if not partial or len({models_of(step) for step in steps}) == 1:
        return None
    message = f"tasks of a pack must be whole models, or all stand for the same part; found {', '.join(partial)}"
    hint = "pack those of one part by themselves, or merge each into its whole model first"
    return Fault("part-mismatch", message, subject=partial[0], hint=hint)


def models_of(step: Step) -> tuple[int, ...]:
    """The models that a tensor is merged of, the base aside."""
    return tuple(piece.model for piece in step.inputs)


def base_number(plan: Plan) -> int:
    """The base's number among the models."""
    return next(i for i, facts in enumerate(plan.models) if facts.is_base)


def source_of(step: Step, plan: Plan, readers: Sequence[Reader]) -> str | None:
    """The base's tensor that an output tensor starts from, or is; `None` where the base has none."""
    base = base_number(plan)
    if step.base is not None and step.action == "merge":
        return step.base.tensor
    piece = step.inputs[0]
    if piece.model == base:
        return piece.tensor
    found = readers[base].specs.get(step.out.name)
    alike = found is not None and found.shape == step.out.shape and not step.must_equal
    return step.out.name if alike and step.out.numel == 0 else None


def task_names(models: Sequence[ModelRef]) -> list[str]:
    """A name for every model: the last part of its path, with the part before it where that is not enough.

    Example:
        >>> task_names([ModelRef("runs/cars"), ModelRef("org/pets"), ModelRef("other/pets"), ModelRef("runs/cars")])
        ['runs-cars', 'org-pets', 'other-pets', 'runs-cars-2']
    """
    short = [_plain(_parts(ref)[-1:]) for ref in models]
    seen = Counter(name.casefold() for name in short)
    named = [
        _plain(_parts(ref)[-2:]) if seen[name.casefold()] > 1 else name for name, ref in zip(short, models, strict=True)
    ]
    taken: set[str] = set()
    return [_free(name, taken) for name in named]


def _parts(ref: ModelRef) -> list[str]:
    parts = [part for part in PurePosixPath(ref.path.replace("\\", "/")).parts if part not in ("/", ".", "..", "~")]
    return [*parts[:-1], parts[-1].removesuffix(".safetensors")] if parts else ["task"]


def _plain(parts: Sequence[str]) -> str:
    text = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(parts)).strip(".-")[:80].rstrip(".-")
    return text if is_task_name(text) else "task"


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first numbered one that is free; capitals make no difference, because of some file systems."""
    number, free = 1, name
    while free.casefold() in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free.casefold())
    return free


def clash_faults(steps: Sequence[Step], tasks: Sequence[str]) -> Iterator[Fault]:
    """Tensors that are called as a mask would be."""
    names = {step.out.name for step in steps}
    for step in steps:
        for task in tasks:
            if (mask := mask_name(step.out.name, task)) in names:
                message = f"tensor {mask} is called as the mask of {step.out.name} would be"
                yield Fault("not-yet", message, subject=mask, hint=f"give the model {task} another name")


def models_bytes(plan: Plan) -> int:
    """Bytes of all models that the tasks stand for."""
    return sum(plan.models[i].nbytes for i in models_of(changed_steps(plan)[0]))
