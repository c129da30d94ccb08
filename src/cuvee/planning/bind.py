"""Bind a recipe to the headers of its models: every decision and every incompatibility, before any is merged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import CuveeError, Fault, InputError, RecipeError
from cuvee.families import is_vocabulary, natural_key, role_of, spot_of, study
from cuvee.planning.account import account
from cuvee.planning.config import configuration
from cuvee.planning.decide import Decision, decide
from cuvee.planning.fit import fit_findings
from cuvee.planning.model import Beside, Evaluated, ModelFacts, Piece, Plan, Step, Tied, copies_in
from cuvee.planning.partial import partial_faults, partial_notes, unread_faults
from cuvee.planning.parts import parts_of
from cuvee.planning.scaling import by_depth, scaling_notes
from cuvee.planning.settings import are_broken_rules, place_of_method, told_once
from cuvee.planning.sliced import main_stack, range_faults, sliced_slots, stacking_of
from cuvee.planning.slots import Ground, Opened, Part, Slot, Stacking, whole_slots
from cuvee.planning.statistics import statistics_faults, statistics_notes
from cuvee.planning.tying import is_head, ties
from cuvee.planning.whole import survey_faults
from cuvee.recipe import not_yet, notes
from cuvee.recipe.model import Lines, ModelEntry, Recipe, Slice
from cuvee.types import MethodSpec, ModelRef, VocabularyFacts


def referenced(recipe: Recipe) -> tuple[ModelRef, ...]:
    """All that the recipe reads, each once: models in the order of mention, the base first; then statistics."""
    return tuple(dict.fromkeys((*models_of(recipe), *_statistics(recipe))))


def models_of(recipe: Recipe) -> tuple[ModelRef, ...]:
    """The models that a recipe names, each once, the base first."""
    found = [recipe.base_model] if recipe.base_model else []
    for models, slices in _lists(recipe):
        found += [entry.model for entry in models]
        for piece in slices:
            found += [s.model for s in piece.sources] + ([piece.base_model] if piece.base_model else [])
    # whole models first: the first gives the output its configuration, and partial ones are laid over it
    return tuple(sorted(dict.fromkeys(found), key=lambda ref: ref.is_partial))


def _statistics(recipe: Recipe) -> Iterator[ModelRef]:
    for models, _ in _lists(recipe):
        yield from (entry.statistics for entry in models if entry.statistics is not None)


def _lists(recipe: Recipe) -> Iterator[tuple[Sequence[ModelEntry], Sequence[Slice]]]:
    yield recipe.models, recipe.slices
    for module in recipe.modules.values():
        yield module.models, module.slices


def bind(recipe: Recipe, readers: Sequence[Reader], spec: MethodSpec) -> Plan:
    """Make the plan.

    Args:
        recipe: what is asked.
        readers: the models of `referenced(recipe)`, in that order, opened.
        spec: declaration of the recipe's method.

    Raises:
        RecipeError: the recipe asks for something that this version or these models do not have.
        InputError: the models do not fit each other. Either carries all faults.
    """
    if faults := not_yet(recipe):
        raise RecipeError(faults)
    refs = referenced(recipe)
    count = len(models_of(recipe))
    opened = [_opened(ref, reader) for ref, reader in zip(refs[:count], readers[:count], strict=True)]
    collected = dict(enumerate(readers[count:], start=count))
    ground = Ground(recipe, opened, {ref: i for i, ref in enumerate(refs)}, spec.base, collected)
    _raise_if(RecipeError, [*partial_faults(recipe), *statistics_faults(ground, spec)])
    parts, faults_of_parts = parts_of(ground)
    slots, stackings, recipe_faults = _lay_out(ground, parts)
    _raise_if(RecipeError, [*faults_of_parts, *recipe_faults])
    decisions, faults_of_layers = _decide_all(ground, spec, parts, slots)
    told = told_once([*faults_of_layers, *(f for d in decisions for f in d.faults)], recipe)
    _raise_if(RecipeError if are_broken_rules(told) else InputError, told)
    _raise_if(InputError, unread_faults(ground, [d.step for d in decisions if d.step]))
    of_whole = survey_faults(spec, [d.step for d in decisions if d.step])
    _raise_if(RecipeError, [replace(fault, place=place_of_method(recipe)) for fault in of_whole])
    return _plan(ground, parts, decisions, stackings, spec)


def _opened(ref: ModelRef, reader: Reader) -> Opened:
    anatomy = study(reader.specs, reader.config)
    return Opened(ref, reader, anatomy, ties(reader, anatomy))


def _raise_if(kind: type[CuveeError], faults: Iterable[Fault]) -> None:
    unique = list(dict.fromkeys(faults))
    if unique:
        raise kind(unique)


def _lay_out(ground: Ground, parts: Sequence[Part]) -> tuple[list[Slot], list[Stacking], list[Fault]]:
    slots: list[Slot] = []
    stackings: list[Stacking] = []
    faults: list[Fault] = []
    for part in parts:
        if not part.slices:
            slots += whole_slots(ground, part)
            continue
        prefix, found = main_stack(ground, part)
        found = found or list(range_faults(ground, part, prefix))
        faults += found
        if not found:
            slots += sliced_slots(ground, part, prefix)
            stackings.append(stacking_of(ground, part, prefix))
    return slots, stackings, faults


def _decide_all(
    ground: Ground, spec: MethodSpec, parts: Sequence[Part], slots: Sequence[Slot]
) -> tuple[list[Decision], list[Fault]]:
    """Decide every slot; layers that only some models have are told once per stack, not once per tensor."""
    uneven = dict(_uneven_stacks(ground, parts))
    faults = list(_nothing_in_common(ground, slots)) or [f for f, _ in uneven.values()]
    skip = {prefix: shortest for prefix, (_, shortest) in uneven.items()}

    def beyond(slot: Slot) -> bool:
        spot = spot_of(slot.name)
        return spot is not None and spot.prefix in skip and spot.index >= skip[spot.prefix]

    if faults and not uneven:
        return [], faults
    return [decide(ground, spec, slot) for slot in slots if not beyond(slot)], faults


def _uneven_stacks(ground: Ground, parts: Sequence[Part]) -> Iterator[tuple[str, tuple[Fault, int]]]:
    """Stacks of different heights in models that are merged whole, part by part."""
    for part in parts:
        refs = {e.model for e in part.models}
        if part.models and ground.recipe.base_model:
            refs.add(ground.recipe.base_model)
        models = [m for m in ground.opened if m.ref in refs]
        for prefix in sorted({s.prefix for m in models for s in m.anatomy.stacks}):
            heights = {str(m.ref): m.anatomy.sizes[prefix] for m in models if prefix in m.anatomy.sizes}
            if len(set(heights.values())) > 1 and part.claims(f"{prefix}.0"):
                yield prefix, (_uneven(prefix, heights), min(heights.values()))


def _uneven(prefix: str, heights: Mapping[str, int]) -> Fault:
    told = ", ".join(f"{label} has {n}" for label, n in heights.items())
    message = f"`{prefix}`: all models must have the same number of layers; {told}"
    hint = "merge equally long runs of layers with `slices`"
    return Fault("layer-count-mismatch", message, subject=prefix, hint=hint)


def _nothing_in_common(ground: Ground, slots: Sequence[Slot]) -> Iterator[Fault]:
    """Two models without one tensor name in common: told once, with an example of each."""
    if not slots or ground.recipe.modules or ground.recipe.slices:
        return
    first, *others = ground.opened
    for other in others:
        if not first.reader.specs.keys() & other.reader.specs.keys():
            names = [min(m.reader.specs, key=natural_key, default="nothing") for m in (first, other)]
            message = f"{first.ref} and {other.ref} have no tensor name in common ({names[0]} … against {names[1]} …)"
            hint = "are these the same architecture, saved by the same library?"
            yield Fault("missing-tensor", message, subject=str(other.ref), hint=hint)


def _plan(
    ground: Ground,
    parts: Sequence[Part],
    decisions: Sequence[Decision],
    stackings: Sequence[Stacking],
    spec: MethodSpec,
) -> Plan:
    recipe, opened = ground.recipe, ground.opened
    steps = tuple(d.step for d in decisions if d.step)
    scaling = recipe.layer_scaling
    if isinstance(scaling, Lines) and scaling.alpha is not None:
        steps = by_depth(steps, scaling.alpha, scaling.beta)
    donor = 0
    untied = any(d.untied for d in decisions) or _writes_a_head_of_another(ground, parts, steps)
    lacking = _lacking_head(ground, parts, steps)
    made_tied = (lacking and _embeds_with_tied_models(ground, steps)) or _leaves_out_an_unsaid_copy(ground, steps)
    tie = False if untied else True if made_tied else None
    config = configuration(opened, donor, steps, stackings, tie=tie, asked_dtype=bool(recipe.out_dtype or recipe.dtype))
    _raise_if(InputError, [*config.faults, *([] if tie else _headless(ground, lacking))])
    misfits, fit_notes = fit_findings(opened, stackings, steps, config.text)
    _raise_if(InputError, misfits)
    tied = tuple(d.tied for d in decisions if d.tied)
    counted = account(opened, parts, steps, tied)
    reader = opened[donor].reader
    vocabulary: VocabularyFacts | None = getattr(reader, "vocabulary", None)
    labelled = [f"{m.ref}: {note}" for m in opened for note in m.reader.notes]
    return Plan(
        recipe=recipe,
        models=(*(_facts(m, m.ref == recipe.base_model) for m in opened), *_collected_facts(ground)),
        donor=donor,
        steps=steps,
        tied=tied,
        config_text=config.text,
        config_changes={**(vocabulary.config_changes if vocabulary else {}), **config.changes},
        side_files=reader.side_files,
        notes=(
            *notes(recipe, {spec.name: spec}),
            *_without_config(opened),
            *labelled,
            *config.notes,
            *fit_notes,
            *statistics_notes(spec, steps),
            *scaling_notes(recipe),
            *partial_notes(opened, steps),
        ),
        read=_bytes_read(ground, steps, tied),
        lost=len(counted.lost),
        left_out=len(counted.left_out),
        vocabulary=vocabulary,
    )


def _without_config(opened: Sequence[Opened]) -> Iterator[str]:
    """The output has the first model's configuration, and none if that model has none."""
    having = next((m for m in opened if m.reader.config is not None), None)
    if having and opened[0].reader.config is None:
        yield f"{opened[0].ref} has no config.json, so the output gets none; {having.ref} has one that may fit"


