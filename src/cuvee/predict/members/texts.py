"""Texts, or pairs of them, put into classes or given a number by models of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from cuvee.combine import Array
from cuvee.errors import Fault, InputError
from cuvee.predict.members.running import Parts, at_work, is_several, one_column
from cuvee.predict.noting import note

_LARGEST: Final = 1 << 30
"""A tokenizer that knows no longest text says a number beyond this."""


def ask_texts(parts: Parts, X: Any) -> Array:
    """Logits of texts, float64 `[N, K]`; a row's are those that it has alone, whatever stands in its batch."""
    return _run(parts, X, _logits)


def embed_texts(parts: Parts, X: Any) -> Array:
    """The mean of the last hidden states over the tokens of each text, float64 `[N, D]`; padding counts nowhere."""
    return _run(parts, X, _pooled)


def _run(parts: Parts, X: Any, forward: Any) -> Array:
    from cuvee.families.inputs import padding_token
    from cuvee.judging.asking.batching import run_batched, tokens_for
    from cuvee.judging.asking.encoding import padding_of

    encoded = encode(parts, columns_of(X, parts.name))
    fill, config = padding_of(subject_of(parts)), parts.model.config
    # a decoder finds the end of a text by the padding that its configuration names
    alone = hasattr(config, "pad_token_id") and padding_token(config) is None
    with at_work(parts):
        found = run_batched(
            encoded,
            lambda one: len(one.ids),
            lambda batch: forward(parts.model, batch, fill or 0),
            tokens=tokens_for(parts.device.type, 1),
            rows=1 if alone else parts.batch_size,
        )
    return np.stack(found)


def subject_of(parts: Parts) -> Any:
    """The parts as judging has them."""
    from cuvee.judging.asking.subject import Subject

    return Subject(parts.name, parts.model, parts.reader)


def columns_of(X: Any, name: str) -> list[list[str]]:
    """The texts of each row's first column, and of its second where there are two.

    Raises:
        InputError: `bad-data`: more columns, or what is no text.
    """
    if is_several(X):
        if len(list(X)) != 2:
            message = f"the member {name!r} reads one column of texts, or two for pairs; found {len(list(X))} columns"
            raise InputError(Fault("bad-data", message, subject=name, hint="give `reads`, one name or two"))
        columns = [list(X[column]) for column in X]
    else:
        columns = [one_column(X, name, "texts")]
    for column in columns:
        if strange := [value for value in column if not isinstance(value, str)]:
            message = f"the member {name!r} reads texts; found {strange[0]!r:.60} of type {type(strange[0]).__name__}"
            raise InputError(Fault("bad-data", message, subject=name))
    return columns


def encode(parts: Parts, columns: Sequence[Sequence[str]]) -> list[Any]:
    """Texts as token numbers, cut where they are too long, which is noted.

    Raises:
        InputError: `vocabulary-mismatch`: the tokenizer is another model's.
    """
    from cuvee.judging.asking.classes import Encoded

    limit = limit_of(parts)
    rows = _tokens(parts, columns, {"verbose": False})
    if long := [i for i, row in enumerate(rows) if limit is not None and len(row["input_ids"]) > limit]:
        cut = _tokens(
            parts, [[column[i] for i in long] for column in columns], {"truncation": True, "max_length": limit}
        )
        for place, row in zip(long, cut):
            rows[place] = row
        note(f"{parts.name!r}: {len(long)} of {len(rows)} texts were cut to {limit} tokens")
    check_tokens(parts, [row["input_ids"] for row in rows])
    types = (row.get("token_type_ids") for row in rows)
    return [
        Encoded(tuple(row["input_ids"]), None if kinds is None else tuple(kinds)) for row, kinds in zip(rows, types)
    ]


def _tokens(parts: Parts, columns: Sequence[Sequence[str]], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the tokenizer makes of each row."""
    with parts.lock:
        found = parts.reader(*map(list, columns), **settings)
    return [dict(zip(found, values)) for values in zip(*found.values())]


def limit_of(parts: Parts) -> int | None:
    """Most tokens of a text: what was asked for, and never more than the model has positions for."""
    from cuvee.judging.asking import encoding

    own = int(min(getattr(parts.reader, "model_max_length", _LARGEST), _LARGEST))
    asked = [one for one in (parts.max_length, own if own < _LARGEST else None) if one is not None]
    return encoding.limit_of(subject_of(parts), min(asked, default=None))


def check_tokens(parts: Parts, rows: Sequence[Sequence[int]]) -> None:
    """Refuse tokens that the model has no embedding for.

    Raises:
        InputError: `vocabulary-mismatch`.
    """
    from cuvee.judging.asking.encoding import vocabulary_of

    size, largest = vocabulary_of(parts.model), max((max(row, default=0) for row in rows), default=0)
    if size and largest >= size:
        message = f"the member {parts.name!r}: its tokenizer writes the token {largest}, and its model knows {size}"
        hint = "the tokenizer is another model's; give the one that it was trained with"
        raise InputError(Fault("vocabulary-mismatch", message, subject=parts.name, hint=hint))


def _logits(model: Any, batch: Sequence[Any], fill: int) -> list[Array]:
    return list(model(**_inputs(model, batch, fill)).logits.double().cpu().numpy())


def _pooled(model: Any, batch: Sequence[Any], fill: int) -> list[Array]:
    given = _inputs(model, batch, fill)
    states = model.base_model(**given).last_hidden_state.double()
    weight = given["attention_mask"][:, :, None].double()
    return list(((states * weight).sum(1) / weight.sum(1)).cpu().numpy())


def _inputs(model: Any, batch: Sequence[Any], fill: int) -> dict[str, Any]:
    from cuvee.judging.asking.encoding import padded

    device = next(model.parameters()).device
    ids, mask = padded([one.ids for one in batch], fill, device)
    given = {"input_ids": ids, "attention_mask": mask}
    if any(any(one.types or ()) for one in batch):  # where all are 0, that is what a model takes without them
        given["token_type_ids"] = padded([one.types or (0,) * len(one.ids) for one in batch], 0, device)[0]
    return given
