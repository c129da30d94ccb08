"""Documents found by the vectors of texts: the place that the nearest right one of each query has.

A text's vector is the mean of the last hidden states over its tokens, or that of its first token. Wrong documents that
are as near as the right one stand before it: a model that gives every text one vector finds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from cuvee.judging.asking.asked import Asked, Columns
from cuvee.judging.asking.encoding import check_tokens, cut_note, limit_of, padded, padding_of
from cuvee.judging.asking.subject import Subject, check_asked, tokenizer_of
from cuvee.judging.tasks.model import RetrievalOptions, Task

_SAME: float = 1e-6
"""Similarities closer than this are the same: what batches are made of changes the last digits."""


def prepare(task: Task, subject: Subject) -> Asked:
    """The rows of an `embedding-retrieval` for a model."""
    options = task.options
    assert isinstance(options, RetrievalOptions)
    tokenizer = tokenizer_of(subject, task)
    check_asked(subject, task)
    limit = limit_of(subject, options.max_length)
    queries, cut = _encoded(tokenizer, [options.query_prefix + row.values["query"] for row in task.rows], limit)
    texts = [options.document_prefix + row.values["content"] for row in task.documents]
    documents, _ = _encoded(tokenizer, texts, limit)
    check_tokens(subject, task, [*queries, *documents])
    places = {row.values["document"]: i for i, row in enumerate(task.documents)}
    relevant = [[places[name] for name in row.values["relevant"]] for row in task.rows]
    return Asked(
        kind="retrieval",
        questions=tuple((ids,) for ids in queries),
        shared=tuple(documents),
        width=len,
        forward=partial(vectors, pooling=options.pooling, fill=padding_of(subject) or 0),
        gather=partial(_gather, relevant=relevant, is_cosine=options.similarity == "cosine"),
        notes=cut_note(task, cut, limit),
    )


def _encoded(tokenizer: Any, texts: Sequence[str], limit: int | None) -> tuple[list[tuple[int, ...]], int]:
    made, cut = [], 0
    for text in texts:
        ids = tokenizer(text, verbose=False)["input_ids"]
        if limit is not None and len(ids) > limit:
            cut += 1
            ids = tokenizer(text, truncation=True, max_length=limit)["input_ids"]
        made.append(tuple(ids))
    return made, cut


def vectors(model: Any, batch: Sequence[tuple[int, ...]], *, pooling: str, fill: int) -> list[np.ndarray[Any, Any]]:
    """The vectors of some texts, float64; what fills them up counts nowhere."""
    device = next(model.parameters()).device
    ids, mask = padded(batch, fill, device)
    body = getattr(model, "base_model", model)
    states = body(input_ids=ids, attention_mask=mask).last_hidden_state.double()
    if pooling == "cls":
        pooled = states[:, 0]
    else:
        weight = mask[:, :, None].double()
        pooled = (states * weight).sum(1) / weight.sum(1)
    return list(pooled.cpu().numpy())


def _gather(
    _rows: Sequence[int],
    results: Sequence[Sequence[Any]],
    shared: Sequence[Any],
    *,
    relevant: Sequence[Sequence[int]],
    is_cosine: bool,
) -> Columns:
    queries, documents = torch.tensor(np.stack([own[0] for own in results])), torch.tensor(np.stack(shared))
    if is_cosine:
        queries, documents = (torch.nn.functional.normalize(one, dim=-1) for one in (queries, documents))
    near = (queries @ documents.T).numpy()
    return {"rank": np.array([rank_of(near[i], relevant[row]) for i, row in enumerate(_rows)], dtype=np.int64)}


def rank_of(near: np.ndarray[Any, Any], relevant: Sequence[int]) -> int:
    """The place of the nearest right document, from 1.

    Args:
        near: how near each document is, `[D]`; larger is nearer.
        relevant: numbers of those that are right.

    Example:
        >>> rank_of(np.array([0.9, 0.5, 0.5, 0.1]), [2])
        3
    """
    best = max(near[i] for i in relevant)
    wrong = np.ones(len(near), dtype=bool)
    wrong[list(relevant)] = False
    return 1 + int((near[wrong] >= best - _SAME * max(1.0, abs(best))).sum())
