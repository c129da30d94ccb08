"""Models of different vocabularies: the union of the likeliest tokens of each, compared by the bytes that they write.

After Yao et al. 2025, Determine-Then-Ensemble: Necessity of Top-k Union for Large Language Model Ensembling
(arXiv:2410.03777). What is done here, exactly, at every place of every text:

1. Each model names its k likeliest tokens. A candidate is what a token writes, so equal bytes are one candidate. "The
   text ends" is one candidate too, named by a model one of whose end tokens is among its k likeliest. Other special
   tokens are none.
2. A candidate is dropped if a model could not read the text that it makes: only where the text would stop in the middle
   of a letter, and the model has no tokens for single bytes.
3. Model m gives a candidate c the probability
       of its token that writes c, if it has one (of several, their sum);
       else of the longest of its tokens that c begins with: the first piece of c as it would write it;
       0 if it has none. For the end: the sum of its end tokens' probabilities.
4. Each model's probabilities are divided by their sum over the candidates; then models are fused as with one
   vocabulary. A model that can write no candidate has no preference: all are as probable.
5. The bytes of the accepted candidate go behind the text, and every model reads the whole text by its own tokenizer
   again (`Writer` keeps what the old and the new sequence have in common).

Candidates stand in the order in which models name them, the first model's first, likeliest first; of equally probable
ones the first is taken.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cuvee.generate.fusing import logs_of
from cuvee.generate.members import LanguageModel
from cuvee.generate.prompts import encoded
from cuvee.generate.rows import Row, Taken

END = None
"""The candidate "the text ends"."""

Table = list[list[bytes | None]]
"""The candidates of each row."""


@dataclass(frozen=True, eq=False)
class Union:
    """How models of different vocabularies write together.

    Attributes:
        members: the models.
        top: k, tokens that each names.
        temperatures: of each model.
    """

    members: tuple[LanguageModel, ...]
    top: int
    temperatures: tuple[float, ...]
    _parts: tuple[dict[bytes, tuple[int, ...]], ...] = field(init=False)
    _quiet: tuple[Tensor, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parts", tuple({} for _ in self.members))
        object.__setattr__(self, "_quiet", tuple(_silent(member) for member in self.members))

    def candidates(self, logits: Sequence[Tensor], rows: Sequence[Row]) -> tuple[Tensor, Table]:
        """What may be written behind each text.

        Args:
            logits: of each model, `[B, V_m]`.
            rows: the texts so far; none is named for those that are over.

        Returns:
            Log-probabilities `[K, B, C]`, −∞ behind a row's own candidates; and the candidates of each row.
        """
        logs = [
            logs_of(one[:, : len(member.vocabulary)], temperature)
            for one, member, temperature in zip(logits, self.members, self.temperatures, strict=True)
        ]
        table = [[] if row.is_over else self._named([one[i] for one in logs], row.sofar) for i, row in enumerate(rows)]
        stack = torch.full((len(logs), len(rows), max(map(len, table), default=0)), -math.inf, dtype=torch.float64)
        for number, named in enumerate(table):
            for k, one in enumerate(logs):
                if named:
                    stack[k, number, : len(named)] = _shares(self._given(k, one[number], named))
        return stack, table

    def taken(self, table: Table, number: int, at: int) -> Taken:
        """A candidate of a row."""
        found = table[number][at]
        return Taken(None, b"", True) if found is END else Taken(None, found, False)

    def _named(self, logs: Sequence[Tensor], text: bytes) -> list[bytes | None]:
        """The candidates of one row; steps 1 and 2."""
        found: dict[bytes | None, None] = {}
        for member, quiet, one in zip(self.members, self._quiet, logs, strict=True):
            words = member.vocabulary
            count = min(self.top, len(quiet) - int(quiet.sum()))
            likeliest = one.masked_fill(quiet.to(one.device), -math.inf).topk(count).indices
            found |= dict.fromkeys(END if token in words.ends else words.written[token] for token in likeliest.tolist())
        kept = [c for c in found if c is END or all(self._can_read(k, text + c) for k in range(len(self.members)))]
        return kept or [END]

    def _can_read(self, k: int, text: bytes) -> bool:
        _, rest = split_letters(text)
        return all(self.members[k].vocabulary.by_bytes.get(bytes([byte])) for byte in rest)

    def _given(self, k: int, logs: Tensor, row: Sequence[bytes | None]) -> Tensor:
        """What a model gives each candidate, `[C]`; step 3."""
        tokens = [self.members[k].vocabulary.ends if c is END else self._tokens(k, c) for c in row]
        values = logs.cpu()
        if all(len(own) == 1 for own in tokens):
            return values[[own[0] for own in tokens]]
        none = torch.tensor(-math.inf, dtype=torch.float64)
        return torch.stack([values[list(own)].logsumexp(0) if own else none for own in tokens])

    def _tokens(self, k: int, candidate: bytes) -> tuple[int, ...]:
        known, words = self._parts[k], self.members[k].vocabulary
        if candidate not in known:
            own, part = words.by_bytes.get(candidate), words.first_part(candidate)
            known[candidate] = own or (() if part is None else (part,))
        return known[candidate]

    def sequence(self, k: int, row: Row) -> list[int]:
        """The tokens of a prompt and what was written behind it, as model k reads them: of the whole text at once."""
        prompt = row.prompts[k]
        if not row.sofar:
            return list(prompt.ids)
        text, rest = split_letters(row.sofar)
        words = self.members[k].vocabulary
        return [
            *prompt.start,
            *encoded(self.members[k], prompt.text + text),
            *(words.by_bytes[bytes([byte])][0] for byte in rest),
        ]


def _shares(logs: Tensor) -> Tensor:
    """Divided by their sum; the same for all where all are 0."""
    return torch.log_softmax(torch.zeros_like(logs) if torch.isneginf(logs).all() else logs, dim=-1)


def _silent(member: LanguageModel) -> Tensor:
    """Tokens that write nothing and are no ends, bool `[V]`."""
    words = member.vocabulary
    return torch.tensor([not text and number not in words.ends for number, text in enumerate(words.written)])


def split_letters(text: bytes) -> tuple[str, bytes]:
    r"""The whole letters of a text, and the bytes at its end that are the beginning of one.

    Bytes that are no UTF-8 and cannot become it are read as U+FFFD, as tokenizers decode them.

    Example:
        >>> split_letters("né".encode()[:-1])
        ('n', b'\xc3')
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    whole = decoder.decode(text)
    return whole, decoder.getstate()[0]
