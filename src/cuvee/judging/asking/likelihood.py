"""Likelihoods of texts: of every next token by causal language models, of every hidden one by masked ones.

    causal   −Σ_t log p(x_t | x_<t)
    masked   −Σ_t log p(x_t | x without x_t), the pseudo-log-likelihood of Salazar et al. 2020 (arXiv:1910.14659)

Sums are in nats, over the tokens of the text alone: tokens that a tokenizer puts around it are context. So perplexity
(nats per token) and bits per byte (nats / log 2 per UTF-8 byte, whatever the vocabulary) both follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from cuvee.data.tables import place_in
from cuvee.errors import Fault, InputError
from cuvee.judging.asking.asked import Asked, Columns
from cuvee.judging.asking.encoding import (
    check_tokens,
    context_of,
    limit_of,
    padded,
    padding_of,
    plain_ids,
    start_of,
    vocabulary_of,
)
from cuvee.judging.asking.subject import Subject, check_asked, tokenizer_of
from cuvee.judging.tasks.model import LikelihoodOptions, Task


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of which those from `first` on are to be predicted, `first` ≥ 1."""

    ids: tuple[int, ...]
    first: int


@dataclass(frozen=True, slots=True)
class Hidden:
    """Tokens of which the one at `position` is hidden; `target` is what stood there."""

    ids: tuple[int, ...]
    position: int
    target: int


def prepare(task: Task, subject: Subject) -> Asked:
    """The rows of a `perplexity` for a model."""
    options = task.options
    assert isinstance(options, LikelihoodOptions)
    tokenizer = tokenizer_of(subject, task)
    head = check_asked(subject, task)
    texts = [row.values["text"] for row in task.rows]
    written = plain_ids(tokenizer, texts)
    check_tokens(subject, task, written)
    limit = limit_of(subject, options.max_length)
    questions: list[tuple[Span, ...]] | list[tuple[Hidden, ...]]
    if head == "masked-lm":
        questions = _hidden(tokenizer, subject, written, limit)
    else:
        context = context_of(tokenizer)
        questions = [tuple(windows((*context, *ids), limit, options.stride)) for ids in written]
    _check_predicted(task, questions)
    sizes = np.array([len(text.encode("utf-8")) for text in texts], dtype=np.int64)
    forward = partial(hidden_nats if head == "masked-lm" else span_nats, fill=padding_of(subject) or 0)
    return Asked(
        kind="likelihood",
        questions=tuple(questions),
        width=lambda question: len(question.ids),
        forward=forward,
        gather=partial(_gather, questions=questions, sizes=sizes),
        vocabulary=vocabulary_of(subject.model),
        notes=_unknown_note(task, tokenizer, written),
    )


def windows(ids: Sequence[int], limit: int | None, stride: int | None = None) -> Iterator[Span]:
    """Spans that together predict every token but the first, each of them once.

    Args:
        ids: the tokens of a text, with the context before it.
        limit: most tokens of a window, 2 or more; no limit without it.
        stride: tokens that the next window is further on; half a window without it, so that every token of a later
            window has half of one before it.

    Example:
        >>> [(span.ids, span.first) for span in windows(range(6), 4)]
        [((0, 1, 2, 3), 1), ((2, 3, 4, 5), 2)]
    """
    size = len(ids) if limit is None else min(limit, len(ids))
    step = max(1, min(stride or size // 2, size - 1))
    done, end = 1, size
    while done < end:
        begin = end - size
        yield Span(tuple(ids[begin:end]), done - begin)
        done, end = end, min(end + step, len(ids))


def span_nats(model: Any, spans: Sequence[Span], *, fill: int) -> list[float]:
    """−Σ log p of the tokens of each span, in nats; they stand before what fills them up, which so changes nothing."""
    device = next(model.parameters()).device
    ids, mask = padded([span.ids for span in spans], fill, device)
    logits = model(input_ids=ids, attention_mask=mask).logits
    return [_nats(logits[i], span) for i, span in enumerate(spans)]


def _nats(logits: torch.Tensor, span: Span) -> float:
    """−Σ log p of one span, in nats; `logits` are `[T, V]`."""
    targets = torch.tensor(span.ids[span.first :], device=logits.device)
    logs = functional.log_softmax(logits[span.first - 1 : len(span.ids) - 1].float(), dim=-1)
    return -float(logs.gather(1, targets[:, None]).double().sum())


def hidden_nats(model: Any, questions: Sequence[Hidden], *, fill: int) -> list[float]:
    """−log p of each hidden token, in nats."""
    device = next(model.parameters()).device
    ids, mask = padded([one.ids for one in questions], fill, device)
    logits = model(input_ids=ids, attention_mask=mask).logits
    rows = torch.arange(len(questions), device=device)
    at = torch.tensor([one.position for one in questions], device=device)
    targets = torch.tensor([one.target for one in questions], device=device)
    logs = functional.log_softmax(logits[rows, at].float(), dim=-1)
    return [-value for value in logs[rows, targets].double().tolist()]


def _hidden(
    tokenizer: Any, subject: Subject, written: Sequence[Sequence[int]], limit: int | None
) -> list[tuple[Hidden, ...]]:
    """Every token of every text hidden in turn; long texts are cut into windows that do not overlap."""
    if tokenizer.mask_token_id is None:
        message = f"{subject.label}: a masked language model needs a mask token, and its tokenizer has none"
        raise InputError(Fault("no-tokenizer", message, subject=subject.label))
    start = start_of(tokenizer)
    end = tuple(tokenizer("", verbose=False)["input_ids"][len(start) :])
    made = []
    for ids in written:
        room = len(ids) if limit is None else max(1, limit - len(start) - len(end))
        parts = [ids[at : at + room] for at in range(0, len(ids), room)] if ids else []
        made.append(tuple(one for part in parts for one in _each_hidden(part, start, end, tokenizer.mask_token_id)))
    return made


def _each_hidden(part: Sequence[int], start: tuple[int, ...], end: tuple[int, ...], mask: int) -> Iterator[Hidden]:
    for i, target in enumerate(part):
        yield Hidden((*start, *part[:i], mask, *part[i + 1 :], *end), len(start) + i, target)


def _check_predicted(task: Task, questions: Sequence[Sequence[Any]]) -> None:
    """Refuse texts of which no token is predicted."""
    assert task.data is not None
    faults = [
        Fault(
            "bad-data",
            "a text should have a token that is predicted; this one has none",
            place_in(task.data, row.number),
        )
        for row, own in zip(task.rows, questions)
        if not own
    ]
    if faults:
        raise InputError(faults)


def _unknown_note(task: Task, tokenizer: Any, written: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """What to say of texts that the tokenizer cannot write: one token that stands for anything is easily guessed."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    count = sum(ids.count(unknown) for ids in map(list, written)) if unknown is not None else 0
    if not count:
        return ()
    return (
        f"{task.name}: {count} tokens are ones that the tokenizer does not know; likelihoods look better than they are",
    )


def _gather(
    rows: Sequence[int],
    results: Sequence[Sequence[float]],
    _shared: Sequence[Any],
    *,
    questions: Sequence[Sequence[Span | Hidden]],
    sizes: np.ndarray[Any, Any],
) -> Columns:
    counts = [sum(len(q.ids) - q.first if isinstance(q, Span) else 1 for q in questions[row]) for row in rows]
    return {
        "nats": np.array([sum(own) for own in results], dtype=np.float64),
        "tokens": np.array(counts, dtype=np.int64),
        "bytes": sizes[np.asarray(rows, dtype=np.int64)],
    }
