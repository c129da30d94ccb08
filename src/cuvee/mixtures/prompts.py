"""Whether prompts can be run, all of them, before anything heavy is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError, Place
from cuvee.mixtures.hidden import EMBEDDINGS, longest_of, tokenizer_of, tokens_of
from cuvee.mixtures.model import Expert, Mixture


def check_prompts(mixture: Mixture, base: Reader) -> None:
    """Look at every prompt that a router is found from.

    Args:
        mixture: what is asked.
        base: its base model; headers are enough.

    Raises:
        InputError: `bad-data`: prompts without tokens, or with more than the model takes; `embedding-too-small`: with
            tokens that have no row: all there are. `tokenizer-missing`, or one that cannot be read.
    """
    if not mixture.is_prompted:
        return
    tokenizer = tokenizer_of(base)
    longest = None if mixture.gate_mode == "cheap_embed" else longest_of(base)
    rows = base.specs[EMBEDDINGS].shape[0]
    found: dict[Fault, None] = {}
    for key, number, expert in _experts(mixture):
        for side, prompts in (("positive_prompts", expert.positive), ("negative_prompts", expert.negative)):
            for index, prompt in enumerate(prompts):
                fault = prompt_fault(f"{side}[{index}] of {expert.model}", prompt, tokenizer, longest, rows)
                if fault is not None:
                    found[replace(fault, place=_place(mixture, (key, number, side, index)))] = None
    if found:
        raise InputError(found)


def _experts(mixture: Mixture) -> Iterator[tuple[str, int, Expert]]:
    yield from (("experts", number, expert) for number, expert in enumerate(mixture.experts))
    yield from (("shared_experts", number, expert) for number, expert in enumerate(mixture.shared))


def prompt_fault(who: str, prompt: str, tokenizer: Any, longest: int | None, rows: int) -> Fault | None:
    """What is wrong with a prompt, if anything.

    Args:
        who: what it is called in messages.
        prompt: it.
        tokenizer: what makes tokens of it.
        longest: tokens that it may have.
        rows: how many embeddings there are.
    """
    tokens, hint = tokens_of(tokenizer, prompt), f"it begins with {prompt[:60]!r}"
    if not tokens:
        return Fault("bad-data", f"{who}: a prompt should have a token; found none", None, who, hint)
    if longest is not None and len(tokens) > longest:
        message = f"{who}: a prompt should have at most {longest:,} tokens; found {len(tokens):,}"
        return Fault("bad-data", message, None, who, hint)
    if max(tokens) >= rows:
        message = f"{who}: token {max(tokens)} has no row among the {rows:,} embeddings"
        return Fault("embedding-too-small", message, None, who, hint)
    return None


def _place(mixture: Mixture, path: tuple[str | int, ...]) -> Place | None:
    """Where a prompt stands, or what it belongs to: prompts of a file, and a lone text, have no place in a list."""
    ends = range(len(path), 0, -1)
    return next((place for end in ends if mixture.locate and (place := mixture.locate(path[:end]))), None)
