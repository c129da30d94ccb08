"""The count of tensors: what was asked for by name against what the plan makes of it, found out independently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cuvee.planning.model import Piece, Step, Tied, copies_in
from cuvee.planning.slots import Opened, Part


@dataclass(frozen=True, slots=True)
class Account:
    """Input tensors that no output tensor speaks of.

    Attributes:
        lost: tensors of parts that are merged whole; the promise is that there is none.
        left_out: tensors that the recipe's slices do not ask for (other layers, other models' embeddings).
    """

    lost: tuple[Piece, ...]
    left_out: tuple[Piece, ...]


def account(opened: Sequence[Opened], parts: Sequence[Part], steps: Sequence[Step], tied: Sequence[Tied]) -> Account:
    """Go through every tensor of every model and see where it went.

    A tensor is accounted for when a step reads it, when it is compared with one that is, or — in a part merged whole —
    when an output tensor of its name is written or tied.
    """
    used = {piece for step in steps for piece in (*step.pieces, *step.must_equal)}
    used |= {copy for copy, _ in copies_in(steps, tied)}
    written = {step.out.name for step in steps} | {t.name for t in tied}
    lost: list[Piece] = []
    left_out: list[Piece] = []
    for piece, part in _tensors(opened, parts):
        if piece in used or (not part.slices and piece.tensor in written):
            continue
        (left_out if part.slices else lost).append(piece)
    return Account(tuple(lost), tuple(left_out))


def _tensors(opened: Sequence[Opened], parts: Sequence[Part]) -> Iterator[tuple[Piece, Part]]:
    """Every tensor of every model that a part names, with that part."""
    for part in parts:
        named = {e.model for e in part.models} | {s.model for piece in part.slices for s in piece.sources}
        for number, model in enumerate(opened):
            if model.ref not in named:
                continue
            yield from ((Piece(number, name), part) for name in model.reader.specs if part.claims(name))
