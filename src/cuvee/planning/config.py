"""What the output's `config.json` must say: the donor's text, changed only where the merge changed a fact."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cuvee.checkpoint.quantised import SECTIONS, quantised_sections
from cuvee.errors import Fault, UsageError
from cuvee.families import Stack, sections
from cuvee.families.anatomy import affinity
from cuvee.families.pretrained import implied_lists
from cuvee.layers import SourceLayer, may_differ_by_position, patch_json, remove_json, restack
from cuvee.planning.model import Step
from cuvee.planning.slots import Opened, Stacking
from cuvee.types import DTYPES

_DTYPE_KEYS: Final = ("dtype", "torch_dtype")
_LONGEST: Final = 60
_NOISE: Final = frozenset(
    {
        *_DTYPE_KEYS,
        "transformers_version",
        "_name_or_path",
        "use_cache",
        "architectures",
        "tie_word_embeddings",
        "id2label",
        "label2id",
        "problem_type",
        "finetuning_task",
    }
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The output's configuration text, what was changed in it by dotted path (`None`: left out), faults and notes."""

    text: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


def configuration(
    opened: Sequence[Opened],
    donor: int,
    steps: Sequence[Step],
    stackings: Sequence[Stacking],
    *,
    tie: bool | None,
    asked_dtype: bool,
) -> Configuration:
    """Patch the donor's configuration.

    Args:
        opened: the input models.
        donor: number of the model whose configuration is carried over.
        steps: what is written, for its dtypes.
        stackings: stacks put together anew.
        tie: what the output must say of its head, where that is not what the donor says.
        asked_dtype: whether the recipe says which dtype to write.
    """
    reader = opened[donor].reader
    if reader.config is None or reader.config_text is None:
        return Configuration()
    changes: dict[tuple[str, ...], Any] = {}
    faults: list[Fault] = []
    restacked = [_restacked(opened, donor, stacking) for stacking in stackings]
    notes = list(_differences(opened, donor, {path for one in restacked for path in one.followed}))
    for found in restacked:
        changes.update(found.changes)
        faults += found.faults
        notes += found.notes
    changes.update(_dtype_changes(reader.config, steps, None if asked_dtype else opened[donor]))
    if tie is not None:
        saying = [path for path, section in sections(reader.config) if section.get("tie_word_embeddings") is not None]
        changes.update({(*path, "tie_word_embeddings"): tie for path in (*saying, ())})
    removed = _said_of_quantisation(reader.config_text)
    text = remove_json(patch_json(reader.config_text, changes), removed)
    told = {".".join(path): value for path, value in (*changes.items(), *dict.fromkeys(removed).items())}
    return Configuration(text, told, tuple(faults), (*notes, *_dequantised(removed)))


def _said_of_quantisation(text: str) -> tuple[tuple[str, ...], ...]:
    """Paths of what a configuration says of quantised weights; the inputs were dequantised, and so the output is."""
    if not any(f'"{key}"' in text for key in SECTIONS):
        return ()
    return quantised_sections(json.loads(text))


