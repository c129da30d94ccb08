"""The rows of a transplanted tokenizer, made block by block: copied, sums of the model's rows, or their mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from cuvee import tensors
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError, ResourceError
from cuvee.tensors import Sparse
from cuvee.tokens.matrices import Side as Kind
from cuvee.tokens.pairing import specials_of
from cuvee.tokens.pieces import pieces_of
from cuvee.tokens.spelling import spellings
from cuvee.tokens.transplanting import BY_ANCHORS, Plan, Side

Told = Callable[[int, int], None]
_BLOCK: Final = 1 << 22
"""Entries that are made at once."""
_AT_ONCE: Final = 1 << 29
"""Most bytes of what tokens are looked for with, whatever is allowed: more is no faster."""


@dataclass(frozen=True)
class Sums:
    """Tokens that the model does not have, as sums of rows that it has.

    Attributes:
        sparse: the sums, of the model's rows by their numbers; a row of zeros stands for none.
        left: mean share of a donor's row that its anchors do not reach, `None` where none were looked for.
    """

    sparse: Sparse
    left: float | None

    @property
    def empty(self) -> Tensor:
        """Tokens for which no sum was found, bool [tokens]."""
        return ~self.sparse.weights.bool().any(1)


def find_sums(plan: Plan, *, memory: int, told: Told) -> dict[Kind, Sums]:
    """Find the sums, for embeddings and for heads with values of their own.

    Args:
        plan: what is to be done.
        memory: bytes that may be held besides the rows of both models.
        told: called with tokens done and their number.

    Raises:
        InputError: `non-finite`: rows of either model.
        ResourceError: `memory`: the donor's rows alone are more.
    """
    kinds = sorted(set(plan.model.rows.sides.values()))
    alone = len(plan.pairing.alone)
    if plan.method not in BY_ANCHORS or not alone:
        sums = Sums(_of_pieces(plan) if plan.method == "subword-mean" and alone else _nothing(alone), None)
        return dict.fromkeys(kinds, sums)
    names = {kind: plan.donor.rows.head if kind == "head" else None for kind in kinds}
    found: dict[str, Sums] = {}
    for number, name in enumerate(dict.fromkeys(name or plan.donor.rows.embedding for name in names.values())):
        start = number * alone

        def follow(done: int, start: int = start) -> None:
            told(start + done, alone * len(set(names.values())))

        found[name] = _by_anchors(plan, name, memory, follow)
    return {kind: found[name or plan.donor.rows.embedding] for kind, name in names.items()}


def _nothing(count: int) -> Sparse:
    zeros = torch.zeros(count, 1)
    return Sparse(zeros.long(), zeros.double(), zeros[:, 0].double())


def _of_pieces(plan: Plan) -> Sparse:
    """The mean of the pieces that each token's text is split into."""
    old, new = plan.model.vocabulary, plan.donor.vocabulary
    special = specials_of(old)
    spelled = {old.ids[token]: text for token, text in spellings(old).items() if token not in special and text}
    numbers = {text: number for number, text in sorted(spelled.items(), reverse=True)}
    texts = {new.ids[token]: text for token, text in spellings(new).items()}
    rows = [pieces_of(texts.get(number, b""), spelled, numbers, plan.split) for number in plan.pairing.alone]
    width = max(map(len, rows), default=1) or 1
    atoms, weights = torch.zeros(len(rows), width, dtype=torch.int64), torch.zeros(len(rows), width).double()
    for at, row in enumerate(rows):
        atoms[at, : len(row)] = torch.tensor(row, dtype=torch.int64)
        weights[at, : len(row)] = 1 / len(row) if row else 0
    return Sparse(atoms, weights, torch.zeros(len(rows)).double())


