"""From a slot to a step: merged, copied, tied — or refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

from cuvee.errors import Fault
from cuvee.families import is_optional, is_vocabulary, spot_of
from cuvee.planning.model import Piece, Step, Tied, Value
from cuvee.planning.partial import OUTSIDE, without_absent
from cuvee.planning.settings import settings_for
from cuvee.planning.slots import Entry, Ground, Slot
from cuvee.planning.statistics import bytes_beside, collected_of
from cuvee.planning.tying import copies_of, disagree_on_tying, embedding_of_head, tied_head, with_embeddings_for_heads
from cuvee.types import DTYPES, MethodSpec, TensorSpec


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a slot: a step, a tied tensor, or faults; `untied` when a tied model had to give up its tie."""

    step: Step | None = None
    tied: Tied | None = None
    faults: tuple[Fault, ...] = ()
    untied: bool = False


def decide(ground: Ground, spec: MethodSpec, slot: Slot) -> Decision:
    """Decide one output tensor."""
    slot, alone = without_absent(ground, slot)
    if alone:
        return Decision(_of_the_whole(ground, slot, alone))
    if tied := tied_head(ground, slot):
        return Decision(tied=tied)
    if embedding := embedding_of_head(ground, slot):
        return _as_head(decide(ground, spec, embedding), slot.name, copies_of(ground, slot, embedding.name))
    located, stands_in = with_embeddings_for_heads(ground, slot)
    untied = stands_in or disagree_on_tying(ground, slot)
    everyone = located.everyone
    present = [e for e in everyone if _spec(ground, e) is not None]
    if len(present) < len(everyone):
        return replace(_incomplete(ground, located, everyone, present), untied=untied)
    if faults := tuple(_shape_faults(ground, located, present)):
        return Decision(faults=faults)
    if is_optional(slot.name):
        return Decision(_copied_buffer(ground, located, present[0]))
    if any(DTYPES[_known(ground, e).dtype].kind != "float" for e in present):
        return _not_floats(ground, located, present)
    return replace(_floats(ground, spec, located, present), untied=untied)


def _as_head(decision: Decision, name: str, copies: tuple[tuple[Piece, Piece], ...]) -> Decision:
    """What was decided for an embedding, as the head that repeats it."""
    step = decision.step
    if step is None:
        return decision
    out, mask = replace(step.out, name=name), step.mask or step.out.name
    return replace(decision, step=replace(step, out=out, mask=mask, copies=copies))


def _spec(ground: Ground, entry: Entry) -> TensorSpec | None:
    return ground.opened[entry.model].reader.specs.get(entry.tensor)


def _known(ground: Ground, entry: Entry) -> TensorSpec:
    return ground.opened[entry.model].reader.specs[entry.tensor]


def _label(ground: Ground, entry: Entry) -> str:
    return str(ground.opened[entry.model].ref)


def _piece(entry: Entry) -> Piece:
    return Piece(entry.model, entry.tensor)


def _incomplete(ground: Ground, slot: Slot, everyone: Sequence[Entry], present: Sequence[Entry]) -> Decision:
    """A tensor that not every model has: a derived buffer is copied, anything else only where the recipe says so."""
    names = sorted({_label(ground, e) for e in everyone if e not in present})
    if is_optional(slot.name) or ground.recipe.missing == "copy":
        chosen = next((e for e in present if e.stands_for is None), present[0])
        found = _known(ground, chosen)
        others = [_label(ground, e) for e in present if e.model != chosen.model]
        over = f"; passed over in {', '.join(dict.fromkeys(others))}" if others else ""
        reason = f"not in {', '.join(names)}{over}"
        out = TensorSpec(slot.name, _out_dtype(ground, [found]), found.shape)
        return Decision(Step(out, "copy", (_piece(chosen),), layer=slot.layer, reason=reason))
    having = sorted({_label(ground, e) for e in present})
    message = f"tensor {slot.name}: in {', '.join(having)} but not in {', '.join(names)}"
    hint = "use models of one architecture, or set `missing` to `copy`: such tensors are then taken from who has them"
    return Decision(faults=(Fault("missing-tensor", message, subject=slot.name, hint=hint),))


def _shape_faults(ground: Ground, slot: Slot, present: Sequence[Entry]) -> Iterator[Fault]:
    shapes = [(_label(ground, e), _known(ground, e).shape) for e in present]
    if len({shape for _, shape in shapes}) == 1:
        return
    told = ", ".join(f"{label} {list(shape)}" for label, shape in dict.fromkeys(shapes))
    rows_only = len({shape[1:] for _, shape in shapes}) == 1
    if rows_only and is_vocabulary(slot.name):
        hint = "the vocabularies differ: `tokenizer: {source: union}` in the recipe merges them, `source: base` or a "
        hint += (
            "model's name takes one of them; or give one model the other's tokenizer first: `cuvee tokens transplant`"
        )
        if any(ground.opened[e.model].ref.is_partial for e in present):
            hint = "write `without: vocabulary` beside the `as` of the partial model: the whole model's rows are kept"
        yield Fault(
            "vocabulary-mismatch", f"tensor {slot.name}: one row per token; found {told}", None, slot.name, hint
        )
    else:
        hint = "only models of the same sizes can be merged tensor by tensor"
        yield Fault("shape-mismatch", f"tensor {slot.name}: shapes must be equal; found {told}", None, slot.name, hint)


