"""The tokenizers of a recipe's models, compared before anything is planned where the recipe says nothing of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cuvee.checkpoint.opened import Checkpoint
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import InputError
from cuvee.recipe import Recipe
from cuvee.tokens.agreement import Agreement, agreement_of
from cuvee.types import ModelRef


def with_agreement(recipe: Recipe, refs: Sequence[ModelRef], readers: Sequence[Reader], *, fetch: bool) -> list[Reader]:
    """The models, the first with notes on tokenizers that differ harmlessly.

    Args:
        recipe: what they are models of.
        refs: as `planning.referenced` gives them.
        readers: the same, opened.
        fetch: whether files may be fetched from afar; a plan compares only what is on this machine.

    Raises:
        InputError: `tokenizer-mismatch`, `embedding-too-small`.
    """
    if recipe.tokenizer is not None or recipe.tokenizer_source is not None:
        return list(readers)
    if not fetch and any(file.fetch is not None for reader in readers for file in reader.side_files):
        return list(readers)
    number = {ref: i for i, ref in enumerate(refs)}
    found = [
        agreement_of([readers[number[ref]] for ref in group], together=together)
        for group, together in _groups(recipe, refs)
    ]
    return _told(found, list(readers))


def _groups(recipe: Recipe, refs: Sequence[ModelRef]) -> Iterator[tuple[list[ModelRef], bool]]:
    """Models whose embeddings may meet: all that are listed, or those of a module; of slices only one model's come."""
    base = [recipe.base_model] if recipe.base_model else []
    if recipe.slices or recipe.method == "passthrough":
        yield [ref for ref in refs if not _is_statistics(recipe, ref)], False
    elif recipe.modules:
        for module in recipe.modules.values():
            yield list(dict.fromkeys([*base, *(entry.model for entry in module.models)])), True
    else:
        yield list(dict.fromkeys([*base, *(entry.model for entry in recipe.models)])), True


def _is_statistics(recipe: Recipe, ref: ModelRef) -> bool:
    return any(entry.statistics == ref for entry in recipe.models)


def _told(found: Sequence[Agreement], readers: list[Reader]) -> list[Reader]:
    faults = [fault for one in found for fault in one.faults]
    if faults:
        raise InputError(dict.fromkeys(faults))
    notes = list(dict.fromkeys(note for one in found for note in one.notes))
    first = readers[0] if readers else None
    if notes and isinstance(first, Checkpoint):
        readers[0] = first.noting(notes)
    return readers
