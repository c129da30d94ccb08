"""Whether models can be asked as one ensemble: the same inputs read alike, and outputs that mean the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from cuvee.errors import Fault, InputError
from cuvee.families.heads import heads_of
from cuvee.families.inputs import classes_of, longest_input
from cuvee.judging.asking.encoding import vocabulary_of
from cuvee.judging.asking.ensemble import PredictionMean, kind_of
from cuvee.judging.asking.subject import Subject

_PASSING: Final = ("truncation", "padding")
"""What a tokenizer was last told to do, and no part of what it is."""


def joined(label: str, subjects: Sequence[Subject]) -> Subject:
    """Models as one ensemble.

    Args:
        label: what it is called in messages.
        subjects: its members.

    Raises:
        InputError: `wrong-model`: members that do not read alike, or whose outputs do not mean the same; all faults.
    """
    if faults := list(disagreements(subjects)):
        raise InputError(faults)
    shortest = min(subjects, key=lambda one: _length(one.config))
    model = PredictionMean([one.model for one in subjects], shortest.config).eval()
    return Subject(label, model, subjects[0].tokenizer, subjects[0].pictures)


def disagreements(subjects: Sequence[Subject]) -> Iterator[Fault]:
    """How members differ from the first in what they must share: each of them, once for each thing."""
    first, *others = subjects
    for other in others:
        for what, theirs, own in _shared(first, other):
            if theirs == own:
                continue
            shown = f": {_short(own)} and {_short(theirs)}" if _is_short(own) and _is_short(theirs) else ""
            message = f"the members of an ensemble should have the same {what}; {first.label} and {other.label} differ"
            hint = "an ensemble averages outputs place by place: put only models in it whose outputs mean the same"
            yield Fault("wrong-model", f"{message}{shown}", subject=other.label, hint=hint)


def _shared(first: Subject, other: Subject) -> Iterator[tuple[str, Any, Any]]:
    """What two members must share: its name, the other's and the first's."""
    for what, of in _SHARED.items():
        yield what, of(other), of(first)


def _heads(subject: Subject) -> Any:
    return list(heads_of(subject.model)) or type(subject.model).__name__


def _classes(subject: Subject) -> Any:
    config = subject.config
    is_classifier = any("classification" in head for head in heads_of(subject.model))
    return dict(classes_of(config)) if is_classifier and config is not None else None


def _tokenizer(subject: Subject) -> Any:
    """Everything that a tokenizer does to a text."""
    tokenizer = subject.tokenizer
    if tokenizer is None:
        return None
    try:
        told = json.loads(tokenizer.backend_tokenizer.to_str())
        does: Any = {key: value for key, value in told.items() if key not in _PASSING}
    except AttributeError:  # one written in Python: its words
        does = tokenizer.get_vocab()
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    return [does, special, getattr(tokenizer, "chat_template", None)]


def _pictures(subject: Subject) -> Any:
    return None if subject.pictures is None else subject.pictures.to_json_string()


_SHARED: Final[Mapping[str, Callable[[Subject], Any]]] = {
    "kind of predictions": _heads,
    "number of tokens in the vocabulary": lambda one: vocabulary_of(one.model),
    "tokenizer": _tokenizer,
    "image processor": _pictures,
    "classes in the same order": _classes,
    "meaning of the outputs": lambda one: kind_of(one.model),
}


def _length(config: Any) -> float:
    longest = None if config is None else longest_input(config)
    return float("inf") if longest is None else longest


def _is_short(value: Any) -> bool:
    return isinstance(value, int | list | str) and len(str(value)) <= 60


def _short(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