def _bytes_read(ground: Ground, steps: Sequence[Step], tied: Sequence[Tied]) -> int:
    """Bytes of every input tensor that is read or compared, each counted once; of a result, those of its own inputs."""
    pieces: set[Piece] = {piece for step in steps for piece in (*step.pieces, *step.must_equal, *step.collected)}
    pieces |= {piece for pair in copies_in(steps, tied) for piece in pair}
    readers = {**{i: model.reader for i, model in enumerate(ground.opened)}, **ground.collected}
    inner = {i: reader.plan.read for i, reader in readers.items() if isinstance(reader, Evaluated)}
    direct = sum(readers[p.model].specs[p.tensor].stored_nbytes for p in pieces if p.model not in inner)
    beside = sum(reader.nbytes_beside for reader in readers.values() if isinstance(reader, Beside))
    return direct + beside + sum(inner.values())


def _writes_a_head_of_another(ground: Ground, parts: Sequence[Part], steps: Sequence[Step]) -> bool:
    """Whether a stored head comes into an output put together from parts whose configuration, the donor's, ties it."""
    return any(is_head(s.out.name) for s in steps) and _is_composed(parts) and ground.opened[0].ties


def _leaves_out_an_unsaid_copy(ground: Ground, steps: Sequence[Step]) -> bool:
    """Whether the first model stores a head that is its embedding, does not say so, and the output has none."""
    donor = ground.opened[0]
    stores = any(is_head(name) for name in donor.reader.specs)
    return stores and donor.ties and donor.anatomy.said_tied is None and not any(is_head(s.out.name) for s in steps)


