"""Where the tensors of one model stand in another one: the one mapping of prefixes under which they fit.

Only names and shapes are looked at. Word embeddings may differ in rows, which is a matter of vocabularies; heads may
stand outside the tower; everything else must be found, in its shape, and must fill its stacks of layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cuvee.families.names import is_optional, is_vocabulary, natural_key, role_of, spot_of
from cuvee.types import TensorSpec

TEXT: Final = ("language_model", "text_model", "text_decoder", "llm")
_SIDES: Final[tuple[tuple[str, ...], ...]] = (
    TEXT,
    ("vision_tower", "vision_model", "visual", "vision_encoder"),
    ("multi_modal_projector", "connector", "mm_projector"),
    ("audio_tower", "audio_model", "audio_encoder"),
)
"""Words that model classes use for the same part."""

_NOT_TEXT: Final = re.compile(r"vis|image|audio|speech|project|connector|merger")
_WITHIN: Final = re.compile(r"model|layers|norm|embed_tokens|lm_head")
"""What stands in every language model, and is no part that one would name."""

Specs = Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class Fit:
    """Names of a model → names of the other one; and what keeps it from fitting, in words."""

    names: Mapping[str, str]
    wrong: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def words_for(part: str) -> tuple[str, ...]:
    """A part's name and its usual synonyms."""
    side = next((side for side in _SIDES if part in side), ())
    return (part, *(word for word in side if word != part))


def prefixes_of(names: Iterable[str]) -> list[str]:
    """Every dotted prefix of the names up to the first number, as one counts."""
    found: set[str] = set()
    for name in names:
        parts = name.split(".")
        numbered = next((i for i, p in enumerate(parts) if p.isdigit()), len(parts) - 1)
        found |= {".".join(parts[:i]) for i in range(1, numbered + 1)}
    return sorted(found, key=natural_key)


def parts_in(names: Iterable[str]) -> list[str]:
    """The parts worth naming: what names begin with, below a `model.` that all of them share as well."""
    known = list(names)
    tops = [prefix.removeprefix("model.") for prefix in prefixes_of(known) if prefix.count(".") <= 1]
    bare = [TEXT[0]] if home_of(TEXT[0], known) is None and _bare_text(known) else []
    return [*bare, *dict.fromkeys(top for top in tops if "." not in top and not _WITHIN.fullmatch(top))]


def home_of(part: str, names: Iterable[str]) -> str | None:
    """The prefix that a part's name means: itself, the shortest that ends with it, or a synonym."""
    prefixes = prefixes_of(names)
    for word in words_for(part):
        ending = [p for p in prefixes if p == word or p.endswith(f".{word}")]
        shortest = [p for p in ending if p.count(".") == min(q.count(".") for q in ending)]
        if len(shortest) == 1:
            return shortest[0]
    return None


def tensors_of_part(part: str, names: Iterable[str]) -> Mapping[str, str]:
    """The tensors of a part → their names in a model of its own; nothing where there is no such part.

    A text tower keeps the head with a row for every token, wherever it stands, and gets the `model.` that language
    models begin with. In models whose text tower has no prefix (Qwen2-VL) it is what belongs to no other side.
    """
    known = list(names)
    home = home_of(part, known)
    if home is None:
        return _bare_text(known) if part in TEXT else {}
    inside = {name: name[len(home) + 1 :] for name in known if name.startswith(f"{home}.")}
    if part not in words_for(TEXT[0]) or _is_bare_encoder(inside.values()):
        return inside
    body = any(new.startswith("model.") for new in inside.values())
    placed = {name: new if body or _is_word_head(new) else f"model.{new}" for name, new in inside.items()}
    heads = {name: name.rsplit(".", 2)[-2] + ".weight" for name in known if _is_word_head(name) and name not in inside}
    return {**placed, **heads}


def _is_bare_encoder(names: Iterable[str]) -> bool:
    """Whether a text tower is an encoder (CLIP), whose class has no `model.`."""
    return any(name.startswith(("encoder.", "embeddings.")) for name in names)


def _bare_text(names: Iterable[str]) -> Mapping[str, str]:
    tops = {name: name.split(".") for name in names}
    others = {name for name, parts in tops.items() if any(_NOT_TEXT.search(p) for p in parts[:2])}
    return {name: name for name in tops if name not in others} if others else {}


def fit_by_name(specs: Specs, target: Specs, part: str) -> list[Fit]:
    """Every mapping of prefixes under which all of a model but its heads is found in a part of another one.

    Args:
        specs: the model's tensors.
        target: the other model's.
        part: the part's name.

    Returns:
        One fit where the answer is clear; several, or none, where it is not.
    """
    body = {name: spec for name, spec in specs.items() if role_of(name) != "head" or _stands_in_layers(name)}
    found: dict[tuple[str, ...], Fit] = {}
    for cut, add in shifts(body, target):
        moved = {name: add + name[len(cut) :] for name in body}
        if all(fits(body[name], target, new) for name, new in moved.items()) and _is_in(part, moved, target):
            found.setdefault(tuple(moved.values()), _with_heads(specs, target, moved, (cut, add)))
    return list(found.values())


