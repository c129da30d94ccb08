"""Prompts as each model reads them: its own tokens, its own beginning, its own chat template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cuvee.errors import Fault, InputError, UsageError, attempt, listed
from cuvee.generate.members import LanguageModel
from cuvee.judging.asking.encoding import plain_ids, start_of

Prompt = str | Sequence[Mapping[str, str]]
"""A text to go on with, or what was said so far: mappings with `role` and `content`."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as one model reads it.

    Attributes:
        text: as rendered, without what the tokenizer puts before it.
        start: tokens that stand before it.
        ids: all of its tokens.
    """

    text: str
    start: tuple[int, ...]
    ids: tuple[int, ...]


def rendered(members: Sequence[LanguageModel], prompts: Sequence[Prompt], most: int) -> list[list[Rendered]]:
    """Every prompt as every model reads it, `[models][prompts]`, checked before anything is written.

    Args:
        members: the models.
        prompts: texts or conversations.
        most: tokens that are to be written behind them.

    Raises:
        UsageError: `bad-argument`: a prompt is neither a text nor a conversation.
        InputError: `no-tokenizer`: a conversation, and a model without a chat template, or with one that fails;
            `bad-data`: a prompt without any token, too long for a model, or not to be written by its tokenizer.
    """
    _check_kind(prompts)
    faults: list[Fault] = []
    made = [[_one(member, number, prompt, faults) for number, prompt in enumerate(prompts)] for member in members]
    for member, rows in zip(members, made, strict=True):
        for number, row in enumerate(rows):
            faults += _misfits(member, number, row, most) if row is not None else ()
    if faults:
        raise InputError(_first_of_each(faults))
    return [[row for row in rows if row is not None] for rows in made]


def _check_kind(prompts: Any) -> None:
    if isinstance(prompts, str) or not isinstance(prompts, Sequence) or not prompts:
        message = f"`prompts` must be a list of one prompt or more; found {prompts!r:.80}"
        raise UsageError(Fault("bad-argument", message, subject="prompts", hint="write [prompt] for one"))
    wrong = [number for number, prompt in enumerate(prompts) if not _is_prompt(prompt)]
    if wrong:
        message = f"a prompt must be a text, or a list of {{'role': …, 'content': …}}; found {prompts[wrong[0]]!r:.80}"
        raise UsageError(Fault("bad-argument", f"prompt {wrong[0]}: {message}", subject="prompts"))


def _is_prompt(prompt: Any) -> bool:
    if isinstance(prompt, str):
        return True
    return (
        isinstance(prompt, Sequence)
        and len(prompt) > 0
        and all(isinstance(one, Mapping) and {"role", "content"} <= one.keys() for one in prompt)
    )


def _one(member: LanguageModel, number: int, prompt: Prompt, faults: list[Fault]) -> Rendered | None:
    if isinstance(prompt, str):
        start = start_of(member.tokenizer)
        ids = attempt(lambda: encoded(member, prompt), faults)
        return None if ids is None else Rendered(prompt, start, (*start, *ids))
    if member.template is None:
        message = f"prompt {number} is a conversation, and the tokenizer of {member.name} has no chat template"
        hint = "give prompts as texts, or set the tokenizer's chat_template to the one that the model was trained with"
        faults.append(Fault("no-tokenizer", message, subject=member.name, hint=hint))
        return None
    try:
        told = member.tokenizer.apply_chat_template(
            [dict(one) for one in prompt], tokenize=False, add_generation_prompt=True
        )
    except Exception as error:  # templates are programs of their own, and raise what they like
        said = " ".join(str(error).split())[:300]
        message = f"prompt {number}: the chat template of {member.name} cannot tell it: {said}"
        faults.append(Fault("no-tokenizer", message, subject=member.name))
        return None
    ids = attempt(lambda: encoded(member, str(told)), faults)
    return None if ids is None else Rendered(str(told), (), tuple(ids))


def encoded(member: LanguageModel, text: str) -> list[int]:
    """The tokens of a text alone.

    Raises:
        InputError: `bad-data`: the tokenizer cannot write it.
    """
    try:
        return plain_ids(member.tokenizer, [text])[0]
    except Exception as error:  # a tokenizer without a token for what it does not know raises errors of its own
        said = " ".join(str(error).split())[:200]
        message = f"the tokenizer of {member.name} cannot write {text[-60:]!r}: {said}"
        hint = "use words that it knows; a tokenizer with single bytes or an unknown token can write anything"
        raise InputError(Fault("bad-data", message, subject=member.name, hint=hint)) from error


def _misfits(member: LanguageModel, number: int, row: Rendered, most: int) -> Iterator[Fault]:
    if not row.ids:
        message = f"prompt {number} has no tokens for {member.name}, whose tokenizer puts none before a text"
        yield Fault("bad-data", message, subject=member.name, hint="give a prompt that is not empty")
    if member.limit is not None and len(row.ids) + most > member.limit:
        message = (
            f"prompt {number} has {len(row.ids):,} tokens for {member.name}; with {most:,} new ones that is more than "
            f"the {member.limit:,} that it has positions for"
        )
        hint = f"shorten the prompt, or set max_new_tokens to {max(member.limit - len(row.ids), 0):,} or less"
        yield Fault("bad-data", message, subject=member.name, hint=hint)


def _first_of_each(faults: Sequence[Fault]) -> list[Fault]:
    """A fault per model and kind, with a count of the others, so that a thousand prompts are not told of one by one."""
    groups: dict[tuple[str, str | None, str | None], list[Fault]] = {}
    for fault in faults:
        kind = fault.hint.split(",")[0] if fault.hint else None
        groups.setdefault((fault.code, fault.subject, kind), []).append(fault)
    return [one for group in groups.values() for one in group[:3]]


def unlike(members: Sequence[LanguageModel]) -> Iterator[str]:
    """Notes on models that read the same prompt differently: each is given it in its own way."""
    lead = members[0]
    for other in members[1:]:
        ours, theirs = (_start(one) for one in (lead, other))
        if ours != theirs:
            yield f"{lead.name} begins texts with {ours}, {other.name} with {theirs}: each reads prompts in its own way"
        if lead.template != other.template:
            names = listed((lead.name, other.name), between=" and ")
            yield f"{names} have different chat templates: conversations are told to each by its own"


def _start(member: LanguageModel) -> str:
    return ", ".join(map(repr, member.tokenizer.convert_ids_to_tokens(list(start_of(member.tokenizer))))) or "nothing"
