"""What can be told without weights: names, shapes, configurations, vocabularies.

What does not fit is what `cuvee merge` says does not fit: the models are bound to a recipe, and its faults are told,
put together by what they have in common.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

from cuvee import methods
from cuvee.checkpoint.protocol import Reader
from cuvee.errors import Fault, InputError, RecipeError, listed
from cuvee.families import spot_of
from cuvee.planning import Plan, bind, referenced
from cuvee.preflight.facts import Reason
from cuvee.preflight.rules import OTHER_WORDS
from cuvee.recipe import Recipe, from_data
from cuvee.recipe.reference import written_reference
from cuvee.types import ModelRef

_MEANS: Final = (
    "model_type",
    "num_attention_heads",
    "n_head",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "activation_function",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "partial_rotary_factor",
    "position_embedding_type",
    "rms_norm_eps",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "sliding_window",
    "layer_types",
    "num_experts_per_tok",
    "id2label",
)
"""Settings that say what tensors mean and that no shape shows: how heads are divided, in which order classes stand."""
_VOCABULARY_FILES: Final = ("tokenizer.json", "vocab.json")
_LARGEST: Final = 64 << 20
"""Bytes of a vocabulary that is read."""


def recipe_of(method: str, models: Sequence[ModelRef], base: ModelRef | None = None, **more: Any) -> Recipe:
    """A recipe of whole models.

    Args:
        method: its name.
        models: without the base.
        base: the base model.
        more: other keys of a recipe, `weight` for one per model.
    """
    own = {key: more.pop(key) for key in ("weight", "density") if key in more}
    entries = [{"model": written_reference(ref), **({"parameters": own} if own else {})} for ref in models]
    data = {"merge_method": method, "models": entries, **more}
    if base is not None:
        data["base_model"] = written_reference(base)
    return from_data(data, methods.specs())


def plan_of(recipe: Recipe, readers: Mapping[ModelRef, Reader]) -> tuple[Plan | None, tuple[Fault, ...]]:
    """The plan of a recipe over opened models, or why there is none."""
    try:
        return bind(recipe, [readers[ref] for ref in referenced(recipe)], methods.get(recipe.method).spec), ()
    except (InputError, RecipeError) as error:
        return None, error.faults


def misfits(faults: Sequence[Fault], models: Sequence[str]) -> Iterator[Reason]:
    """The faults as reasons; those that differ in the number of their layer only are told once."""
    groups: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        groups.setdefault((fault.code, _pattern(fault)), []).append(fault)
    for (code, text), same in groups.items():
        many = f" ({len(same)} tensors, {listed(f.subject or '' for f in same)})" if len(same) > 1 else ""
        about = tuple(name for name in models if name in text) or tuple(models)
        yield Reason(code, "stops", about, text + many, float(len(same)), None, same[0].hint)


def _pattern(fault: Fault) -> str:
    """A fault's text with stars for the numbers in its tensor's name."""
    if fault.subject is None or spot_of(fault.subject) is None:
        return fault.message
    return fault.message.replace(fault.subject, re.sub(r"(?<=\.)\d+(?=\.|$)", "*", fault.subject))


def differences(readers: Sequence[Reader], names: Sequence[str]) -> Iterator[Reason]:
    """What a merge would accept and is worth knowing: settings, dtypes, vocabularies."""
    yield from _settings(readers, names)
    dtypes = {name: _dtypes(reader) for name, reader in zip(names, readers, strict=True)}
    if len(set(dtypes.values())) > 1:
        told = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        text = f"dtypes differ: {told}; they are compared in the coarser one, and merged in float32"
        yield Reason("dtypes", "note", tuple(names), text, float(len(set(dtypes.values()))), "> 1", _DTYPES)
    words = [_words(reader) for reader in readers]
    for a, b in combinations(range(len(readers)), 2):
        yield from _vocabularies(names[a], names[b], words[a], words[b])


_DTYPES: Final = "a merge takes any mixture of float dtypes; the result has the widest that any needs"


def _dtypes(reader: Reader) -> str:
    return "+".join(sorted({spec.stored or spec.dtype for spec in reader.specs.values()}))


def _settings(readers: Sequence[Reader], names: Sequence[str]) -> Iterator[Reason]:
    having = [(name, r.config) for name, r in zip(names, readers, strict=True) if r.config is not None]
    for key in _MEANS:
        values = {name: json.dumps(config.get(key), sort_keys=True) for name, config in having}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{name} {value[:60]}" for name, value in values.items())
            why = "no shape shows it, and the merged model can have one value only, the first model's"
            yield Reason("settings", "care", tuple(values), f"`{key}` differs: {told}", None, None, why)


def _words(reader: Reader) -> Mapping[str, int] | bytes | None:
    """Words and their numbers; the bytes of a form that is not known; `None` without a vocabulary."""
    file = next((f for n in _VOCABULARY_FILES for f in reader.side_files if f.name == n), None)
    if file is None or file.nbytes > _LARGEST:
        return None
    raw = file.fetched().read_bytes()
    try:
        found = json.loads(raw)
        vocabulary = found["model"]["vocab"] if file.name == "tokenizer.json" else found
        if isinstance(vocabulary, list):
            return {str(entry[0]): number for number, entry in enumerate(vocabulary)}
        return {str(word): int(number) for word, number in vocabulary.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return raw


def _vocabularies(
    a: str, b: str, words_a: Mapping[str, int] | bytes | None, words_b: Mapping[str, int] | bytes | None
) -> Iterator[Reason]:
    if words_a is None or words_b is None or words_a == words_b:
        return
    if isinstance(words_a, bytes) or isinstance(words_b, bytes):
        text = f"the vocabularies of {a} and {b} are different files; what differs could not be told"
        yield Reason("words", "care", (a, b), text, None, None, OTHER_WORDS.source)
        return
    by_number = [{number: word for word, number in words.items()} for words in (words_a, words_b)]
    shared = by_number[0].keys() & by_number[1].keys()
    other = sum(by_number[0][n] != by_number[1][n] for n in shared)
    share = other / len(shared) if shared else 1.0
    if not other and shared:
        text = f"the vocabularies of {a} and {b} agree as far as both go: {len(words_a):,} and {len(words_b):,} words"
        yield Reason("words", "note", (a, b), text, 0.0, str(OTHER_WORDS), OTHER_WORDS.source)
        return
    level = "stops" if OTHER_WORDS.holds(share) else "care"
    text = f"{share:.1%} of the token numbers stand for other words in {a} than in {b}"
    yield Reason("words", level, (a, b), text, share, str(OTHER_WORDS), OTHER_WORDS.source)  # type: ignore[arg-type]
