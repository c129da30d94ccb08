"""What was collected of models, laid beside the tensors that it is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cuvee.errors import Fault
from cuvee.planning.model import Piece, Step
from cuvee.planning.slots import Ground, Slot
from cuvee.recipe.model import DocumentPath, ModelEntry
from cuvee.types import MethodSpec, TensorSpec, rows_of


def statistics_faults(ground: Ground, spec: MethodSpec) -> Iterator[Fault]:
    """Every model needs statistics where the method reads them, and none may have them where it does not."""
    lists: dict[DocumentPath, Sequence[ModelEntry]] = {("models",): ground.recipe.models}
    lists |= {("modules", name, "models"): module.models for name, module in ground.recipe.modules.items()}
    for path, entries in lists.items():
        for i, entry in enumerate(entries):
            is_base = entry.model == ground.recipe.base_model and spec.base != "input"
            if spec.collected is None and entry.statistics is not None:
                message = f"{spec.name} reads no statistics; found `{entry.statistics}` for `{entry.model}`"
                yield ground.fault("ill-placed-parameter", message, (*path, i, "statistics"), "take them out")
            elif spec.collected is not None and entry.statistics is None and not is_base:
                message = f"{spec.name} needs `statistics` for `{entry.model}`, found none"
                yield ground.fault("missing-parameter", message, (*path, i), _how(spec))
            elif spec.collected is not None and entry.statistics is not None:
                yield from _of_another(ground, entry, (*path, i, "statistics"))
    yield from _kind_faults(ground, spec)
    if spec.collected is not None and (ground.recipe.slices or any(m.slices for m in ground.recipe.modules.values())):
        message = f"{spec.name} merges whole models, found slices"
        yield ground.fault("ill-placed-parameter", message, ("slices",), "list the models under `models:`")


def _of_another(ground: Ground, entry: ModelEntry, path: DocumentPath) -> Iterator[Fault]:
    """A file that knows none of a model's tensors is of another one; all of them would be averaged."""
    assert entry.statistics is not None, "only called where there are some"
    reader = ground.collected[ground.number[entry.statistics]]
    if reader.specs.keys().isdisjoint(ground.opened[ground.number[entry.model]].reader.specs):
        example = min(reader.specs, default="nothing")
        message = f"`{entry.statistics}` has no tensor of `{entry.model}` in it; found {example} …"
        yield ground.fault("bad-statistics", message, path, "is it of another model?")


def _kind_faults(ground: Ground, spec: MethodSpec) -> Iterator[Fault]:
    """Files that say what they hold must hold what is read: a model is no statistic, and a statistic no model."""
    for model in ground.opened:
        if (kind := getattr(model.reader, "statistics", None)) is not None:
            message = f"{model.ref}: holds the statistics `{kind}` of a model, and is none"
            yield Fault("bad-statistics", message, None, str(model.ref), "write it as `statistics:` under its model")
    for reader in ground.collected.values():
        kind = getattr(reader, "statistics", None)
        if kind is not None and kind != spec.collected:
            message = f"{reader.label}: holds the statistics `{kind}`; {spec.name} reads `{spec.collected}`"
            yield Fault("bad-statistics", message, None, reader.label, _how(spec))


def _how(spec: MethodSpec) -> str:
    made = f"cuvee collect MODEL --kind {spec.collected} --data … -o FILE"
    return f"make them with `{made}`, and write `statistics: FILE` under the model"


def collected_of(
    ground: Ground, spec: MethodSpec, slot: Slot, out: TensorSpec
) -> tuple[tuple[Piece, ...], tuple[Fault, ...]]:
    """What was collected of every model about one tensor: of all of them, or of none."""
    if spec.collected is None:
        return (), ()
    numbers = [entry.statistics for entry in slot.entries]
    pieces = tuple(
        Piece(number, entry.tensor)
        for number, entry in zip(numbers, slot.entries, strict=True)
        if number is not None and entry.tensor in ground.collected[number].specs
    )
    if not pieces:
        return (), ()
    if len(pieces) < len(slot.entries):
        return (), (_uneven(ground, slot, pieces),)
    faults = [_shape_fault(ground, spec, piece, out) for piece in pieces]
    return pieces, tuple(fault for fault in faults if fault is not None)


def bytes_beside(ground: Ground, spec: MethodSpec, collected: Sequence[Piece]) -> int:
    """Bytes of what is read whole with every tile, because it has no number for each entry."""
    if spec.collected != "gram":
        return 0
    return sum(ground.collected[piece.model].specs[piece.tensor].nbytes for piece in collected)


def _uneven(ground: Ground, slot: Slot, pieces: Sequence[Piece]) -> Fault:
    having = ", ".join(ground.collected[piece.model].label for piece in pieces)
    message = f"tensor {slot.name}: every model needs a statistic of it, or none; found one in {having} only"
    hint = "collect the statistics of all models with one version and the same settings"
    return Fault("bad-statistics", message, subject=slot.name, hint=hint)


def _shape_fault(ground: Ground, spec: MethodSpec, piece: Piece, out: TensorSpec) -> Fault | None:
    """A diagonal is as large as its tensor; a Gram matrix as the rows of its tensor, or as its columns."""
    reader = ground.collected[piece.model]
    found = reader.specs[piece.tensor].shape
    rows, width = rows_of(out.shape)
    wanted = [out.shape] if spec.collected == "fisher" else [(width, width), (1, rows, rows)]
    if found in wanted:
        return None
    told = " or ".join(str(list(shape)) for shape in wanted)
    message = f"{reader.label}: the statistic of {piece.tensor} should have the shape {told}, found {list(found)}"
    hint = f"is it of another model, or of another kind than `{spec.collected}`?"
    return Fault("bad-statistics", message, subject=piece.tensor, hint=hint)


def statistics_notes(spec: MethodSpec, steps: Sequence[Step]) -> Iterator[str]:
    """How many merged tensors nothing was collected about."""
    lacking = [step.out.name for step in steps if step.action == "merge" and not step.collected]
    if spec.collected is not None and lacking:
        some = ", ".join(lacking[:3]) + (" …" if len(lacking) > 3 else "")
        yield f"{len(lacking)} tensors have no statistic ({spec.collected}) and are averaged: {some}"
