"""Whether tokenizers can become one: what of their rules differs, told by name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cuvee.errors import Fault, InputError
from cuvee.tokens.vocabulary import Vocabulary

STEPS: Final = {"normalizer": "normaliser", "pre_tokenizer": "pre-tokenizer", "decoder": "decoder"}
"""The steps around the division of words, and what they are called."""

_RULES: Final = {
    "continuing_subword_prefix": (None, "", "prefix of continued words"),
    "end_of_word_suffix": (None, "", "suffix of ended words"),
    "byte_fallback": (None, False, "byte fallback"),
}
_WITHOUT_EFFECT: Final = ("trim_offsets",)  # changes where tokens are said to stand, never which ones there are

WAYS_OUT: Final = (
    "`tokenizer: {source: base}` keeps the base's, `source: MODEL` takes one model's; "
    "`cuvee tokens transplant` puts one tokenizer onto the other model first"
)


def check_alike(vocabularies: Sequence[Vocabulary], base: int) -> None:
    """Refuse tokenizers whose rules differ from the base's.

    Raises:
        InputError: `tokenizer-mismatch`, one fault for every difference of every tokenizer.
    """
    faults = [
        Fault("tokenizer-mismatch", f"{other.label}: {difference}", subject=other.label, hint=WAYS_OUT)
        for number, other in enumerate(vocabularies)
        if number != base
        for difference in differences(vocabularies[base], other)
    ]
    if faults:
        raise InputError(faults)


def differences(a: Vocabulary, b: Vocabulary) -> Iterator[str]:
    """How the rules of two tokenizers differ; nothing where a text's pieces mean the same to both."""
    if a.kind != b.kind:
        yield f"tokenizers must be of one kind to be united: {a.label} has {a.kind}, {b.label} {b.kind}"
        return
    for key, name in STEPS.items():
        if essence(a.data.get(key)) != essence(b.data.get(key)):
            ours, theirs = _short(a.data.get(key)), _short(b.data.get(key))
            yield f"tokenizers need the same {name}: {a.label} has {ours}, {b.label} {theirs}"
    for key, (*absent, name) in _RULES.items():
        pair = [None if model.get(key) in absent else model.get(key) for model in (a.data["model"], b.data["model"])]
        if pair[0] != pair[1]:
            yield f"tokenizers need the same {name}: {a.label} has {pair[0]!r}, {b.label} {pair[1]!r}"


def essence(part: Any) -> Any:
    """A step without what has no effect on tokens, and without a sequence around a single step."""
    if isinstance(part, list):
        return [essence(one) for one in part]
    if not isinstance(part, Mapping):
        return part
    kept = {key: essence(value) for key, value in part.items() if key not in _WITHOUT_EFFECT}
    lists = [value for key, value in kept.items() if key != "type" and isinstance(value, list)]
    return lists[0][0] if kept.get("type") == "Sequence" and len(lists) == 1 and len(lists[0]) == 1 else kept


def _short(part: Any) -> str:
    text = "none" if part is None else json.dumps(part, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}…"