def _dequantised(removed: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if removed:
        yield f"config: {', '.join(map('.'.join, removed))} left out, as the output is not quantised"


@dataclass(frozen=True, slots=True)
class _Restacked:
    changes: Mapping[tuple[str, ...], Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    followed: frozenset[tuple[str, ...]] = frozenset()


def _restacked(opened: Sequence[Opened], donor: int, stacking: Stacking) -> _Restacked:
    """The changes in the section that describes one restacked stack."""
    stack = opened[donor].anatomy.stack(stacking.prefix)
    if stack is None:
        return _Restacked()
    numbers = sorted({donor, *(model for model, _ in stacking.sources)})
    known = {number: _layer_facts(opened[number], stacking.prefix) for number in numbers}
    layers = [replace(known[model].source, layer=layer) for model, layer in stacking.sources]
    found = restack(known[donor].source.section, known[donor].source.count, stack.keys, layers)
    changes = {(*stack.section, key): value for key, value in found.values.items()}
    changes |= _said_again(opened[donor], stack, known[donor].source.section, found.values)
    notes = (*found.notes, *(note for facts in known.values() for note in facts.notes))
    followed = frozenset((*stack.section, key) for key in found.followed)
    return _Restacked(changes, found.faults, notes, followed | changes.keys())


def _said_again(
    model: Opened, stack: Stack, section: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[tuple[str, ...], Any]:
    """The same changes in an outer or inner section that says the same, as some versions of transformers write both."""
    return {
        (*path, key): value
        for path, other in sections(model.reader.config or {})
        for key, value in values.items()
        if path != stack.section and _nested(path, stack.section) and key in other and other[key] == section.get(key)
        if affinity(stack.prefix, path, key) > 0
    }


def _nested(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    return a[: len(b)] == b or b[: len(a)] == a


@dataclass(frozen=True, slots=True)
class _LayerFacts:
    """What one model's configuration says of its layers, and what it leaves open."""

    source: SourceLayer
    notes: tuple[str, ...] = ()


def _layer_facts(model: Opened, prefix: str) -> _LayerFacts:
    """The section that describes the layers; lists that its class works out for itself are made explicit."""
    stack = model.anatomy.stack(prefix)
    assert stack is not None, "layer ranges were checked against this stack"
    config = model.reader.config or {}
    section = dict(sections(config)).get(stack.section, {})
    source = SourceLayer(str(model.ref), section, 0, stack.count - stack.extra)
    if not may_differ_by_position(section):
        return _LayerFacts(source)
    try:
        implied = implied_lists(config, stack.section)
    except UsageError:
        note = f"config: layers of {model.ref} may differ by position; transformers, not installed here, would know"
        return _LayerFacts(source, (note,))
    lists = {k: v for k, v in implied.items() if len(v) == source.count and len(set(map(str, v))) > 1}
    return _LayerFacts(replace(source, section={**section, **lists}))


def _dtype_changes(
    config: Mapping[str, Any], steps: Sequence[Step], donor: Opened | None
) -> dict[tuple[str, ...], str]:
    """New dtype entries for what is written; none where it has the dtype of the donor's tensors, whatever is said."""
    written = _main_dtype((s.out.dtype, s.out.numel) for s in steps)
    own = _main_dtype((s.usual_dtype, s.numel) for s in donor.reader.specs.values()) if donor else None
    if written is None or written == own:
        return {}
    return {
        (*path, key): written
        for path, section in sections(config)
        for key in _DTYPE_KEYS
        if isinstance(section.get(key), str) and section[key] in DTYPES and section[key] != written
    }


def _main_dtype(found: Iterator[tuple[str, int]] | Any) -> str | None:
    """The float dtype that most entries have."""
    counts: Counter[str] = Counter()
    for dtype, numel in found:
        if DTYPES[dtype].kind == "float":
            counts[dtype] += numel
    return counts.most_common(1)[0][0] if counts else None


def _differences(opened: Sequence[Opened], donor: int, followed: Collection[tuple[str, ...]]) -> Iterator[str]:
    """Settings on which the models disagree: the weights are merged, the setting is the donor's.

    Those that follow the layers are nobody's: what a slice says of its own few layers contradicts no one.
    """
    ours = opened[donor].reader.config or {}
    for model in opened:
        theirs = model.reader.config
        if model is opened[donor] or theirs is None:
            continue
        flat, other = dict(_flattened(ours)), dict(_flattened(theirs))
        own = {".".join(path) for path in followed}
        if model.ref.is_partial:
            flat, other = _of_the_part(ours, theirs)
            own = {path[-1] for path in followed}
        for key in sorted((flat.keys() | other.keys()) - own):
            if flat.get(key) != other.get(key):
                yield (
                    f"config: `{key}` is {_shown(flat, key)} in {opened[donor].ref} and {_shown(other, key)} in "
                    f"{model.ref}; the output keeps the former"
                )


def _of_the_part(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that a partial model shares with the section of the whole one that is most like it."""
    other = {key: value for key, value in _flattened(theirs) if key != "tie_word_embeddings"}
    known = [dict(_flattened(section)) for _, section in sections(ours)]
    most = max(known, key=lambda one: sum(one.get(key, _NOISE) == value for key, value in other.items()))
    both = (most.keys() & other.keys()) - {"model_type"}
    return {key: most[key] for key in both}, {key: other[key] for key in both}


def _shown(flat: Mapping[str, Any], key: str) -> str:
    """A setting as a note shows it: label maps of a thousand classes are cut."""
    text = repr(flat[key]) if key in flat else "not set"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]} …"


def _flattened(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by dotted path, those that say nothing of the arithmetic left out."""
    for key, value in config.items():
        if key in _NOISE:
            continue
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
