"""The tensors of a model that have a row for every token, and how long those rows are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault
from cuvee.families import is_vocabulary, role_of, sections
from cuvee.families.names import is_vocabulary_bias
from cuvee.types import TensorSpec


@dataclass(frozen=True, slots=True)
class Table:
    """A tensor with a row for every token.

    Attributes:
        spec: as the model has it.
        axis: which of its dimensions counts tokens; all before it are 1.
    """

    spec: TensorSpec
    axis: int = 0

    @property
    def rows(self) -> int:
        """Tokens that it has rows for."""
        return self.spec.shape[self.axis]

    @property
    def width(self) -> int:
        """Elements of a row."""
        return self.spec.numel // self.rows if self.rows else 0

    def resized(self, rows: int) -> TensorSpec:
        """The same tensor with another number of rows."""
        shape = (*self.spec.shape[: self.axis], rows, *self.spec.shape[self.axis + 1 :])
        return replace(self.spec, shape=shape)


def tables_of(reader: Reader) -> Mapping[str, Table]:
    """Embeddings, heads and biases with a row for every token.

    A tensor counts if its name says so and it has as many rows as the word embedding, or as the configuration gives
    embeddings of single layers. Tables of other things (positions, types, pictures) are left as they are.
    """
    rows = rows_of_words(reader)
    counts = {rows, *_said(reader.config or {}, "vocab_size_per_layer_input")} - {0}
    found = ((name, _table(name, spec, counts)) for name, spec in reader.specs.items())
    return {name: table for name, table in found if table is not None}


def rows_of_words(reader: Reader) -> int:
    """Rows of the word embedding: what the configuration says where a tensor agrees, else those of the largest."""
    sizes = [spec.shape[0] for name, spec in reader.specs.items() if is_word_table(name, spec)]
    said = [size for size in _said(reader.config or {}, "vocab_size") if size in sizes]
    return said[0] if said else max(sizes, default=0)


def is_word_table(name: str, spec: TensorSpec) -> bool:
    """Whether a tensor is a word embedding or a head over the vocabulary."""
    return len(spec.shape) == 2 and is_vocabulary(name)


def _said(config: Mapping[str, Any], key: str) -> Iterator[int]:
    for _, section in sections(config):
        if isinstance(section.get(key), int):
            yield section[key]


def _table(name: str, spec: TensorSpec, counts: set[int]) -> Table | None:
    if is_word_table(name, spec) and spec.shape[0] in counts:
        return Table(spec)
    if is_vocabulary_bias(name) and spec.shape and spec.shape[-1] in counts and spec.numel == spec.shape[-1]:
        return Table(spec, len(spec.shape) - 1)
    return None


def sibling(name: str, reader: Reader, tables: Mapping[str, Table]) -> str | None:
    """The tensor of another model that rows are taken from: of the same name, or its embedding for a head that it ties.

    A head that it lacks is tied: what it would hold are the rows of its embedding.
    """
    if name in tables:
        return name
    if role_of(name) != "head" or name.endswith("bias"):
        return None
    words = (other for other in tables if role_of(other) == "embedding" and tables[other].rows == rows_of_words(reader))
    return next(words, None)


def unplaced(reader: Reader, known: Collection[str], width: int) -> Iterator[Fault]:
    """Tensors outside the layers that are as long as the vocabulary, of which nobody says what that length is.

    Their entries may belong to tokens, and would then be left where others move.

    Args:
        reader: the model.
        known: its tensors with a row for every token.
        width: elements of a row of its word embedding.
    """
    count = rows_of_words(reader)
    for name, spec in reader.specs.items():
        if name not in known and role_of(name) in ("head", "other") and count in spec.shape and count != width:
            message = (
                f"{reader.label}: {name} {list(spec.shape)} has as many entries as there are rows of tokens ({count}), "
                "and it is not known whether they belong to tokens"
            )
            yield Fault("part-mismatch", message, subject=name)
