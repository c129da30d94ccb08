"""Answers in words: generated greedily, cut where they end, brought to one form, and compared."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch

from cuvee.errors import Fault, InputError
from cuvee.families.heads import write_on
from cuvee.judging.asking.asked import Asked, Columns
from cuvee.judging.asking.encoding import (
    check_tokens,
    context_of,
    cut_note,
    limit_of,
    padded,
    padding_of,
    plain_ids,
    start_of,
    told_by_template,
    vocabulary_of,
)
from cuvee.judging.asking.subject import Subject, check_asked, tokenizer_of
from cuvee.judging.tasks.model import MatchOptions, Task

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b", re.IGNORECASE)
_FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "strip": str.strip,
    "lower": str.lower,
    "spaces": lambda text: " ".join(text.split()),
    "punctuation": lambda text: "".join(c for c in text if not _is_punctuation(c)),
    "articles": lambda text: " ".join(_ARTICLES.sub(" ", text).split()),
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """Tokens to be gone on from."""

    ids: tuple[int, ...]


def prepare(task: Task, subject: Subject) -> Asked:
    """The rows of an `exact-match` for a model."""
    options = task.options
    assert isinstance(options, MatchOptions)
    tokenizer = tokenizer_of(subject, task)
    check_asked(subject, task)
    limit = limit_of(subject, options.max_length)
    room = None if limit is None else limit - options.max_new_tokens
    if room is not None and room < 1:
        message = f"{task.name}: {options.max_new_tokens} new tokens leave no room in the {limit} of {subject.label}"
        raise InputError(Fault("wrong-model", message, subject=subject.label, hint="ask for fewer `max_new_tokens`"))
    prompts = [row.values["prompt"] for row in task.rows]
    # a template writes what texts begin with itself
    start = () if options.chat else start_of(tokenizer)
    if options.chat:
        prompts = told_by_template(subject, task, prompts, options.system)
    # a prompt without a token must begin with something
    written = [ids or list(context_of(tokenizer)) for ids in plain_ids(tokenizer, prompts)]
    check_tokens(subject, task, written)
    whole = [(*start, *ids) for ids in written]
    # the end of a prompt is what is answered; the start that models are used to stays
    kept = [
        ids if room is None or len(ids) <= room else (*start, *ids[len(ids) - room + len(start) :]) for ids in whole
    ]
    return Asked(
        kind="match",
        questions=tuple((Prompt(ids),) for ids in kept),
        width=lambda prompt: len(prompt.ids) + options.max_new_tokens,
        forward=partial(_written, tokenizer=tokenizer, options=options, fill=padding_of(subject) or 0),
        gather=partial(_gather, options=options, answers=[row.values["answer"] for row in task.rows]),
        vocabulary=max(1, vocabulary_of(subject.model) // 16),  # predictions of the last tokens only are kept
        notes=cut_note(task, sum(ids != own for ids, own in zip(whole, kept)), room),
    )


def _written(model: Any, prompts: Sequence[Prompt], *, tokenizer: Any, options: MatchOptions, fill: int) -> list[str]:
    """What the model writes behind each prompt.

    Prompts stand at the right end, so that all go on from the same place; the mask, from which positions are counted
    too, keeps what fills them up out of it.
    """
    device = next(model.parameters()).device
    ids, mask = padded([one.ids for one in prompts], fill, device, left=True)
    ends = _ends(model, tokenizer)

    def texts(found: torch.Tensor) -> list[str]:
        rows = [_before_end(row, ends) for row in found.tolist()]
        return [ended(tokenizer.decode(row, skip_special_tokens=True), options.until)[0] for row in rows]

    def is_over(found: torch.Tensor) -> torch.Tensor:
        if not options.until:
            return torch.zeros(len(found), dtype=torch.bool, device=found.device)
        now = [ended(tokenizer.decode(row, skip_special_tokens=True), options.until)[1] for row in found.tolist()]
        return torch.tensor(now, device=found.device)

    made = write_on(model, ids, mask, most=options.max_new_tokens, ends=ends, padding=fill, is_over=is_over)
    return texts(made)


def _ends(model: Any, tokenizer: Any) -> list[int]:
    """Tokens that end an answer, by the model's settings and the tokenizer's."""
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    given = own if isinstance(own, list) else [own]
    return sorted({int(token) for token in (*given, tokenizer.eos_token_id) if token is not None})


def _before_end(row: Sequence[int], ends: Sequence[int]) -> list[int]:
    where = next((i for i, token in enumerate(row) if token in ends), len(row))
    return list(row[:where])


def ended(text: str, until: Sequence[str]) -> tuple[str, bool]:
    r"""A text up to the first of several that end it, and whether one of them is in it.

    Example:
        >>> ended("Paris.\nQ: next", ("\n", "Q:"))
        ('Paris.', True)
    """
    where = min((at for at in (text.find(stop) for stop in until) if at >= 0), default=None)
    return (text, False) if where is None else (text[:where], True)


def normalised(text: str, forms: Sequence[str]) -> str:
    """A text brought to a form.

    Args:
        text: any.
        forms: what is done, in order: `strip` spaces at its ends, `lower` case, `spaces` to single ones, without
            `punctuation`, without English `articles`.

    Example:
        >>> normalised(" The  Cellar. ", ("lower", "punctuation", "articles"))
        'cellar'
    """
    for form in forms:
        text = _FORMS[form](text)
    return text


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def judged(text: str, answers: Sequence[str], options: MatchOptions) -> tuple[bool, bool]:
    r"""Whether an answer is right, and whether it has the form that is asked for.

    Args:
        text: what the model wrote.
        answers: those that are right.
        options: how they are compared.

    Example:
        >>> judged("so it is 12", ("12",), MatchOptions(parse=r"is (-?\d+)"))
        (True, True)
        >>> judged("12", ("12",), MatchOptions(parse=r"is (-?\d+)"))
        (False, False)
    """
    said: str | None = text
    if options.parse is not None:
        found = re.search(options.parse, text)
        said = None if found is None else (found[1] or "") if found.re.groups else text
    if said is None:
        return False, False
    forms = options.normalise
    return normalised(said, forms) in {normalised(answer, forms) for answer in answers}, True


def _gather(
    rows: Sequence[int],
    results: Sequence[Sequence[str]],
    _shared: Sequence[Any],
    *,
    options: MatchOptions,
    answers: Sequence[tuple[str, ...]],
) -> Columns:
    found = [judged(own[0], answers[row], options) for row, own in zip(rows, results)]
    columns = {"correct": np.array([right for right, _ in found], dtype=np.float64)}
    if options.parse is not None:
        columns["parsed"] = np.array([parsed for _, parsed in found], dtype=np.float64)
    return columns
