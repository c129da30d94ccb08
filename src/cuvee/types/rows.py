"""What a merge says of vocabularies: how many tokens each model has, and where the rows of the output come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class RowFacts:
    """The rows of one model as it is merged.

    Attributes:
        label: the model's name.
        tokens: tokens that its tokenizer has.
        rows: rows that its embeddings have.
        own: rows of the output that are its own.
        filled: where the others come from → how many do.
        files: the tokenizer's files that were read → xxh3-128 (hex) of each.
    """

    label: str
    tokens: int
    rows: int
    own: int
    filled: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VocabularyFacts:
    """The vocabulary of an output.

    Attributes:
        source: what the recipe asks: `union`, `base` or a model.
        tokens: tokens that it has.
        rows: rows that embeddings and heads have.
        models: the models, in the order of a plan.
        notes: what the user should know.
        config_changes: what it changes in the first model's `config.json`, by dotted path.
    """

    source: str
    tokens: int
    rows: int
    models: tuple[RowFacts, ...] = ()
    notes: tuple[str, ...] = ()
    config_changes: Mapping[str, Any] = field(default_factory=dict)