def _by_anchors(plan: Plan, name: str, memory: int, told: Callable[[int], None]) -> Sums:
    """The donor's rows told by its rows of shared tokens."""
    rows = read_rows(plan.donor, name, memory)
    work = rows.dtype if rows.dtype == torch.float64 else torch.float32
    pairs = torch.tensor(plan.anchors)
    atoms = rows[pairs[:, 0]].to(work)
    wanted = torch.tensor(plan.pairing.alone, dtype=torch.int64)
    shape = {"atoms": len(atoms), "width": rows.shape[1], "k": plan.k, "size": atoms.element_size()}
    parts: list[Sparse] = []
    find = tensors.pursue if plan.method == "omp" else nearest
    for some in torch.split(wanted, tensors.rows_within(min(memory // 4, _AT_ONCE), **shape)):
        parts.append(find(rows[some].to(work), atoms, k=plan.k))
        told(sum(len(part.left) for part in parts))
    if not parts:
        return Sums(_nothing(0), None)
    atoms_of, weights, left = (torch.cat([getattr(p, key) for p in parts]) for key in ("atoms", "weights", "left"))
    return Sums(Sparse(pairs[atoms_of, 1], weights, left), float(left.mean()))


def nearest(targets: Tensor, atoms: Tensor, *, k: int) -> Sparse:
    """The k atoms nearest to every target, each counting as the inverse of its distance; weights add up to 1.

    Args:
        targets: [rows, width].
        atoms: [n, width].
        k: how many, at most n.
    """
    far = torch.cdist(targets.double(), atoms.double())
    distance, chosen = far.topk(min(k, len(atoms)), largest=False)
    near = distance <= 1e-12 * torch.linalg.vector_norm(targets.double(), dim=1)[:, None]
    weights = torch.where(near.any(1)[:, None], near.double(), 1 / distance.clamp_min(1e-300))
    weights = weights / weights.sum(1, keepdim=True)
    found = Sparse(chosen, weights, torch.zeros(len(targets)).double())
    lengths = torch.linalg.vector_norm(targets.double(), dim=1)
    rest = torch.linalg.vector_norm(targets.double() - found.of(atoms), dim=1)
    return Sparse(chosen, weights, torch.where(lengths > 0, rest / lengths.clamp_min(1e-300), 0.0))


def read_rows(side: Side, name: str, memory: int) -> Tensor:
    """All rows of a tensor in memory, a bias as rows of one entry.

    Raises:
        InputError: `non-finite`.
        ResourceError: `memory`.
    """
    spec = side.reader.specs[name]
    needed = spec.nbytes + 8 * spec.numel  # as it is stored, and twice in float32
    if needed > memory:
        message = f"{side.reader.label}: the rows of {name} need {needed:,} bytes of memory; {memory:,} are allowed"
        raise ResourceError(Fault("memory", message, subject=name, hint="allow more with --max-memory"))
    rows = torch.cat([part.clone() for part in pieces(side.reader, name)]).reshape(side.rows.count, -1)
    if not bool(torch.isfinite(rows).all()):
        message = f"{side.reader.label}: {name} holds NaN or infinity, and every row may have a part in others"
        raise InputError(Fault("non-finite", message, subject=name))
    return rows


def pieces(reader: Reader, name: str) -> Iterator[Tensor]:
    """A tensor, flat, in parts."""
    count = reader.specs[name].numel
    return (reader.read(name, start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))


def grown(plan: Plan, name: str, sums: Mapping[Kind, Sums], memory: int) -> Iterator[Tensor]:
    """A tensor with rows for the new tokens, flat, in parts, in its own dtype.

    Rows of padding, and of tokens for which no sum was found unless zeros are asked for, are the mean of the rows of
    the model's tokens.
    """
    rows = read_rows(plan.model, name, memory)
    sparse = sums[plan.model.rows.sides[name]]
    mean = rows[sorted(set(plan.model.vocabulary.ids.values()))].double().mean(0)
    source = torch.full((plan.rows,), -1, dtype=torch.int64)
    for new, old in plan.pairing.found.items():
        source[new] = old
    place = torch.full((plan.rows,), -1, dtype=torch.int64)
    place[torch.tensor(plan.pairing.alone, dtype=torch.int64)] = torch.arange(len(plan.pairing.alone))
    lacking = torch.zeros_like(mean) if plan.method == "zero" else mean
    for some in torch.split(torch.arange(plan.rows), max(1, _BLOCK // rows.shape[1])):
        made = mean.to(rows.dtype).repeat(len(some), 1)
        copied, own = source[some] >= 0, place[some] >= 0
        made[copied] = rows[source[some][copied]]
        made[own] = _summed(sparse, place[some][own], rows, lacking).to(rows.dtype)
        yield made.flatten()


def _summed(sums: Sums, which: Tensor, rows: Tensor, lacking: Tensor) -> Tensor:
    part = Sparse(sums.sparse.atoms[which], sums.sparse.weights[which], sums.sparse.left[which])
    made = part.of(rows)
    made[sums.empty[which]] = lacking
    return made
