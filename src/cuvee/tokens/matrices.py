"""The tensors of a model that have a row, or an entry, for every token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from cuvee.checkpoint.equality import begins_alike
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault
from cuvee.families import is_vocabulary, role_of, sections, study
from cuvee.types import DTYPES, TensorSpec

Side = Literal["embedding", "head"]


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Where the rows of tokens stand in a model.

    Attributes:
        count: how many rows there are, padding included.
        embedding: the input embedding.
        head: the output head that has values of its own, `None` without one.
        sides: every tensor with a row or entry for each token → whose values it goes with. A head that repeats its
            embedding goes with the embedding, and so does the bias of a model without a head of its own.
    """

    count: int
    embedding: str
    head: str | None
    sides: Mapping[str, Side]


def find_rows(reader: Reader) -> TokenRows | list[Fault]:
    """Find the rows of a model's tokens, or say why they cannot be found."""
    embeddings = [s for s in reader.specs.values() if _is_embedding(s)]
    if not embeddings:
        message = f"{reader.label} should have word embeddings; no tensor of it is named as such"
        return [Fault("part-mismatch", message, subject=reader.label)]
    first = _main(embeddings, reader)
    count = first.shape[0]
    copies = study(reader.specs, reader.config).heads
    heads = [s.name for s in reader.specs.values() if _is_head(s) and s.shape[0] == count]
    own = [name for name in heads if not (name in copies and begins_alike(reader, name, copies[name]))]
    same = [s.name for s in embeddings if s.shape[0] == count]
    sides: dict[str, Side] = {name: "head" if name in own else "embedding" for name in (*same, *heads)}
    sides |= dict.fromkeys(_biases(reader.specs, count), "head" if own else "embedding")
    if faults := [*_not_floats(reader, sides), *_unknown(reader, count, first.shape[1], sides)]:
        return faults
    return TokenRows(count, first.name, own[0] if own else None, sides)


def _is_embedding(spec: TensorSpec) -> bool:
    return len(spec.shape) == 2 and role_of(spec.name) == "embedding" and is_vocabulary(spec.name)


def _is_head(spec: TensorSpec) -> bool:
    return len(spec.shape) == 2 and role_of(spec.name) == "head" and is_vocabulary(spec.name)


def _main(embeddings: list[TensorSpec], reader: Reader) -> TensorSpec:
    """The embedding with as many rows as the configuration says there are tokens, else the one with most."""
    said = {section.get("vocab_size") for _, section in sections(reader.config or {})}
    return next((s for s in embeddings if s.shape[0] in said), max(embeddings, key=lambda s: s.shape[0]))


def _biases(specs: Mapping[str, TensorSpec], count: int) -> Iterator[str]:
    """Biases of heads: one entry for every token, beside a head's weight or alone."""
    for name, spec in specs.items():
        weight = f"{name.removesuffix('bias')}weight"
        beside = weight not in specs or is_vocabulary(weight)
        if spec.shape == (count,) and name.endswith("bias") and role_of(name) == "head" and beside:
            yield name


def _not_floats(reader: Reader, sides: Mapping[str, Side]) -> Iterator[Fault]:
    for name in sides:
        if DTYPES[reader.specs[name].dtype].kind != "float":
            message = f"{reader.label}: {name} should hold floats; it is {reader.specs[name].dtype}"
            yield Fault("quantised-input", message, subject=name)


def _unknown(reader: Reader, count: int, width: int, sides: Mapping[str, Side]) -> Iterator[Fault]:
    """Tensors outside the layers that are as long as the vocabulary, of which nobody says what that length is."""
    for name, spec in reader.specs.items():
        if name not in sides and role_of(name) in ("head", "other") and count in spec.shape and count != width:
            message = (
                f"{reader.label}: {name} {list(spec.shape)} has as many entries as there are rows of tokens ({count}), "
                "and it is not known whether they belong to tokens"
            )
            yield Fault("part-mismatch", message, subject=name)
