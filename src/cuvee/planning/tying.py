"""Heads that are an embedding under another name: who ties them, who stores them, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from cuvee.checkpoint.equality import begins_alike
from cuvee.checkpoint.protocol import Reader
from cuvee.families import Anatomy, input_embeddings, is_vocabulary, role_of
from cuvee.planning.model import Piece, Tied
from cuvee.planning.slots import Entry, Ground, Slot

_LANGUAGE_MODEL: Final = re.compile(r"LMHead|ForCausalLM|ForMaskedLM|ForPreTraining|ForConditionalGeneration")


def ties(reader: Reader, anatomy: Anatomy) -> bool:
    """Whether a model's head is its input embedding.

    The configuration's word holds. Many say nothing, because their class has a default (BERT, GPT-2, Gemma): then a
    stored head is tied if it holds the embedding's values, and a language model without one must be.
    """
    if reader.config is None or anatomy.said_tied is not None:
        return bool(anatomy.said_tied)
    stored = [name for name in reader.specs if is_head(name)]
    if stored:
        return all(name in anatomy.heads and _is_copy(reader, name, anatomy.heads[name]) for name in stored)
    return _is_language_model(reader.config) and bool(input_embeddings(reader.specs))


def is_head(name: str) -> bool:
    """Whether a tensor is a head with a row for every token."""
    return role_of(name) == "head" and is_vocabulary(name)


def _is_copy(reader: Reader, head: str, embedding: str) -> bool:
    """Whether the two are one, as far as a look at their first entries tells."""
    shared = reader.shared
    return shared.get(head, head) == shared.get(embedding, embedding) or begins_alike(reader, head, embedding)


def _is_language_model(config: Mapping[str, Any]) -> bool:
    named = config.get("architectures")
    return isinstance(named, list) and any(_LANGUAGE_MODEL.search(str(name)) for name in named)


def tied_head(ground: Ground, slot: Slot) -> Tied | None:
    """A head that every model ties to its embedding: it is not written, if the output then is sure to be tied.

    It is where the first model says so or does without a head, and where layers or parts of several models are put
    together, because then the output's configuration is made to say it.

    Some classes (T5 1.1) say that they are tied and store a head of its own all the same; that one is a tensor like
    any other. A look at the first entries tells the two apart; the whole is compared before the merge begins.
    """
    donor = ground.opened[0]
    composed = bool(ground.recipe.slices or ground.recipe.modules)
    sure = composed or donor.anatomy.said_tied or slot.name not in donor.reader.specs
    if role_of(slot.name) != "head" or not sure:
        return None
    models = [ground.opened[e.model] for e in slot.everyone]
    if not all(model.ties for model in models):
        return None
    copies = [
        (e, m.anatomy.heads[e.tensor])
        for e, m in zip(slot.everyone, models, strict=True)
        if e.tensor in m.anatomy.heads
    ]
    if not copies or not all(begins_alike(ground.opened[e.model].reader, e.tensor, name) for e, name in copies):
        return None
    pairs = tuple((Piece(e.model, e.tensor), Piece(e.model, name)) for e, name in copies)
    return Tied(slot.name, copies[0][1], pairs)


def copies_of(ground: Ground, slot: Slot, embedding: str) -> tuple[tuple[Piece, Piece], ...]:
    """The stored heads of a slot, each with the embedding that it repeats."""
    having = [e for e in slot.everyone if e.tensor in ground.opened[e.model].reader.specs]
    return tuple((Piece(e.model, e.tensor), Piece(e.model, embedding)) for e in having)


def embedding_of_head(ground: Ground, slot: Slot) -> Slot | None:
    """The slot of the embedding that a stored head repeats in every model, where no configuration says that it does.

    Such a head is written, because a class may want it, and is made exactly as its embedding is: by the embedding's
    parameters and masks.
    """
    if not is_head(slot.name) or ground.recipe.slices or ground.recipe.modules:
        return None
    models = [ground.opened[e.model] for e in slot.everyone]
    first = models[0].anatomy.heads.get(slot.name)
    if first is None or ground.opened[0].anatomy.said_tied is not None or not all(model.ties for model in models):
        return None
    shapes = {m.reader.specs[first].shape for m in models if first in m.reader.specs}
    if len(shapes) != 1 or not all(first in m.reader.specs for m in models):
        return None

    def embedding(entry: Entry) -> Entry:
        return replace(entry, tensor=first)

    base = embedding(slot.base) if slot.base else None
    return replace(slot, name=first, base=base, entries=tuple(embedding(e) for e in slot.entries))


def disagree_on_tying(ground: Ground, slot: Slot) -> bool:
    """Whether some models tie this head and others do not; written, it is then nobody's embedding any more."""
    if not is_head(slot.name):
        return False
    models = [ground.opened[e.model] for e in slot.everyone]
    return len({model.ties for model in models if model.reader.config is not None}) == 2


def with_embeddings_for_heads(ground: Ground, slot: Slot) -> tuple[Slot, bool]:
    """Where one model stores its head and another ties it, the tied one's embedding stands in for its head."""
    if role_of(slot.name) != "head":
        return slot, False
    shapes = (ground.opened[e.model].reader.specs.get(e.tensor) for e in slot.everyone)
    shape = next((spec.shape for spec in shapes if spec), ())

    def stand_in(entry: Entry) -> Entry:
        model = ground.opened[entry.model]
        embedding = input_embeddings(model.reader.specs).get(shape)
        if entry.tensor not in model.reader.specs and embedding and model.ties:
            return replace(entry, tensor=embedding, stands_for=slot.name)
        return entry

    base = stand_in(slot.base) if slot.base else None
    changed = replace(slot, base=base, entries=tuple(stand_in(e) for e in slot.entries))
    return changed, changed != slot
