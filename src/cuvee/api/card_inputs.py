"""Find a merge's inputs again, and read what they say of themselves: licence, languages, what they were made from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvee.checkpoint.strict_json import parse_json, read_capped
from cuvee.errors import CuveeError, Fault, InputError
from cuvee.recipe.reference import read_reference
from cuvee.reporting.card_parts import Inputs, Source, walk
from cuvee.reporting.front_matter import languages_in, read_front_matter
from cuvee.reporting.licences import decide, stated_in
from cuvee.types import ModelRef, scheme_of

if TYPE_CHECKING:
    from cuvee.checkpoint.protocol import Reader

_CARD: Final = "README.md"
_LICENCES: Final = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md", "COPYING")
_LIMIT: Final = 2_000_000
"""Bytes of a card or licence that are read."""


def find_inputs(record: Mapping[str, Any], roots: Sequence[Path]) -> Inputs:
    """The inputs of a record, with what they say of themselves.

    Args:
        record: of the merge.
        roots: folders that local paths may start from; the first with the model that was merged is taken.
    """
    notes: list[str] = []
    statistics, parts = _statistics(record["recipe"]), _parts(record["recipe"])
    sources = [_source(one, depth, statistics, parts, roots, notes) for one, depth in walk(record["inputs"])]
    unique = {(one.name, one.content): one.stated for one in sources if one.is_model}
    return Inputs(tuple(sources), decide(list(unique.values())), tuple(dict.fromkeys(notes)))


def _statistics(part: Any) -> frozenset[str]:
    """Files of statistics that a recipe, or one inside it, names."""
    if isinstance(part, Mapping):
        own = [part["statistics"]] if isinstance(part.get("statistics"), str) else []
        return frozenset(own).union(*(_statistics(entry) for entry in part.values()))
    return frozenset().union(*(_statistics(entry) for entry in part)) if isinstance(part, list) else frozenset()


def _parts(part: Any) -> dict[str, ModelRef]:
    """Models that a recipe, or one inside it, says more of than where they lie: by what the record calls them."""
    if isinstance(part, list):
        return {name: ref for entry in part for name, ref in _parts(entry).items()}
    if not isinstance(part, Mapping):
        return {}
    found = _parts(list(part.values()))
    try:
        ref = read_reference(part)
    except (ValueError, KeyError, TypeError, AttributeError):  # no reference, or one that no recipe has
        return found
    return found if ref.placing is None else {**found, str(ref): ref}


def _source(
    found: Mapping[str, Any],
    depth: int,
    statistics: frozenset[str],
    parts: Mapping[str, ModelRef],
    roots: Sequence[Path],
    notes: list[str],
) -> Source:
    name, hub = found["model"], _hub(found)
    role = "statistics" if name in statistics else "result" if "inputs" in found else "model"
    role = "base" if found["base"] and role == "model" else role
    files = _files(found, parts.get(name), roots, notes) if role in ("base", "model") else {}
    front = _front(name, files, notes)
    licence = next(((file, text) for file, text in files.items() if file in _LICENCES), None)
    place = f"https://huggingface.co/{hub['model']}/blob/{hub['commit']}/" if hub else ""
    return Source(
        name,
        role,
        depth,
        found["parameters"],
        found["content"],
        found.get("sha256", {}),
        hub.get("model"),
        hub.get("commit"),
        () if hub else _ids(front, files),
        stated_in(name, front, licence, place),
        tuple(languages_in(front)),
    )


def _hub(found: Mapping[str, Any]) -> Mapping[str, str]:
    """Id and commit of an input from the hub, if the record says what can be true."""
    from cuvee.checkpoint.folder import is_hub_id

    hub: Mapping[str, str] = found.get("hub", {})
    good = hub and is_hub_id(hub["model"]) and re.fullmatch(r"[0-9a-f]{40}", hub["commit"])
    return hub if good else {}


def _front(name: str, files: Mapping[str, str], notes: list[str]) -> dict[str, Any]:
    try:
        return read_front_matter(files.get(_CARD, ""), _CARD)
    except ValueError as error:
        notes.append(f"{name}: the front matter of its card cannot be read: {error}")
        return {}


def _ids(front: Mapping[str, Any], files: Mapping[str, str]) -> tuple[str, ...]:
    """Hub ids that a local model names as what it was made from: in its card, else in its configuration."""
    from cuvee.checkpoint.folder import is_hub_id

    given = front.get("base_model")
    named = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, str)]
    try:
        config = parse_json(files.get("config.json", "{}").encode())[0]
    except ValueError:
        config = {}
    if not named and isinstance(config, Mapping) and isinstance(config.get("_name_or_path"), str):
        named = [config["_name_or_path"]]
    return tuple(dict.fromkeys(one for one in named if "/" in one and is_hub_id(one)))


def _files(found: Mapping[str, Any], ref: ModelRef | None, roots: Sequence[Path], notes: list[str]) -> dict[str, str]:
    """The texts of an input's card, licence and configuration, by name."""
    if hub := _hub(found):
        return _from_hub(hub["model"], hub["commit"], notes)
    folder = _folder(found, ref, roots, notes)
    if folder is None:
        return {}
    texts = {name: _text(folder / name) for name in (_CARD, *_LICENCES, "config.json")}
    return {name: text for name, text in texts.items() if text is not None}