def _lacking_head(ground: Ground, parts: Sequence[Part], steps: Sequence[Step]) -> str | None:
    """The head that the donor's configuration asks for and the output lacks, because another model ties its own."""
    donor = ground.opened[0]
    if not _is_composed(parts) or donor.reader.config is None or donor.ties:
        return None
    written = {step.out.name for step in steps}
    heads = (name for name in donor.reader.specs if is_head(name))
    return next((name for name in heads if name not in written), None)


def _embeds_with_tied_models(ground: Ground, steps: Sequence[Step]) -> bool:
    """Whether the output's word embedding comes from models that tie it, so that it can be the head as well."""
    words = [s for s in steps if role_of(s.out.name) == "embedding" and is_vocabulary(s.out.name)]
    models = {piece.model for step in words for piece in step.pieces}
    return bool(models) and all(ground.opened[m].ties for m in models)


def _headless(ground: Ground, head: str | None) -> Iterator[Fault]:
    """The head of one model cannot be the embedding of another."""
    if head:
        ref = ground.opened[0].ref
        message = f"the output would lack {head}: {ref} stores its head, and the last slice's models tie theirs"
        hint = "take the last slice from models that store their head, or the first from those that tie it"
        yield Fault("tied-mismatch", message, subject=head, hint=hint)


def _is_composed(parts: Sequence[Part]) -> bool:
    """Whether the output is put together from parts of different models."""
    return len(parts) > 1 or any(part.slices for part in parts)


def _collected_facts(ground: Ground) -> Iterator[ModelFacts]:
    refs = {number: ref for ref, number in ground.number.items()}
    for number, reader in ground.collected.items():
        model = Opened(refs[number], reader, study(reader.specs, None))
        yield replace(_facts(model, False), layers={}, parameters=0, is_statistics=True)


def _facts(model: Opened, is_base: bool) -> ModelFacts:
    specs = model.reader.specs.values()
    return ModelFacts(
        ref=model.ref,
        label=model.reader.label,
        tensors=len(specs),
        parameters=sum(s.numel for s in specs),
        nbytes=sum(s.stored_nbytes for s in specs),
        dtypes=tuple(sorted({s.stored or s.dtype for s in specs})),
        layers={s.prefix: s.count for s in model.anatomy.stacks},
        is_base=is_base,
        held=model.reader.held,
        plan=model.reader.plan if isinstance(model.reader, Evaluated) else None,
    )
