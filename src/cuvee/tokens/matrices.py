"""The tensors of a model that a transplant makes anew, and whose values each goes with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from cuvee.checkpoint.equality import begins_alike
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault
from cuvee.families import role_of, study
from cuvee.tokens.tables import Table, rows_of_words, tables_of, unplaced
from cuvee.types import DTYPES

Side = Literal["embedding", "head"]


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Where the rows of tokens stand in a model.

    Attributes:
        count: how many rows there are, padding included.
        embedding: the input embedding.
        head: the output head that has values of its own, `None` without one.
        tables: every tensor with a row or entry for each token.
        sides: the same → whose values it goes with. A head that repeats its embedding goes with the embedding, and so
            does the bias of a model without a head of its own.
    """

    count: int
    embedding: str
    head: str | None
    tables: Mapping[str, Table]
    sides: Mapping[str, Side]


def find_rows(reader: Reader) -> TokenRows | list[Fault]:
    """Find the rows of a model's tokens, or say why they cannot be found."""
    count = rows_of_words(reader)
    tables = {name: table for name, table in tables_of(reader).items() if table.rows == count}
    embeddings = [name for name in tables if role_of(name) == "embedding"]
    if not embeddings:
        message = f"{reader.label} should have word embeddings; no tensor of it is named as such"
        return [Fault("part-mismatch", message, subject=reader.label)]
    copies = study(reader.specs, reader.config).heads
    wide = [name for name, table in tables.items() if name not in embeddings and not _is_bias(table)]
    own = [name for name in wide if not (name in copies and begins_alike(reader, name, copies[name]))]
    sides: dict[str, Side] = {name: "head" if name in own else "embedding" for name in (*embeddings, *wide)}
    sides |= {name: "head" if own else "embedding" for name, table in tables.items() if _is_bias(table)}
    width = tables[embeddings[0]].width
    if faults := [*_not_floats(reader, sides), *unplaced(reader, sides, width)]:
        return faults
    return TokenRows(count, embeddings[0], own[0] if own else None, tables, sides)


def _is_bias(table: Table) -> bool:
    return table.spec.numel == table.rows


def _not_floats(reader: Reader, sides: Mapping[str, Side]) -> Iterator[Fault]:
    for name in sides:
        if DTYPES[reader.specs[name].dtype].kind != "float":
            message = f"{reader.label}: {name} should hold floats; it is {reader.specs[name].dtype}"
            yield Fault("quantised-input", message, subject=name)