def _text(path: Path) -> str | None:
    try:
        return read_capped(path, _LIMIT).decode("utf-8", "replace") if path.is_file() else None
    except (OSError, ValueError):
        return None


def _folder(found: Mapping[str, Any], ref: ModelRef | None, roots: Sequence[Path], notes: list[str]) -> Path | None:
    """The folder of a local input, if the model that was merged lies there still; `ref` says which part was taken."""
    from cuvee.checkpoint.folder import local_path, open_checkpoint

    name = found["model"] if ref is None else str(ref.whole)
    for adapter in reversed(found.get("adapters", [])):  # the card of the base is meant
        name = name.removesuffix(f"+{adapter['model']}")
    if scheme_of(name) is not None:
        notes.append(f"{name}: the card of a model at a URL is not looked for")
        return None
    for root in roots:
        path = local_path(name, root)
        if not path.exists():
            continue
        try:
            with closing(open_checkpoint(ModelRef(str(path)), None, hub_download=False)) as reader:
                same = len(_taken(reader, ref).specs) == found["tensors"]
        except CuveeError:
            same = False
        if same:
            return path if path.is_dir() else path.parent
    notes.append(f"{name} was not found where it was merged from, so that its own card could not be read")
    return None


def _taken(reader: Reader, ref: ModelRef | None) -> Reader:
    """What the merge took of a model; under which names it stood there is no matter here."""
    from cuvee.checkpoint.renamed import placed

    if ref is None or ref.placing is None:
        return reader
    return placed([replace(ref, placing=replace(ref.placing, stands_for=None, rename=()))], [reader])[0]


def _from_hub(name: str, commit: str, notes: list[str]) -> dict[str, str]:
    """The card and the licence of a commit: of the cache, or small downloads into it."""
    from cuvee.checkpoint import hub
    from cuvee.checkpoint.hub_listing import Listing

    ref = ModelRef(name, commit)
    listing = hub.look_up(ref)
    there = listing.names if isinstance(listing, Listing) else (_CARD, *_LICENCES)
    texts: dict[str, str] = {}
    for file in (_CARD, *_LICENCES):
        if file in there and (text := _fetched(ref, commit, file)) is not None:
            texts[file] = text
    if isinstance(listing, Fault) and not texts:
        notes.append(f"{name}: its card is not in the cache, and could not be asked for: {listing.message}")
    return texts


def _fetched(ref: ModelRef, commit: str, file: str) -> str | None:
    from cuvee.checkpoint import hub
    from cuvee.checkpoint.hub_listing import Listing

    try:
        return _text(hub.fetch(ref, Listing(commit, ()), file))
    except InputError:
        return None
