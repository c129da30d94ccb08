"""The models of a recipe that says how vocabularies are merged: each shown with the rows of the output's vocabulary."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import CuveeError, Fault, InputError, RecipeError, attempt
from cuvee.planning.model import Evaluated, Plan
from cuvee.recipe.model import DocumentPath, Recipe
from cuvee.recipe.vocabulary import TokenAsked, TokenOf, VocabularyAsked, vocabulary_asked
from cuvee.tokens.reading import read_vocabulary
from cuvee.tokens.rows import PADDING, OfModel, RowPlan, Wish, Zero, plan_rows, rounded_up
from cuvee.tokens.showing import Meeting, shown_by_all
from cuvee.tokens.tables import rows_of_words, tables_of, unplaced
from cuvee.tokens.uniting import United, unite
from cuvee.tokens.view import Revocabularied
from cuvee.tokens.vocabulary import Vocabulary
from cuvee.types import ModelRef


@dataclass(frozen=True)
class _Ground:
    """What is known: the recipe, what it asks, its models and their vocabularies."""

    recipe: Recipe
    asked: VocabularyAsked
    refs: Sequence[ModelRef]
    readers: Sequence[Reader]
    known: Sequence[Vocabulary]

    @property
    def base(self) -> int:
        """The base model's number; the first model's, where there is no base."""
        return self.filler or 0

    @property
    def filler(self) -> int | None:
        """The model whose rows others take for tokens that they lack: a base that the recipe names."""
        return None if self.recipe.base_model is None else self.number(self.recipe.base_model)

    def number(self, ref: ModelRef) -> int | None:
        """The number of a model that is merged, however its path is written; `None` for another model."""
        spot = self._spot(ref)
        return self._spots.index(spot) if spot in self._spots else None

    @cached_property
    def _spots(self) -> list[ModelRef]:
        return [self._spot(ref) for ref in self.refs]

    def _spot(self, ref: ModelRef) -> ModelRef:
        """A model by its folder; one of the hub, or a result, by its name."""
        folder = (self.recipe.root or Path()) / ref.path
        return replace(ref, path=os.path.normpath(folder.absolute())) if folder.exists() else ref

    def fault(self, code: str, message: str, at: DocumentPath, hint: str | None = None) -> Fault:
        """A fault with its place in the recipe."""
        place = self.recipe.locate(at) if self.recipe.locate else None
        return Fault(code, message, place, str(at[-1]), hint)


def with_one_vocabulary(
    recipe: Recipe, refs: Sequence[ModelRef], readers: Sequence[Reader], further: Callable[[ModelRef], Reader]
) -> list[Reader]:
    """The models as a recipe's `tokenizer` has them; as they are, if it says nothing of vocabularies.

    Args:
        recipe: the recipe.
        refs: what it calls its models.
        readers: they, opened.
        further: opens a model that is named for its tokenizer only.

    Raises:
        InputError: `tokenizer-missing`, `bad-tokenizer`, `tokenizer-mismatch`, `embedding-too-small`.
        RecipeError: `unknown-token`, or a model that the recipe does not merge, at its place.
    """
    asked = vocabulary_asked(recipe)
    if asked is None:
        return list(readers)
    ground = _read(recipe, asked, refs, readers)
    wishes = _wishes(ground)
    united, giver = _at_place(ground, lambda: _united(ground, further))
    return _shown(ground, united, giver, wishes)


def _read(recipe: Recipe, asked: VocabularyAsked, refs: Sequence[ModelRef], readers: Sequence[Reader]) -> _Ground:
    """The vocabularies of all models, none with more tokens than its embeddings have rows."""
    faults: list[Fault] = []
    known = [attempt(lambda: read_vocabulary(reader), faults) for reader in readers]  # noqa: B023 - called at once
    for reader, vocabulary in zip(readers, known, strict=True):
        rows = rows_of_words(reader)
        if vocabulary is not None and rows < vocabulary.size:
            faults.append(_too_small(reader, rows, vocabulary))
    if faults:
        raise InputError(faults)
    return _Ground(recipe, asked, refs, readers, [one for one in known if one is not None])


def _too_small(reader: Reader, rows: int, vocabulary: Vocabulary) -> Fault:
    beyond = min((token for token, row in vocabulary.ids.items() if row >= rows), key=vocabulary.ids.__getitem__)
    message = (
        f"{reader.label}: the tokenizer needs {vocabulary.size:,} rows of embeddings, there are {rows:,}; "
        f"token {vocabulary.ids[beyond]}, {beyond!r}, has none"
    )
    hint = "put the tokenizer that the model was trained with beside it"
    return Fault("embedding-too-small", message, subject=reader.label, hint=hint)


def _at_place(ground: _Ground, make: Callable[[], tuple[United, Reader]]) -> tuple[United, Reader]:
    """What is made; what is wrong with it stands at the recipe's `tokenizer`."""
    try:
        return make()
    except CuveeError as error:
        place = ground.recipe.locate(ground.asked.at) if ground.recipe.locate else None
        raise type(error)(replace(fault, place=fault.place or place) for fault in error.faults) from None


