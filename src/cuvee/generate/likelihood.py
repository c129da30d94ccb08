"""How likely a language model finds a text behind a prompt."""

from __future__ import annotations

from cuvee.errors import Fault, InputError
from cuvee.generate.members import LanguageModel
from cuvee.generate.prompts import encoded
from cuvee.generate.writer import resting
from cuvee.judging.asking.encoding import context_of
from cuvee.judging.asking.likelihood import Span, span_nats


def nats_per_byte(member: LanguageModel, prompt: str, text: str) -> float:
    """−log p(text | prompt) in nats, over the bytes of the text.

    The tokens are those of prompt and text as one; predicted are those that the prompt alone does not begin with.

    Raises:
        InputError: `bad-data`: the text is empty, or both are too long for the model.
    """
    if not text:
        message = f"a candidate must not be empty to be scored by {member.name}"
        raise InputError(Fault("bad-data", message, subject=member.name))
    start = context_of(member.tokenizer)
    alone, whole = (*start, *encoded(member, prompt)), (*start, *encoded(member, prompt + text))
    if len(whole) < 2:
        message = f"{member.name} cannot score {text!r}: its tokenizer has no token that stands before a text"
        raise InputError(Fault("bad-data", message, subject=member.name, hint="give a prompt that is not empty"))
    if member.limit is not None and len(whole) > member.limit:
        message = (
            f"prompt and candidate are {len(whole):,} tokens for {member.name}, which has {member.limit:,} positions"
        )
        raise InputError(Fault("bad-data", message, subject=member.name, hint="shorten the prompt"))
    shared = next(
        (i for i, (a, b) in enumerate(zip(alone, whole, strict=False)) if a != b), min(len(alone), len(whole))
    )
    first = max(1, min(shared, len(whole) - 1))
    with resting(member.model):
        (nats,) = span_nats(member.model, [Span(whole, first)], fill=0)
    return nats / len(text.encode("utf-8"))
