"""Which token of one vocabulary is which of another: by what tokens write, never by how they stand in a list.

    identical    the same bytes under the same ids: logits are compared entry by entry
    permuted     the same bytes under other ids: logits are put in the first model's order, to the last bit
    topk_union   anything else: `union` compares the likeliest candidates of each model

Special tokens write nothing. They are the same where their content is; the tokens that end a text are the same in that
role, whatever they are called. A special token that a model does not have is left out of what is written, but for ends:
the probability that one model gives to an end which another lacks goes to an end that all have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cuvee.errors import Fault, InputError, listed
from cuvee.generate.members import LanguageModel
from cuvee.generate.vocabulary import Vocabulary

Align = Literal["auto", "identical", "permuted", "topk_union", "byte"]
Relation = Literal["identical", "permuted", "different"]


@dataclass(frozen=True, eq=False)
class Pairing:
    """The tokens of a first vocabulary in another.

    Attributes:
        relation: what the two are to each other.
        index: first id → the other's id, −1 where it has none; empty where they are different.
        why: the first difference, for messages.
        only_theirs: special tokens of the other that the first lacks.
    """

    relation: Relation
    index: tuple[int, ...] = ()
    why: str = ""
    only_theirs: tuple[int, ...] = ()


def paired(first: Vocabulary, other: Vocabulary) -> Pairing:
    """How the tokens of two vocabularies go together.

    Tokens of the same bytes go together; where several of one vocabulary write the same bytes, as `A` and the byte
    0x41 do, those that stand in it alike. Two vocabularies are different as soon as one ordinary token has no partner.
    """
    index = [-1] * len(first)
    for text in dict.fromkeys([*first.by_bytes, *other.by_bytes]):  # in order: the first difference is told
        ours, theirs = first.by_bytes.get(text, ()), other.by_bytes.get(text, ())
        found = _matched(first, ours, other, theirs)
        if found is None:
            return Pairing(
                "different", why=f"{text!r} is {_times(len(ours))} in one and {_times(len(theirs))} in the other"
            )
        for one, two in found:
            index[one] = two
    content = {name: number for number, name in other.special.items()}
    for number, name in first.special.items():
        index[number] = content.pop(name, -1)
    same = len(first) == len(other) and all(two in (one, -1) for one, two in enumerate(index)) and not content
    lacking = any(index[number] < 0 for number in first.special)
    return Pairing("identical" if same and not lacking else "permuted", tuple(index), "", tuple(content.values()))


def _matched(
    first: Vocabulary, ours: Sequence[int], other: Vocabulary, theirs: Sequence[int]
) -> list[tuple[int, int]] | None:
    if len(ours) != len(theirs):
        return None
    if len(ours) == 1:
        return [(ours[0], theirs[0])]
    by_surface = {other.surface[number]: number for number in theirs}
    found = [(number, by_surface[first.surface[number]]) for number in ours if first.surface[number] in by_surface]
    return found if len(found) == len(ours) else None


def _times(count: int) -> str:
    return "missing" if count == 0 else "one token" if count == 1 else f"{count} tokens"


@dataclass(frozen=True, eq=False)
class Place:
    """How the logits of one model come into the first model's order.

    Attributes:
        index: int64 `[C]`: where each of the C candidates stands in the model's logits; 0 where it stands nowhere.
        absent: bool `[C]`: candidates that nobody may write.
        folded: ends of this model whose probability goes to the candidate `end`.
        end: a token that ends a text and that all models have; −1 where there is none.
    """

    index: Tensor
    absent: Tensor
    folded: tuple[int, ...]
    end: int

    def put(self, logits: Tensor) -> Tensor:
        """`[B, V]` → `[B, C]`, −∞ for what may not be written."""
        found = logits[:, self.index.to(logits.device)]
        for token in self.folded:
            found[:, self.end] = torch.logaddexp(found[:, self.end], logits[:, token])
        return found.masked_fill(self.absent.to(logits.device), -math.inf)


def places(members: Sequence[LanguageModel], pairings: Sequence[Pairing]) -> tuple[Place, ...]:
    """Where the first model's tokens stand in each model; the first pairing is the first model's with itself."""
    first = members[0].vocabulary
    indices = [list(one.index) for one in pairings]
    end = _common_end(members, indices)
    absent = [token is None or any(index[i] < 0 for index in indices) for i, token in enumerate(first.surface)]
    made = []
    for member, index, pairing in zip(members, indices, pairings, strict=True):
        own = (*pairing.only_theirs, *(index[i] for i, gone in enumerate(absent) if gone and index[i] >= 0))
        folded = tuple(token for token in own if token in member.vocabulary.ends) if end >= 0 else ()
        at = torch.tensor([max(number, 0) for number in index])
        made.append(Place(at, torch.tensor(absent), folded, end))
    return tuple(made)


def _common_end(members: Sequence[LanguageModel], indices: list[list[int]]) -> int:
    """An end of the first model's that is an end of all; else their own ends are made one in that role."""
    ends = [member.vocabulary.ends for member in members]
    for token in ends[0]:
        if all(index[token] in own for index, own in zip(indices, ends, strict=True)):
            return token
    if not all(ends):
        return -1
    for index, own in zip(indices, ends, strict=True):
        index[:] = [-1 if two == own[0] else two for two in index]  # it has one partner, the end
        index[ends[0][0]] = own[0]
    return ends[0][0]


def refuse_other(members: Sequence[LanguageModel], pairings: Sequence[Pairing], align: Align) -> None:
    """Refuse vocabularies that are not what was asked for.

    Raises:
        InputError: `no-vocabulary-map`: every pair that is not.
    """
    allowed = {"identical": ("identical",), "permuted": ("identical", "permuted")}.get(align)
    if allowed is None:
        return
    faults = []
    for other, pairing in zip(members, pairings, strict=True):
        if pairing.relation not in allowed:
            faults.append(_other(members[0], other, pairing, align))
    if faults:
        raise InputError(faults)


def _other(first: LanguageModel, other: LanguageModel, pairing: Pairing, align: Align) -> Fault:
    sizes = f"{len(first.vocabulary):,} and {len(other.vocabulary):,} tokens"
    why = pairing.why or _moved(first.vocabulary, pairing)
    message = f"{first.name} and {other.name} must have {align} vocabularies; they have {sizes}: {why}"
    hint = "align='auto' or 'permuted' maps them exactly" if pairing.relation == "permuted" else "align='topk_union'"
    return Fault("no-vocabulary-map", message, subject=other.name, hint=hint)


def _moved(first: Vocabulary, pairing: Pairing) -> str:
    moved: Mapping[int, int] = {i: two for i, two in enumerate(pairing.index) if two not in (i, -1)}
    if moved:
        one, two = next(iter(moved.items()))
        return f"{first.surface[one]!r} is {one} in one and {two} in the other, and {len(moved) - 1:,} more are moved"
    lacking = [str(first.surface[i]) for i in first.special if pairing.index[i] < 0]
    return f"only one has {listed(lacking) if lacking else 'some special tokens'}"
