"""Samples as a model takes them: token numbers, batches with their padding marked, and masks drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from cuvee.data.fit import class_number, foreign_label, foreign_token
from cuvee.data.rows import MOST_FAULTS, Row, bad_row
from cuvee.errors import Fault, InputError, listed
from cuvee.families.inputs import classes_of, longest_input
from cuvee.families.running import Running

MASKED_SHARE: Final = 0.15
"""Of the tokens of a sample, as BERT was trained; all of them become the mask token."""
BATCH_TOKENS: Final = 4096
"""Tokens run at once where nobody says how many samples."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One input of a model.

    Attributes:
        index: its place among the samples, from which its random numbers come.
        line: line of the data.
        ids: token numbers as the model gets them, masks included.
        targets: what stands under the masks, by position.
        label: number of its class, where one is given.
    """

    index: int
    line: int
    ids: tuple[int, ...]
    targets: tuple[tuple[int, int], ...] = ()
    label: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples run at once: `ids` and `mask` are `[B, T]`; `mask` is false on padding."""

    ids: Tensor
    mask: Tensor

    @property
    def padded(self) -> bool:
        """Whether there is padding in it."""
        return not bool(self.mask.all())


def samples_of(
    rows: Sequence[Row], running: Running, tokenizer: Any, path: Path, *, max_length: int, seed: int
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Make samples of the rows of a file, with notes on what became of them.

    Raises:
        InputError: `no-tokenizer` for texts without one; `bad-data` for tokens and labels that the model does not
            have, all of them, and where no sample is left.
    """
    if tokenizer is None and (any(row.text is not None for row in rows) or running.head == "masked-lm"):
        why = "a masked language model needs its mask token" if running.head == "masked-lm" else "the data are texts"
        message = f"{why}, and there is no tokenizer in the model's folder"
        hint = "copy the tokenizer's files there, or give token numbers as `input_ids`"
        raise InputError(Fault("no-tokenizer", message, subject=str(path), hint=hint))
    limit = min(max_length, longest_input(running.config) or max_length)
    faults: list[Fault] = []
    made: list[Sample] = []
    cut = 0
    for index, row in enumerate(rows):
        ids, whole = _tokens(row, tokenizer, limit)
        cut += not whole
        label = _label(row, running, path, faults)
        if foreign := foreign_token(ids, running.vocabulary):
            faults.append(bad_row(path, row.line, foreign))
        made.append(Sample(index, row.line, ids, label=label))
    if faults:
        raise InputError(faults[:MOST_FAULTS])
    return _usable(made, running, tokenizer, path, seed=seed, cut=cut, limit=limit)


def _usable(
    made: Sequence[Sample], running: Running, tokenizer: Any, path: Path, *, seed: int, cut: int, limit: int
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Samples with something to predict, masked where the model asks for it, and the notes."""
    notes = [f"{cut} of {len(made)} samples are cut to {limit} tokens"] if cut else []
    if running.head == "masked-lm":
        special = frozenset(tokenizer.all_special_ids)
        made = [masked(sample, special, _mask_token(tokenizer, path), seed) for sample in made]
        kept = [sample for sample in made if sample.targets]
    else:
        kept = [sample for sample in made if len(sample.ids) >= (2 if running.head == "causal-lm" else 1)]
    if len(kept) < len(made):
        lines = listed(str(sample.line) for sample in made if sample not in kept)
        notes.append(f"{len(made) - len(kept)} samples have no token to predict and are passed over (lines {lines})")
    if not kept:
        raise InputError(Fault("bad-data", f"{path}: no sample has a token to predict", subject=str(path)))
    return tuple(kept), tuple(notes)


def masked(sample: Sample, special: frozenset[int], mask: int, seed: int) -> Sample:
    """The sample with 15 % of its tokens masked, at least one; none where all of them are special."""
    open_to_it = [position for position, token in enumerate(sample.ids) if token not in special]
    count = min(len(open_to_it), max(1, round(MASKED_SHARE * len(open_to_it))))
    order = torch.randperm(len(open_to_it), generator=generator_for(seed, sample.index)).tolist()
    chosen = sorted(open_to_it[place] for place in order[:count])
    ids = list(sample.ids)
    for position in chosen:
        ids[position] = mask
    return replace(sample, ids=tuple(ids), targets=tuple((at, sample.ids[at]) for at in chosen))


def generator_for(seed: int, index: int) -> torch.Generator:
    """Random numbers of one sample: the same whatever batch it is in and however many there are."""
    return torch.Generator().manual_seed((seed * 0x9E3779B97F4A7C15 + index) % 2**63)


def batches_of(samples: Sequence[Sample], size: int | None, padding: int | None) -> Iterator[Batch]:
    """All samples in batches, short ones first.

    Args:
        samples: at least one.
        size: samples to a batch; `None` puts together samples of one length, so that nothing is padded.
        padding: token that fills up short samples; `None` where the model cannot be given any.
    """
    ordered = sorted(samples, key=lambda sample: len(sample.ids))
    for group in _groups(ordered, size):
        length = max(len(sample.ids) for sample in group)
        fill = padding or 0
        ids = torch.tensor([[*sample.ids, *[fill] * (length - len(sample.ids))] for sample in group])
        mask = torch.tensor([[i < len(sample.ids) for i in range(length)] for sample in group])
        yield Batch(ids, mask)


def _groups(ordered: Sequence[Sample], size: int | None) -> Iterator[list[Sample]]:
    group: list[Sample] = []
    for sample in ordered:
        full = len(group) >= (size or max(1, BATCH_TOKENS // len(sample.ids)))
        if group and (full or (size is None and len(sample.ids) != len(group[0].ids))):
            yield group
            group = []
        group.append(sample)
    yield group


def token_count(samples: Iterable[Sample]) -> int:
    """Tokens of all samples."""
    return sum(len(sample.ids) for sample in samples)


def _tokens(row: Row, tokenizer: Any, limit: int) -> tuple[tuple[int, ...], bool]:
    """Token numbers, at most `limit`, and whether that is all of them."""
    if row.text is None:
        return row.ids[:limit], len(row.ids) <= limit
    ids = tokenizer(row.text, verbose=False)["input_ids"]
    if len(ids) <= limit:
        return tuple(ids), True
    return tuple(tokenizer(row.text, truncation=True, max_length=limit)["input_ids"]), False


def _label(row: Row, running: Running, path: Path, faults: list[Fault]) -> int | None:
    """The number of a label, where the model has classes and the row has one."""
    if row.label is None or running.head != "classification":
        return None
    classes = classes_of(running.config)
    number = class_number(row.label, classes)
    if number is None:
        faults.append(bad_row(path, row.line, foreign_label(row.label, classes)))
    return number


def _mask_token(tokenizer: Any, path: Path) -> int:
    if tokenizer.mask_token_id is None:
        message = "a masked language model needs a mask token, and its tokenizer has none"
        raise InputError(Fault("no-tokenizer", message, subject=str(path)))
    return int(tokenizer.mask_token_id)