def _of_the_whole(ground: Ground, slot: Slot, entry: Entry) -> Step:
    """A tensor outside the parts that partial models stand for, of the one whole model."""
    found = _known(ground, entry)
    out = TensorSpec(slot.name, _out_dtype(ground, [found]), found.shape)
    return Step(out, "copy", (_piece(entry),), layer=slot.layer, reason=OUTSIDE)


def _copied_buffer(ground: Ground, slot: Slot, entry: Entry) -> Step:
    """A derived buffer (rotary frequencies, masks) is no weight: whatever a method makes of it, the model is wrong."""
    found = _known(ground, entry)
    out = TensorSpec(slot.name, found.usual_dtype, found.shape)
    return Step(out, "copy", (_piece(entry),), layer=slot.layer, reason="a buffer that the model derives")


def _not_floats(ground: Ground, slot: Slot, present: Sequence[Entry]) -> Decision:
    """Integers, booleans and packed numbers cannot be averaged: equal ones are copied, compared before any work."""
    dtypes = [(_label(ground, e), _known(ground, e).dtype) for e in present]
    if len({dtype for _, dtype in dtypes}) > 1:
        told = ", ".join(f"{label} {dtype}" for label, dtype in dict.fromkeys(dtypes))
        message = f"tensor {slot.name}: integers and packed numbers must have one dtype in all models; found {told}"
        hint = "is one of the models quantised? dequantise it first"
        fault = Fault("dtype-mismatch", message, None, slot.name, hint)
        return Decision(faults=(fault,))
    first, *others = [_piece(e) for e in present]
    dtype = _known(ground, present[0]).dtype
    out = TensorSpec(slot.name, dtype, _known(ground, present[0]).shape)
    must_equal = tuple(p for p in others if p != first)
    return Decision(
        Step(out, "copy", (first,), layer=slot.layer, reason=f"{dtype} cannot be merged", must_equal=must_equal)
    )


def _out_dtype(ground: Ground, specs: Sequence[TensorSpec]) -> str:
    """What the recipe says, else the narrowest dtype that holds all inputs; integers keep theirs."""
    if DTYPES[specs[0].dtype].kind != "float":
        return specs[0].dtype
    asked = ground.recipe.out_dtype or ground.recipe.dtype
    return asked or reduce(promote, (s.usual_dtype for s in specs))


def promote(a: str, b: str) -> str:
    """The narrowest float dtype that holds both; bfloat16 and float16 need float32."""
    if a == b:
        return a
    size = max(DTYPES[a].size, DTYPES[b].size)
    return {2: "float32", 4: "float32", 8: "float64"}[size]


def _floats(ground: Ground, spec: MethodSpec, slot: Slot, present: Sequence[Entry]) -> Decision:
    specs = [_known(ground, e) for e in present]
    out = TensorSpec(slot.name, _out_dtype(ground, specs), specs[0].shape)
    work: Literal["float32", "float64"] = (
        "float64" if "float64" in {out.dtype, *(s.dtype for s in specs)} else "float32"
    )
    resolved = settings_for(ground, spec, slot)
    if resolved.faults:
        return Decision(faults=resolved.faults)
    inputs = tuple(_piece(e) for e in slot.entries)
    base = _piece(slot.base) if slot.base else None
    if not inputs and base:
        return Decision(Step(out, "copy", (base,), layer=slot.layer, reason="no model besides the base"))
    if _is_copy(spec, resolved.settings):
        return Decision(Step(out, "copy", inputs, layer=slot.layer, reason="passed through"))
    collected, faults = collected_of(ground, spec, slot, out)
    step = Step(out, "merge", inputs, base, resolved.settings, work, slot.layer, mask=_mask(ground, slot))
    scope = spec.scope_for(resolved.settings)
    beside = bytes_beside(ground, spec, collected)
    return Decision(replace(step, scope=scope, collected=collected, beside=beside), faults=faults)


def _is_copy(spec: MethodSpec, settings: Mapping[str, Value]) -> bool:
    return spec.copies_when is not None and all(settings[key] == (value,) for key, value in spec.copies_when.items())


def _mask(ground: Ground, slot: Slot) -> str | None:
    """The tensor that this one is tied to in every model, so that both get the same random masks and stay equal."""
    firsts = {_first_name(ground, slot, entry) for entry in slot.entries}
    return firsts.pop() if len(firsts) == 1 else None


def _first_name(ground: Ground, slot: Slot, entry: Entry) -> str | None:
    """The output name of the tensor that an input tensor is tied to, if both come into the output together."""
    first = ground.opened[entry.model].reader.shared.get(entry.tensor)
    if first is None or entry.tensor == slot.name:
        return first
    here, there = spot_of(entry.tensor), spot_of(first)
    if here and there and slot.layer and (here.prefix, here.index) == (there.prefix, there.index):
        return there.moved(slot.layer[1])
    return None
