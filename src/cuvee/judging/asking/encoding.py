"""Texts as token numbers: where they begin, how they are cut, and how rows of several lengths stand in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cuvee.data.fit import foreign_token
from cuvee.errors import Fault, InputError
from cuvee.families.inputs import longest_input, padding_token
from cuvee.judging.asking.subject import Subject
from cuvee.judging.tasks.model import Task


def plain_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of texts and nothing else: no token that says where a text begins or ends."""
    found = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    return [list(ids) for ids in found]


def start_of(tokenizer: Any) -> tuple[int, ...]:
    """The token that the tokenizer itself puts before every text, if it does: Llama's `<s>`, BERT's `[CLS]`.

    A token that it puts behind texts stands alone with an empty one too, and is none of those.
    """
    alone = list(tokenizer("", verbose=False)["input_ids"])
    if not alone or (len(alone) == 1 and alone[0] == tokenizer.eos_token_id != tokenizer.bos_token_id):
        return ()
    return (int(alone[0]),)


def context_of(tokenizer: Any) -> tuple[int, ...]:
    """A token for the first one of a text to be predicted from: the start, or else one that separates texts.

    Empty where a tokenizer has none: then the first token of a text is not predicted.
    """
    if start := start_of(tokenizer):
        return start
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return (int(token),)
    return ()


def told_by_template(subject: Subject, task: Task, prompts: Sequence[str], system: str | None) -> list[str]:
    """Each prompt as what a user says, up to where the answer begins, by the tokenizer's chat template.

    Args:
        subject: the model.
        task: what is asked.
        prompts: what users say.
        system: what the system says before it, if anything.

    Raises:
        InputError: `no-tokenizer`: the tokenizer has no chat template, or it fails.
    """
    before = [] if system is None else [{"role": "system", "content": system}]
    template = subject.tokenizer.apply_chat_template
    try:
        return [
            str(template([*before, {"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True))
            for prompt in prompts
        ]
    except Exception as error:  # templates are programs of their own, and raise what they like
        said = " ".join(str(error).split())[:300]
        message = f"{task.name}: {subject.label}: the chat template cannot tell the prompts: {said}"
        hint = "leave `chat` out, or copy the chat template into the model's folder"
        raise InputError(Fault("no-tokenizer", message, subject=subject.label, hint=hint)) from error


def limit_of(subject: Subject, asked: int | None) -> int | None:
    """Most tokens that a model is given: what the task says, and never more than the model has positions for."""
    own = longest_input(subject.config) if subject.config is not None else None
    return min((one for one in (asked, own) if one is not None), default=None)


def check_tokens(subject: Subject, task: Task, rows: Sequence[Sequence[int]]) -> None:
    """Refuse tokens that the model has no embedding for: its tokenizer is another model's.

    Raises:
        InputError: `vocabulary-mismatch`.
    """
    size = vocabulary_of(subject.model)
    largest = max((max(row, default=0) for row in rows), default=0)
    if size and (wrong := foreign_token([largest], size)):
        message = f"{task.name}: {subject.label}: the tokenizer does not fit the model: {wrong}"
        raise InputError(Fault("vocabulary-mismatch", message, subject=subject.label))


def vocabulary_of(model: Any) -> int:
    """Rows of the embedding; 0 of a model that does not say."""
    try:
        return int(model.get_input_embeddings().weight.shape[0])
    except (AttributeError, NotImplementedError):
        return 0


def padding_of(subject: Subject) -> int | None:
    """The token that fills up rows: the configuration's, which positions may depend on, or else the tokenizer's."""
    own = padding_token(subject.config)
    return own if own is not None else getattr(subject.tokenizer, "pad_token_id", None)


def padded(
    rows: Sequence[Sequence[int]], fill: int, device: torch.device, *, left: bool = False
) -> tuple[Tensor, Tensor]:
    """Rows in one tensor.

    Args:
        rows: token numbers, one or more each.
        fill: what fills them up.
        device: where the tensors are wanted.
        left: whether what fills up stands before the rows, and not behind them.

    Returns:
        The tokens and the mask, 1 for tokens and 0 for what fills up, both `[B, T]`, int64.
    """
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), fill, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        where = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[i, where] = torch.tensor(row)
        mask[i, where] = 1
    return ids.to(device), mask.to(device)


def cut_note(task: Task, cut: int, limit: int | None) -> tuple[str, ...]:
    """What to say of rows that were cut."""
    return (f"{task.name}: {cut} of {len(task.rows)} rows are cut to {limit} tokens",) if cut else ()
