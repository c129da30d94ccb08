"""Exact next-byte distributions of language models over tokens: models of any vocabularies can be fused by bytes.

With x written so far, and b the byte behind it,

    P(x b) = Σ_h p(h) Σ_t p(t | h),    h: token sequences that spell a beginning x[:j] of x,
                                       t: tokens whose bytes begin with x[j:] b,    j ≤ |x|
    P(x end) = Σ_h p(h) p(end | h),    h: token sequences that spell all of x

and P(b | x) is P(x b) over the sum of all. Every tokenisation of what is written counts, not only the tokenizer's own.
Prompts are read as their tokenizer writes them.

Sequences h grow in number with the text: for a trained model nearly all of p lies on few of them. The `HEADS` likeliest
are kept, and what share of P(x) the others had is known: without any, the distribution is exact. Each sequence is read
from its beginning once, so this is slow.

References:
    Vieira et al. 2024, From Language Models over Tokens to Language Models over Characters (arXiv:2412.03719); Hayase
    et al. 2025, Sampling from Your Language Model One Byte at a Time (arXiv:2506.14123), who count the tokenizer's own
    sequences alone.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor

from cuvee.generate.fusing import logs_of
from cuvee.generate.members import LanguageModel, refuse_nonsense
from cuvee.generate.rows import Row, Taken
from cuvee.generate.writer import Writer

HEADS: Final = 64
"""Most token sequences that are followed for a text and a model."""

END: Final = 256
"""The candidate behind the 256 bytes: the text ends."""


@dataclass(frozen=True, eq=False)
class Spelling:
    """The tokens of a vocabulary in the order of their bytes.

    Attributes:
        member: whose they are.
    """

    member: LanguageModel

    @cached_property
    def order(self) -> list[tuple[bytes, int]]:
        """Bytes and id of every token that writes something, by bytes."""
        return sorted((text, i) for i, text in enumerate(self.member.vocabulary.written) if text)

    @cached_property
    def ids(self) -> Tensor:
        """Ids in that order."""
        return torch.tensor([number for _, number in self.order], dtype=torch.int64)

    @cached_property
    def allowed(self) -> Tensor:
        """Bool `[V]`: tokens that write something, and ends."""
        found = torch.zeros(len(self.member.vocabulary), dtype=torch.bool)
        found[self.ids] = True
        found[list(self.member.vocabulary.ends)] = True
        return found

    def beginning(self, text: bytes) -> slice:
        """Where the tokens stand that begin with a text."""
        after = text.rstrip(b"\xff")
        end = bisect_left(self.order, (after[:-1] + bytes([after[-1] + 1]), -1)) if after else len(self.order)
        return slice(bisect_left(self.order, (text, -1)), end)

    def bytes_at(self, depth: int) -> Tensor:
        """The byte at a place of every token, in order; 0 where it is shorter, and such are never asked about."""
        if depth not in self._columns:
            column = [text[depth] if len(text) > depth else 0 for text, _ in self.order]
            self._columns[depth] = torch.tensor(column, dtype=torch.int64)
        return self._columns[depth]

    @cached_property
    def _columns(self) -> dict[int, Tensor]:
        return {}


@dataclass(frozen=True, eq=False)
class Head:
    """A token sequence that spells a beginning of what is written.

    Attributes:
        ids: prompt and sequence.
        log: log p(h).
        left: what is written behind what it spells.
        following: log p(t | h) of every token, `[V]`, float64.
    """

    ids: tuple[int, ...]
    log: float
    left: bytes
    following: Tensor


class Covering:
    """One model behind one text: all sequences that may still become what is written.

    Args:
        spelling: the model's tokens.
        prompt: its tokens of the prompt.
        temperature: of its distributions.
    """

    def __init__(self, spelling: Spelling, prompt: Sequence[int], temperature: float) -> None:
        self._spelling, self._temperature = spelling, temperature
        self._heads = self._read([(tuple(prompt), 0.0)])
        self.dropped = 0.0

    def logs(self) -> Tensor:
        """Log P(b | x) of the 256 bytes and the end, `[257]`, float64."""
        top = max(head.log for head in self._heads)
        mass = torch.zeros(END + 1, dtype=torch.float64)
        for head in self._heads:
            where = self._spelling.beginning(head.left)
            start = bisect_left(
                self._spelling.order, (head.left + b"\x00", -1)
            )  # a token that is `left` has no byte behind
            where = slice(max(where.start, start), where.stop) if head.left else where
            p = head.following[self._spelling.ids[where]].exp() * math.exp(head.log - top)
            mass.index_add_(0, self._spelling.bytes_at(len(head.left))[where], p)
            if not head.left:
                ends = list(self._spelling.member.vocabulary.ends)
                mass[END] += float(head.following[ends].exp().sum()) * math.exp(head.log - top)
        return (mass / mass.sum()).log()

    def write(self, byte: int) -> None:
        """Go on behind one more byte."""
        kept, new = [], []
        for head in self._heads:
            left = head.left + bytes([byte])
            where = self._spelling.beginning(left)
            for text, token in self._spelling.order[where]:
                if text != left:
                    break
                new.append(((*head.ids, token), head.log + float(head.following[token])))
            if where.start < where.stop and self._spelling.order[where.stop - 1][0] != left:
                kept.append(Head(head.ids, head.log, left, head.following))
        self._heads = self._likeliest([*kept, *self._read(new)])

    def _likeliest(self, heads: list[Head]) -> list[Head]:
        if len(heads) <= HEADS:
            return heads
        logs = [self._weight(head) for head in heads]
        order = sorted(range(len(heads)), key=lambda i: -logs[i])
        top = logs[order[0]]
        shares = [math.exp(logs[i] - top) for i in order]
        self.dropped = max(self.dropped, math.fsum(shares[HEADS:]) / math.fsum(shares))
        return [heads[i] for i in order[:HEADS]]

    def _weight(self, head: Head) -> float:
        """Log of the share of P(x) that a sequence carries: its own, and that of the tokens that cover what is left."""
        if not head.left:
            return head.log
        tokens = self._spelling.ids[self._spelling.beginning(head.left)]
        return head.log + float(head.following[tokens].logsumexp(0))

    def _read(self, sequences: Sequence[tuple[tuple[int, ...], float]]) -> list[Head]:
        if not sequences:
            return []
        member = self._spelling.member
        logits = (
            Writer(member.model, cached=False, manners=member.manners).next_logits([ids for ids, _ in sequences]).cpu()
        )
        barred = ~self._spelling.allowed
        following = logs_of(logits[:, : len(member.vocabulary)].masked_fill(barred, -math.inf), self._temperature)
        refuse_nonsense(member, following)
        return [Head(ids, log, b"", following[i]) for i, (ids, log) in enumerate(sequences)]


class Bytewise:
    """How models write together byte by byte.

    Args:
        members: the models.
        temperatures: of each.
    """

    def __init__(self, members: tuple[LanguageModel, ...], temperatures: tuple[float, ...]) -> None:
        self._spellings = [Spelling(member) for member in members]
        self._temperatures = temperatures

    def begin(self, rows: Sequence[Row]) -> ByteReading:
        """Read prompts."""
        return ByteReading(
            [
                [Covering(spelling, row.prompts[k].ids, temperature) for row in rows]
                for k, (spelling, temperature) in enumerate(zip(self._spellings, self._temperatures, strict=True))
            ]
        )

    def taken(self, _table: Any, _number: int, at: int) -> Taken:
        """A byte, or the end."""
        return Taken(None, b"", True) if at == END else Taken(None, bytes([at]), False)


def _for_all(stack: Tensor) -> Tensor:
    """Only bytes that every model can write: behind another, one would have nothing to say. The end is for all."""
    barred = torch.isneginf(stack).any(0)
    barred[:, END] = False
    left = stack.masked_fill(barred, -math.inf)
    over = torch.isneginf(left).all(-1)  # nothing is left to write
    left[..., END] = torch.where(over, torch.zeros_like(left[..., END]), left[..., END])
    return left.log_softmax(-1)


class ByteReading:
    """Texts while they are written byte by byte."""

    def __init__(self, coverings: list[list[Covering]]) -> None:
        self._coverings = coverings
        self._done = [0] * len(coverings[0])

    def too_long(self, _rows: Sequence[Row]) -> set[int]:
        """None: as many bytes as were asked for are at most as many tokens, which was checked."""
        return set()

    def propose(self, rows: Sequence[Row]) -> tuple[Tensor, None]:
        """Log-probabilities of what may come behind each text, `[K, B, 257]`."""
        stack = torch.full((len(self._coverings), len(rows), END + 1), -math.inf, dtype=torch.float64)
        for number, row in enumerate(rows):
            if row.is_over:
                continue
            new, self._done[number] = row.sofar[self._done[number] :], len(row.sofar)
            for k, own in enumerate(self._coverings):
                for byte in new:
                    own[number].write(byte)
                stack[k, number] = own[number].logs()
        return _for_all(stack), None

    @property
    def dropped(self) -> float:
        """The largest share of P(x) that was left out at any place."""
        return max(one.dropped for own in self._coverings for one in own)
