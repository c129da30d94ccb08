"""Models that stand for a part of the others: they have no say in anything outside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from cuvee.errors import Fault
from cuvee.families import input_embeddings, is_optional, is_vocabulary, spot_of
from cuvee.families.towers import tensors_of_part
from cuvee.planning.model import Step
from cuvee.planning.slots import Entry, Ground, Opened, Slot
from cuvee.planning.tying import is_head
from cuvee.recipe.grouping import references
from cuvee.recipe.model import Recipe
from cuvee.types import TensorSpec

_SHOWN: Final = 6
OUTSIDE: Final = "not in the part that is merged"
"""Why a tensor of the whole model is copied."""


def without_absent(ground: Ground, slot: Slot) -> tuple[Slot, Entry | None]:
    """A slot without the partial models that do not reach it; and the one whole model's entry, if no other is left."""
    left = tuple(entry for entry in slot.entries if not _is_outside(ground, slot.name, entry))
    if len(left) == len(slot.entries):
        return slot, None
    changed = replace(slot, entries=left)
    only = changed.everyone
    alone = only[0] if len(only) == 1 and only[0].tensor in ground.opened[only[0].model].reader.specs else None
    return changed, alone


def _is_outside(ground: Ground, name: str, entry: Entry) -> bool:
    """Whether a partial model lacks a tensor; one that ties its head has it in its embedding."""
    model = ground.opened[entry.model]
    return model.ref.is_partial and entry.tensor not in model.reader.specs and not _lends_embedding(model, name)


def _lends_embedding(model: Opened, name: str) -> bool:
    return bool(is_head(name) and model.ties and input_embeddings(model.reader.specs))


def partial_faults(recipe: Recipe) -> list[Fault]:
    """A base that covers a part of the output only has no values for the rest."""
    bases = [recipe.base_model, *(piece.base_model for piece in recipe.slices)]
    place = recipe.locate(("base_model",)) if recipe.locate else None
    hint = "make the whole model the base; docs/partial.md shows how to add the change between two partial models"
    return [
        Fault("part-mismatch", f"the base must be a whole model, found {ref}", place, str(ref), hint)
        for ref in dict.fromkeys(bases)
        if ref is not None and ref.is_partial
    ]


def unread_faults(ground: Ground, steps: Iterable[Step]) -> Iterator[Fault]:
    """Partial models of which nothing goes into the output: no module that names them holds any of their part."""
    read = {piece.model for step in steps for piece in (*step.pieces, *step.must_equal)}
    for number, model in enumerate(ground.opened):
        if model.ref.is_partial and number not in read:
            message = f"{model.ref}: nothing of it is merged: what it is named for holds no tensor of its part"
            path = next((path for ref, path in references(ground.recipe) if ref == model.ref), ())
            hint = "name it in the module that has the part, or take it out"
            yield replace(ground.fault("part-mismatch", message, path, hint), subject=str(model.ref))


def partial_notes(opened: Sequence[Opened], steps: Sequence[Step]) -> Iterator[str]:
    """How much was merged, how much is the whole model's, and what of its part a partial model lacks."""
    if not any(model.ref.is_partial for model in opened):
        return
    kept = [step.out.name for step in steps if step.reason == OUTSIDE]
    tops = dict.fromkeys(_top(name) for name in kept)
    told = f": {', '.join(tops)}" if kept else ""
    merged = sum(step.action == "merge" for step in steps)
    yield f"partial models: {merged} tensors merged, {len(kept)} copied from {opened[0].ref}{told}"
    for model in opened:
        if model.ref.is_partial and (lacking := _lacking(model, opened[0].reader.specs)):
            more = f" … and {len(lacking) - _SHOWN:,} more" if len(lacking) > _SHOWN else ""
            yield f"{model.ref} has no say in {', '.join(lacking[:_SHOWN])}{more}: of its part, and not in it"


def _lacking(model: Opened, whole: Mapping[str, TensorSpec]) -> list[str]:
    """Tensors of the part that a model stands for, which it lacks though nothing says that it should."""
    placing = model.ref.placing
    own = model.reader.specs
    if placing is None or placing.stands_for is None:
        part: Iterable[str] = _beside_layers(own, whole)
    else:
        part = tensors_of_part(placing.stands_for, whole)
    meant = [name for name in part if not (placing and placing.without == "vocabulary" and is_vocabulary(name))]
    return [n for n in meant if n not in own and not is_optional(n) and not _lends_embedding(model, n)]


def _beside_layers(own: Iterable[str], whole: Iterable[str]) -> list[str]:
    """What stands right beside the stacks that a model's names lead to, as norms and embeddings do."""
    parents = {spot.prefix.rpartition(".")[0] for name in own if (spot := spot_of(name))}
    return [name for name in whole if name.count(".") >= 2 and name.rsplit(".", 2)[0] in parents]


def _top(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[: 2 if parts[0] == "model" and len(parts) > 2 else 1])
