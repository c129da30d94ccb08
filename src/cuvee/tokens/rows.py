"""Where every row of a merged vocabulary comes from, model by model.

    row(m, t) = E_m[id_m(t)]                                  if m has t and t is not forced
              = what `tokens:` says of t                       else, if it says anything
              = E_base[id_base(t)]                             else, if there is a base and it has t
              = mean over the models k that have t of E_k[id_k(t)]      else
              = 0                                              if nobody has it

Rows that belong to no token are padding: the mean of all rows above it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

PADDING: Final = -1
"""In `RowPlan.own`: a row that belongs to no token. Other negative numbers are `-2 - index` into `RowPlan.fills`."""


@dataclass(frozen=True, slots=True)
class Zero:
    """A row of zeros."""


@dataclass(frozen=True, slots=True)
class OfModel:
    """The row of token number `row` of model number `model`."""

    model: int
    row: int


Given: TypeAlias = Zero | OfModel
"""Where a recipe says that a token's row comes from."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a recipe says of one token; with `force`, models that have the token take the row as well."""

    source: Given
    force: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """A row that is not the model's own: the mean of some rows of models; of none, zeros.

    Attributes:
        rows: number of the model, row there.
        why: in words, for plans.
    """

    rows: tuple[OfModel, ...]
    why: str


@dataclass(frozen=True)
class RowPlan:
    """Where the rows of one model's output tensors come from.

    Attributes:
        own: for every output row: the model's own row; `PADDING`; or a fill.
        fills: the distinct fills.
    """

    own: array[int] = field(repr=False)
    fills: tuple[Fill, ...] = field(default=(), repr=False)

    @property
    def size(self) -> int:
        """Rows of the output."""
        return len(self.own)

    @property
    def is_identity(self) -> bool:
        """Whether every row is the model's own of the same number."""
        return all(row == number for number, row in enumerate(self.own))

    def fill(self, code: int) -> Fill:
        """The fill that a negative number stands for."""
        return self.fills[-2 - code]

    def counts(self) -> Mapping[str, int]:
        """How many rows come from where: `own`, the words of fills, `padding`."""
        words = ("own" if c >= 0 else "padding" if c == PADDING else self.fill(c).why for c in self.own)
        return dict(Counter(words))


def plan_rows(
    model: int,
    tokens: Mapping[str, int],
    known: Sequence[Mapping[str, int]],
    wishes: Mapping[str, Wish] | None = None,
    *,
    base: int | None = None,
    size: int | None = None,
) -> RowPlan:
    """Where the rows of one model come from.

    Args:
        model: its number among `known`.
        tokens: the output's vocabulary: token → row.
        known: the vocabulary of every model: token → row there.
        wishes: what the recipe says of single tokens.
        base: number of the base model, if there is one.
        size: rows of the output, at least one for every token; as many as there are tokens by default.
    """
    rows = array("q", [PADDING]) * (size if size is not None else max(tokens.values(), default=-1) + 1)
    fills: dict[Fill, int] = {}
    for token, row in tokens.items():
        wish = (wishes or {}).get(token)
        mine = known[model].get(token)
        if mine is not None and not (wish and wish.force):
            rows[row] = mine
            continue
        fill = _of_wish(wish) if wish else _usual(token, known, base)
        rows[row] = -2 - fills.setdefault(fill, len(fills))
    return RowPlan(rows, tuple(fills))


def unchanged(rows: int) -> RowPlan:
    """Every row the model's own, padding included."""
    return RowPlan(array("q", range(rows)))


def _of_wish(wish: Wish) -> Fill:
    if isinstance(wish.source, Zero):
        return Fill((), "zeros")
    return Fill((wish.source,), "as the recipe says")


def _usual(token: str, known: Sequence[Mapping[str, int]], base: int | None) -> Fill:
    """The base's row, else the mean of those who have it; the only owner's row is a mean of one."""
    if base is not None and token in known[base]:
        return Fill((OfModel(base, known[base][token]),), "the base")
    owners = tuple(OfModel(number, ids[token]) for number, ids in enumerate(known) if token in ids)
    words = {0: "zeros", 1: "the only model that has the token"}
    return Fill(owners, words.get(len(owners), "the mean of those that have it"))


def rounded_up(size: int, multiple: int | None) -> int:
    """The next multiple.

    Example:
        >>> rounded_up(151665, 64), rounded_up(100, None)
        (151680, 100)
    """
    return size if multiple is None else -(-size // multiple) * multiple
