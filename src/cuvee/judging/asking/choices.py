"""Multiple choice by likelihood: the choice that the model finds likeliest behind the prompt.

    s_c = Σ_t log p(x_t | prompt, x_<t) over the tokens of choice c, divided by nothing, their number or its bytes

An answer is right where the right choice has a larger s than every other one: a model that finds all alike knows none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np

from cuvee.data.tables import place_in
from cuvee.errors import Fault, InputError, listed
from cuvee.judging.asking.asked import Asked, Columns
from cuvee.judging.asking.encoding import (
    check_tokens,
    context_of,
    cut_note,
    limit_of,
    padding_of,
    plain_ids,
    start_of,
    vocabulary_of,
)
from cuvee.judging.asking.likelihood import Span, span_nats
from cuvee.judging.asking.subject import Subject, check_asked, tokenizer_of
from cuvee.judging.tasks.model import ChoiceOptions, Task


def prepare(task: Task, subject: Subject) -> Asked:
    """The rows of a `multiple-choice` for a model."""
    options = task.options
    assert isinstance(options, ChoiceOptions)
    tokenizer = tokenizer_of(subject, task)
    check_asked(subject, task)
    right = _right(task)
    limit = limit_of(subject, options.max_length)
    whole = [choice_spans(row.values, tokenizer, options.join) for row in task.rows]
    check_tokens(subject, task, [span.ids for own in whole for span in own])
    _check_length(task, whole, limit)
    questions = tuple(tuple(cut_span(span, limit) for span in own) for own in whole)
    cut = sum(own != kept for own, kept in zip(whole, questions))
    return Asked(
        kind="match",
        questions=questions,
        width=lambda span: len(span.ids),
        forward=partial(span_nats, fill=padding_of(subject) or 0),
        gather=partial(_gather, right=right, sizes=[_sizes(task, options, own, i) for i, own in enumerate(whole)]),
        vocabulary=vocabulary_of(subject.model),
        notes=cut_note(task, cut, limit),
    )


def _right(task: Task) -> list[int]:
    """The number of the right choice of every row, which data give as a number or by its text.

    Raises:
        InputError: it is none of the choices.
    """
    assert task.data is not None
    found, faults = [], []
    for row in task.rows:
        choices, (answer, *more) = row.values["choices"], row.values["answer"]
        number = choices.index(answer) if answer in choices else _number(answer, len(choices))
        if number is None or more:
            what = (
                f"`answer` should be one of {listed(map(repr, choices), 8)}, or its number from 0; found {answer!r:.60}"
            )
            faults.append(Fault("bad-data", what, place_in(task.data, row.number)))
        found.append(number or 0)
    if faults:
        raise InputError(faults)
    return found


def _number(answer: str, count: int) -> int | None:
    return int(answer) if answer.isascii() and answer.isdigit() and len(answer) < 9 and int(answer) < count else None


def choice_spans(values: Any, tokenizer: Any, join: str) -> tuple[Span, ...]:
    """The choices behind their prompt, all predicted from the same token on.

    Where a tokenizer writes the end of the prompt and the start of a choice as one token, that token belongs to the
    choice, and to be fair the same part of the prompt belongs to all of them.
    """
    prompt = values["prompt"]
    before, *after = plain_ids(tokenizer, [prompt, *(prompt + join + choice for choice in values["choices"])])
    alike = min(min(_common(before, whole) for whole in after), min(map(len, after)) - 1)
    # where nothing of the prompt is left before the choices, they need something to be predicted from
    context = start_of(tokenizer) if alike > 0 else context_of(tokenizer)
    first = max(1, alike + len(context))
    return tuple(Span((*context, *whole), first) for whole in after)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b)))


def _check_length(task: Task, whole: Sequence[Sequence[Span]], limit: int | None) -> None:
    """Refuse choices that leave no room for a prompt."""
    assert task.data is not None
    faults = [
        Fault("bad-data", f"a choice should come to less than {limit} tokens", place_in(task.data, row.number))
        for row, own in zip(task.rows, whole)
        if limit is not None and any(len(span.ids) - span.first >= limit for span in own)
    ]
    if faults:
        raise InputError(faults)


def cut_span(span: Span, limit: int | None) -> Span:
    """The end of a span that is too long: the start of the prompt goes."""
    over = 0 if limit is None else max(0, len(span.ids) - limit)
    return Span(span.ids[over:], span.first - over) if over else span


def _sizes(task: Task, options: ChoiceOptions, spans: Sequence[Span], row: int) -> list[int]:
    """What the log-likelihood of each choice is divided by."""
    if options.length == "tokens":
        return [len(span.ids) - span.first for span in spans]
    if options.length == "bytes":
        return [len(choice.encode("utf-8")) for choice in task.rows[row].values["choices"]]
    return [1] * len(spans)


def _gather(
    rows: Sequence[int],
    results: Sequence[Sequence[float]],
    _shared: Sequence[Any],
    *,
    right: Sequence[int],
    sizes: Sequence[Sequence[int]],
) -> Columns:
    correct = []
    for row, nats in zip(rows, results):
        scores = [-value / size for value, size in zip(nats, sizes[row])]
        others = [score for i, score in enumerate(scores) if i != right[row]]
        correct.append(scores[right[row]] > max(others))
    return {"correct": np.array(correct, dtype=np.float64)}
