"""A model shown with the rows of another vocabulary.

    E'[r] = E[own(r)]              a row of the model's own: the same bytes
          = mean of other rows     a token that it does not have; of one row: that row; of none: 0
          = mean of all E'[r']     a row that belongs to no token (r' over those that do)

Rows are read where they stand, a tile at a time. Means are taken in float32 (float64 where an input has it), model by
model in the order of the recipe, and rounded once to the model's dtype.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cuvee.checkpoint.flat import check_range
from cuvee.checkpoint.identity import InputFile
from cuvee.checkpoint.protocol import Reader, SideFile
from cuvee.checkpoint.view import View
from cuvee.tokens.rows import PADDING, RowPlan
from cuvee.tokens.tables import Table
from cuvee.types import TensorSpec, VocabularyFacts

if TYPE_CHECKING:
    from torch import Tensor

_GAP: Final = 4
"""Rows between two that are wanted which are read along rather than read around."""
_CHUNK: Final = 1 << 20
"""Elements at a time for the mean of all rows."""


@dataclass(frozen=True)
class Shown:
    """What a model shows in the place of its own.

    Attributes:
        tables: its tensors with a row for every token.
        siblings: of each of them, the tensors of all models that rows are taken from, `None` where there is none.
        facts: what there is to say of the vocabularies.
        config: `config.json`, parsed.
        config_text: its text.
        side_files: the files beside the weights.
        read_files: the tokenizers' files.
        notes: what the user should know of this model's rows.
    """

    tables: Mapping[str, Table]
    siblings: Mapping[str, Sequence[str | None]]
    facts: VocabularyFacts
    config: Mapping[str, Any] | None = None
    config_text: str | None = None
    side_files: tuple[SideFile, ...] = ()
    read_files: tuple[InputFile, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()


class Revocabularied(View):
    """A `Reader` of a model whose vocabulary is the output's.

    Args:
        reader: the model.
        others: all models, by the numbers of the plan.
        plan: where its rows come from.
        shown: what else it shows.
    """

    def __init__(self, reader: Reader, others: Sequence[Reader], plan: RowPlan, shown: Shown) -> None:
        super().__init__(reader)
        self._others, self._plan, self._shown = others, plan, shown
        self._number = list(others).index(reader)
        self._is_own = plan.is_identity
        resized = {name: table.resized(plan.size) for name, table in shown.tables.items()}
        self._specs = {name: resized.get(name, spec) for name, spec in reader.specs.items()}
        self._means: dict[str, Tensor] = {}
        self._alone = threading.Lock()

    def computes(self, name: str) -> bool:
        """Whether a tensor has rows other than the model's own in their order."""
        table = self._shown.tables.get(name)
        return table is not None and not (self._is_own and table.rows == self._plan.size)

    @property
    def vocabulary(self) -> VocabularyFacts:
        """What there is to say of the vocabularies."""
        return self._shown.facts

    @property
    def rows(self) -> RowPlan:
        """Where the rows come from."""
        return self._plan

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor, with as many rows as the output has."""
        return self._specs

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The configuration, of the output's vocabulary."""
        return self._shown.config

    @property
    def config_text(self) -> str | None:
        """Its text."""
        return self._shown.config_text

    @property
    def side_files(self) -> tuple[SideFile, ...]:
        """The files to carry over, the output's tokenizer among them."""
        return self._shown.side_files

    @property
    def notes(self) -> tuple[str, ...]:
        """How the model was read, and where its rows come from."""
        facts, number = self._shown.facts, self._number
        own = facts.models[number]
        filled = [f"{count:,} {why}" for why, count in own.filled.items()]
        told = f"{own.own:,} of {facts.rows:,} rows its own" + "".join(f", {one}" for one in filled)
        first = (f"the vocabulary is {facts.source}: {facts.tokens:,} tokens", *facts.notes) if number == 0 else ()
        return (*self._reader.notes, *first, told, *self._shown.notes)

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The model's files, those that rows are taken from, and the tokenizers'."""
        files = {file.name: file for file in (*self._reader.input_files, *self._shown.read_files)}
        for number in self._taken_from():
            for file in self._others[number].input_files:
                files.setdefault(file.name, file)
        return tuple(files.values())

    @property
    def held(self) -> int:
        """Bytes that the model holds, and the numbers of rows."""
        return self._reader.held + self._plan.own.itemsize * self._plan.size

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` (not included) of a tensor."""
        if not self.computes(name):
            return self._reader.read(name, start, stop)
        check_range(name, start, stop, self._specs[name].numel)
        width = self._shown.tables[name].width
        first, last = start // width, -(-stop // width) if stop > start else start // width
        return self._rows(name, first, last).reshape(-1)[start - first * width : stop - first * width]

    def check_unchanged(self) -> None:
        """Refuse what was read of files that have changed since they were opened."""
        super().check_unchanged()
        for number in self._taken_from():
            self._others[number].check_unchanged()

    def _taken_from(self) -> list[int]:
        taken = {row.model for fill in self._plan.fills for row in fill.rows}
        return sorted(number for number in taken if self._others[number] is not self._reader)

    def _rows(self, name: str, first: int, last: int) -> Tensor:
        """Some rows of a table, shape `[last - first, width]`."""
        import torch

        codes, table = self._plan.own[first:last], self._shown.tables[name]
        out = torch.zeros(len(codes), table.width, dtype=getattr(torch, table.spec.dtype))
        wanted = [(row, at) for at, row in enumerate(codes) if row >= 0]
        put_rows(out, wanted, table.width, lambda start, stop: self._reader.read(name, start, stop))
        self._fill(out, name, codes)
        missing = [at for at, code in enumerate(codes) if code == PADDING]
        if missing:
            out[missing] = self._mean(name).to(out.dtype)
        return out

    def _fill(self, out: Tensor, name: str, codes: Sequence[int]) -> None:
        """The rows that other rows stand in for."""
        import torch

        filled = [at for at, code in enumerate(codes) if code < PADDING]
        if not filled:
            return
        width = out.shape[1]
        total = torch.zeros(len(filled), width, dtype=self._work(name))
        count = torch.zeros(len(filled), 1, dtype=total.dtype)
        for number, wanted in self._wanted(codes, filled).items():
            there, reader = self._shown.siblings[name][number], self._others[number]
            if there is None:  # told when the model was opened, unless the rows go to nothing
                continue
            part = torch.zeros_like(total)
            put_rows(part, wanted, width, lambda start, stop: reader.read(there, start, stop))  # noqa: B023 - called here
            total += part
            count[[at for _, at in wanted]] += 1
        out[filled] = (total / count.clamp(min=1)).to(out.dtype)

    def _wanted(self, codes: Sequence[int], filled: Sequence[int]) -> dict[int, list[tuple[int, int]]]:
        """What is needed of every model: rows there, each with its place among the filled ones."""
        wanted: dict[int, list[tuple[int, int]]] = {}
        for place, at in enumerate(filled):
            for row in self._plan.fill(codes[at]).rows:
                wanted.setdefault(row.model, []).append((row.row, place))
        return dict(sorted(wanted.items()))

    def _work(self, name: str) -> Any:
        import torch

        there = [(self._others[n], t) for n, t in enumerate(self._shown.siblings[name]) if t is not None]
        wide = any(reader.specs[tensor].dtype == "float64" for reader, tensor in there)
        return torch.float64 if wide or self._specs[name].dtype == "float64" else torch.float32

    def _mean(self, name: str) -> Tensor:
        """The mean of all rows that belong to a token, worked out once."""
        with self._alone:
            if name not in self._means:
                self._means[name] = self._mean_of(name)
            return self._means[name]

    def _mean_of(self, name: str) -> Tensor:
        import torch

        width = self._shown.tables[name].width
        total = torch.zeros(width, dtype=torch.float64)
        count = 0
        for codes in self._stretches(max(1, _CHUNK // max(1, width))):
            rows = self._rows(name, *codes).double()
            total += folded(rows)
            count += rows.shape[0]
        return total / max(1, count)

    def _stretches(self, most: int) -> Iterator[tuple[int, int]]:
        """Stretches of rows that belong to tokens, none longer than some number."""
        own, start = self._plan.own, 0
        while start < len(own):
            if own[start] == PADDING:
                start += 1
                continue
            stop = start + 1
            while stop < len(own) and stop - start < most and own[stop] != PADDING:
                stop += 1
            yield start, stop
            start = stop


def folded(rows: Tensor) -> Tensor:
    """The sum of rows by a fixed tree of additions, so that no kernel chooses another order."""
    import torch

    while rows.shape[0] > 1:
        half = rows.shape[0] // 2
        rows = torch.cat([rows[:half] + rows[half : 2 * half], rows[2 * half :]])
    return rows[0]


def put_rows(out: Tensor, wanted: Sequence[tuple[int, int]], width: int, read: Callable[[int, int], Tensor]) -> None:
    """Put rows of a model into their places.

    Args:
        out: where to, shape `[rows, width]`.
        wanted: number of a row there, its place in `out`.
        width: elements of a row.
        read: elements of the model's tensor from one to another.
    """
    for group in _near(sorted(wanted)):
        first, last = group[0][0], group[-1][0]
        span = read(first * width, (last + 1) * width).reshape(-1, width)
        out[[at for _, at in group]] = span[[row - first for row, _ in group]].to(out.dtype)


def _near(wanted: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Rows that stand near one another, to be read at once."""
    group: list[tuple[int, int]] = []
    for row, at in wanted:
        if group and row > group[-1][0] + _GAP:
            yield group
            group = []
        group.append((row, at))
    if group:
        yield group
