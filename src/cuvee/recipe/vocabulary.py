"""What a recipe says of vocabularies: `tokenizer_source`, or the longer `tokenizer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cuvee.recipe.model import DocumentPath, Recipe
from cuvee.recipe.reference import read_reference, written_reference
from cuvee.types import ModelRef


@dataclass(frozen=True, slots=True)
class TokenOf:
    """A row that a token takes: that of a token of a model, given by its text or its number; `None` for the same."""

    model: ModelRef
    token: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class TokenAsked:
    """What is asked of one token: a row of a model, or `None` for zeros; with `force` in models that have it too."""

    source: TokenOf | None
    force: bool
    at: DocumentPath


@dataclass(frozen=True, slots=True)
class VocabularyAsked:
    """Which vocabulary the output has.

    Attributes:
        source: `union`, `base`, or the model whose tokenizer it is.
        tokens: single tokens.
        multiple: the number of rows is made a multiple of it.
        at: document path of the source.
    """

    source: ModelRef | Literal["union", "base"]
    tokens: Mapping[str, TokenAsked] = field(default_factory=dict)
    multiple: int | None = None
    at: DocumentPath = ()

    @property
    def words(self) -> str:
        """The source, as people write it."""
        return str(self.source)


def vocabulary_asked(recipe: Recipe) -> VocabularyAsked | None:
    """What a recipe says of vocabularies; `None` if it says nothing."""
    if recipe.tokenizer_source is not None:
        return VocabularyAsked(_source(recipe.tokenizer_source, recipe.root), at=("tokenizer_source",))
    if recipe.tokenizer is None:
        return None
    data, at = recipe.tokenizer, ("tokenizer",)
    tokens = {
        token: _token(entry, recipe.root, (*at, "tokens", token)) for token, entry in (data.get("tokens") or {}).items()
    }
    source = _source(data.get("source") or "union", recipe.root)
    where: DocumentPath = (*at, "source") if data.get("source") else at
    return VocabularyAsked(source, tokens, data.get("pad_to_multiple_of"), where)


def _source(value: Any, root: Path | None) -> ModelRef | Literal["union", "base"]:
    if value == "union" or value == "base":
        word: Literal["union", "base"] = value
        return word
    return read_reference(value, root)


def _token(entry: Mapping[str, Any], root: Path | None, at: DocumentPath) -> TokenAsked:
    source, force = entry["source"], bool(entry.get("force"))
    kind = source.get("kind") if isinstance(source, Mapping) else None
    if kind == "zero":
        return TokenAsked(None, force, at)
    if kind == "model_token":
        model = read_reference(source["model"], root)
        return TokenAsked(TokenOf(model, source.get("token"), source.get("token_id")), force, at)
    return TokenAsked(TokenOf(read_reference(source, root)), force, at)


def vocabulary_led_on(recipe: Recipe, led: Callable[[ModelRef], ModelRef]) -> dict[str, Any]:
    """What a recipe says of vocabularies with other references, by the recipe's fields.

    Args:
        recipe: the recipe.
        led: gives the other reference of a model.
    """

    def of(value: Any) -> Any:
        if isinstance(value, Mapping) and "kind" in value:
            return {**value, "model": of(value["model"])} if "model" in value else value
        return value if value in ("union", "base") else written_reference(led(read_reference(value, recipe.root)))

    source, data = recipe.tokenizer_source, recipe.tokenizer
    if source is not None and source not in ("union", "base"):
        source = str(led(read_reference(source, recipe.root)))
    if data is not None:
        data = {**data, **({"source": of(data["source"])} if data.get("source") else {})}
        tokens = data.get("tokens") or {}
        data |= (
            {"tokens": {token: {**one, "source": of(one["source"])} for token, one in tokens.items()}} if tokens else {}
        )
    return {"tokenizer_source": source, "tokenizer": data}