def fit_by_prefix(specs: Specs, target: Specs | None, rename: Iterable[tuple[str, str]]) -> Fit:
    """The mapping that is told: the longest prefix that a name begins with is replaced."""
    rules = sorted(rename, key=lambda rule: -len(rule[0]))
    names: dict[str, str] = {}
    wrong = []
    for name in specs:
        rule = next((r for r in rules if name.startswith(r[0])), None)
        if rule is None:
            wrong.append(f"{name}: no prefix of `rename` fits it")
            continue
        names[name] = rule[1] + name[len(rule[0]) :]
    twice = sorted({new for new in names.values() if list(names.values()).count(new) > 1}, key=natural_key)
    wrong += [f"{new}: two tensors would get this name" for new in twice]
    wrong += [] if target is None else _unfit(specs, target, names)
    return Fit(names, tuple(wrong))


def uncovered(fit: Fit, target: Specs) -> list[str]:
    """Tensors of the other model in the stacks of layers that a model takes the place of, and lacks."""
    stacks = {spot.prefix for new in fit.names.values() if (spot := spot_of(new))}
    taken = set(fit.names.values())
    return [
        name
        for name in target
        if (spot := spot_of(name)) and spot.prefix in stacks and name not in taken and not is_optional(name)
    ]


def shifts(body: Specs, target: Specs) -> Iterator[tuple[str, str]]:
    """Pairs of a prefix to cut and one to add, from where one tensor of the model may stand in the other one."""
    anchor = next((n for n in body if spot_of(n)), None) or next((n for n in body if not is_vocabulary(n)), None)
    if anchor is None:
        return
    parts = anchor.split(".")
    for length in range(min(3, len(parts))):
        cut = "".join(f"{part}." for part in parts[:length])
        if not all(name.startswith(cut) for name in body):
            return
        rest = anchor[len(cut) :]
        for name in target:
            if name == rest or name.endswith(f".{rest}"):
                yield cut, name[: len(name) - len(rest)]


def fits(spec: TensorSpec, target: Specs, name: str) -> bool:
    """Whether a tensor has a place of its shape; rows of a vocabulary may differ in number."""
    found = target.get(name)
    if found is None:
        return is_optional(name)
    return found.shape == spec.shape or (is_vocabulary(name) and found.shape[1:] == spec.shape[1:])


def _unfit(specs: Specs, target: Specs, names: Mapping[str, str]) -> list[str]:
    """What has no place, and what has one of another shape."""
    told = []
    for name, new in names.items():
        if new not in target and not is_optional(new):
            told.append(f"{name}: there is no {new}")
        elif not fits(specs[name], target, new):
            told.append(shapes_beside(specs[name], target[new]))
    return told


def shapes_beside(own: TensorSpec, there: TensorSpec) -> str:
    """A tensor and what stands in its place, with the shapes of both."""
    return f"{own.name} {list(own.shape)}: {there.name} is {list(there.shape)}"


def _is_in(part: str, moved: Mapping[str, str], target: Specs) -> bool:
    """Whether the layers land in a part; a text tower without a prefix is known by the other sides beside it."""
    landed = {spot.prefix for new in moved.values() if (spot := spot_of(new))} or set(moved.values())
    words = words_for(part)
    if all(any(word in prefix.split(".") for word in words) for prefix in landed):
        return True
    return home_of(part, target) is None and part in TEXT and all(new in _bare_text(target) for new in moved.values())


def _with_heads(specs: Specs, target: Specs, moved: Mapping[str, str], shift: tuple[str, str]) -> Fit:
    """The fit with the model's heads in their places: that of the same name, in the tower or outside."""
    names, wrong, notes = dict(moved), list[str](), list[str]()
    for name in specs:
        if name in moved:
            continue
        ending, beside = ".".join(name.split(".")[-2:]), shift[1] + name.removeprefix(shift[0])
        places = [t for t in target if t == beside or (_is_word_head(t) and (t == ending or t.endswith(f".{ending}")))]
        places = [t for t in places if fits(specs[name], target, t)]
        if len(places) == 1:
            names[name] = places[0]
            notes += [f"{name} stands for {places[0]}"] if _is_word_head(name) else []
        else:
            wrong.append(
                f"{name} {list(specs[name].shape)}: it has {f'{len(places)} places' if places else 'no place'} there"
            )
    return Fit(names, tuple(wrong), tuple(notes))


def _is_word_head(name: str) -> bool:
    return role_of(name) == "head" and is_vocabulary(name)


def _stands_in_layers(name: str) -> bool:
    return spot_of(name) is not None