def _united(ground: _Ground, further: Callable[[ModelRef], Reader]) -> tuple[United, Reader]:
    """The output's vocabulary, and the model whose files it is made of."""
    source, extra = ground.asked.source, tuple(ground.asked.tokens)
    if source == "union":
        return unite(ground.known, ground.base, extra), ground.readers[ground.base]
    if source == "base":
        return unite([ground.known[ground.base]], 0, extra), ground.readers[ground.base]
    number = ground.number(source)
    if number is not None:
        return unite([ground.known[number]], 0, extra), ground.readers[number]
    giver = _giver(source, further)
    return unite([read_vocabulary(giver)], 0, extra), giver


def _giver(source: ModelRef, further: Callable[[ModelRef], Reader]) -> Reader:
    """A model that is named for its tokenizer only.

    Raises:
        InputError: it cannot be opened; a word that is nearly `union` or `base` is told.
    """
    try:
        return further(source)
    except InputError as error:
        close = difflib.get_close_matches(source.path.lower(), ("union", "base"), n=1, cutoff=0.6)
        if not close:
            raise
        hint = f"did you mean `{close[0]}`?"
        raise InputError(replace(fault, hint=hint) for fault in error.faults) from None


def _wishes(ground: _Ground) -> dict[str, Wish]:
    """What the recipe says of single tokens, in numbers.

    Raises:
        RecipeError: everything that is named and not there.
    """
    found: dict[str, Wish] = {}
    faults: list[Fault] = []
    for token, asked in ground.asked.tokens.items():
        if asked.source is None:
            found[token] = Wish(Zero(), asked.force)
            continue
        row = _row(ground, token, asked, asked.source)
        if isinstance(row, Fault):
            faults.append(row)
        else:
            found[token] = Wish(row, asked.force)
    if faults:
        raise RecipeError(faults)
    return found


def _row(ground: _Ground, token: str, asked: TokenAsked, source: TokenOf) -> OfModel | Fault:
    """The row that a source means, or what is wrong with it."""
    model = ground.number(source.model)
    if model is None:
        told = ", ".join(map(str, ground.refs))
        message = f"the row of {token!r} must come from a model that is merged ({told}); found {source.model}"
        return ground.fault("wrong-value", message, asked.at, "name one of them")
    if source.number is not None:
        rows = rows_of_words(ground.readers[model])
        if source.number < rows:
            return OfModel(model, source.number)
        message = f"{source.model} has tokens 0 to {rows - 1}; found token_id {source.number} for {token!r}"
        return ground.fault("unknown-token", message, asked.at)
    wanted, ids = source.token or token, ground.known[model].ids
    if wanted in ids:
        return OfModel(model, ids[wanted])
    message = f"{source.model} has no token {wanted!r}, which the row of {token!r} should come from"
    return ground.fault("unknown-token", message, asked.at, _nearest(wanted, ids))


def _nearest(token: str, ids: Mapping[str, int]) -> str:
    """A hint that names tokens like one; only those of about its length are looked at, as there are many."""
    like = [other for other in ids if abs(len(other) - len(token)) <= 2]
    close = difflib.get_close_matches(token, like, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else "`cuvee tokens diff` shows what models have"


class RevocabulariedResult(Revocabularied):
    """The same of a model that is the result of a recipe."""

    @property
    def plan(self) -> Plan:
        """What is evaluated."""
        plan: Plan = getattr(self.inner, "plan")  # noqa: B009 - a reader of a result has one
        return plan


def _shown(ground: _Ground, united: United, giver: Reader, wishes: Mapping[str, Wish]) -> list[Reader]:
    """Every model behind a view that has the output's rows."""
    size, kept = _size(ground, united)
    readers = ground.readers
    plans = [_plan(ground, number, united, wishes, size, kept) for number in range(len(readers))]
    tables = [tables_of(reader) for reader in readers]
    faults = [
        fault
        for reader, known, plan in zip(readers, tables, plans, strict=True)
        if not plan.is_identity
        for fault in unplaced(reader, known, max((table.width for table in known.values()), default=0))
    ]
    if faults:
        raise InputError(faults)
    shown = shown_by_all(Meeting(ground.asked.words, united, giver, ground.known, readers, tables, plans))
    kinds = [RevocabulariedResult if isinstance(reader, Evaluated) else Revocabularied for reader in readers]
    return [
        kind(reader, readers, plan, one) for kind, reader, plan, one in zip(kinds, readers, plans, shown, strict=True)
    ]


def _size(ground: _Ground, united: United) -> tuple[int, int]:
    """Rows of the output, and how many of them every model keeps as they are, padding included.

    Padding is kept where every model has the output's vocabulary already, and as much of it as every other.
    """
    rows = {rows_of_words(reader) for reader in ground.readers}
    same = all(vocabulary.ids == united.vocabulary.ids for vocabulary in ground.known)
    kept = min(rows) if same and len(rows) == 1 else 0
    return rounded_up(max(kept, united.vocabulary.size), ground.asked.multiple), kept


def _plan(ground: _Ground, number: int, united: United, wishes: Mapping[str, Wish], size: int, kept: int) -> RowPlan:

    known = [vocabulary.ids for vocabulary in ground.known]
    plan = plan_rows(number, united.vocabulary.ids, known, wishes, base=ground.filler, size=size)
    for row in range(kept):
        if plan.own[row] == PADDING:
            plan.own[row] = row
    return RowPlan(plan.own, plan.fills)
