"""Model references as mergekit spells them: `path[@revision][+adapter[@revision]]`, or a mapping of the same parts.

A path may be a URL. An `@` in one belongs to it, except in `hf://org/name@revision`; a `+` divides as everywhere, so a
URL with a `+` of its own is written as a mapping.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cuvee.recipe.findings import shortened
from cuvee.types import ModelRef, Placing, scheme_of, url_fault


def read_reference(value: str | Mapping[str, Any], root: Path | None = None) -> ModelRef:
    """A model reference from the recipe's text or mapping.

    Args:
        value: `path[@revision][+adapter[@revision]]`, or `{model, lora?, override_architecture?, part?, as?, rename?,
            without?}` whose models are such texts without `+`, or `{path, revision?}`; `lora` may be a list of them,
            applied in turn. A path that exists as written is taken whole, whatever `@` and `+` are in it; so is the
            `path` of a mapping.
        root: folder that relative paths start from.

    Raises:
        ValueError: the text cannot be split; its message completes "`model` should be …".

    Example:
        >>> read_reference("org/name@main+me/adapter")
        ModelRef(path='org/name', revision='main', adapter=ModelRef(path='me/adapter', revision=None, \
adapter=None, override_architecture=None, placing=None), override_architecture=None, placing=None)
    """
    if isinstance(value, str):
        model, adapter = _split_adapter(value, root)
        return ModelRef(*_split_revision(model, root), adapter=None if adapter is None else _part(adapter, root))
    base, lora = _part(value["model"], root), value.get("lora")
    adapter_ref = None if lora is None else _chain(lora if isinstance(lora, list | tuple) else [lora], root)
    return ModelRef(base.path, base.revision, adapter_ref, value.get("override_architecture"), _placing(value))


def written_reference(ref: ModelRef) -> str | dict[str, Any]:
    """A reference as `read_reference` reads it back, whatever lies on the disk: text where that is unambiguous."""
    adapters = list(adapters_of(ref))
    parts = [ref, *adapters]
    plain = all(not set("@+") & set(part.path + (part.revision or "")) for part in parts)
    if plain and ref.override_architecture is None and ref.placing is None and len(parts) < 3:
        return str(ref)
    data: dict[str, Any] = {"model": _written_part(ref)}
    if ref.adapter is not None:
        written = [_written_part(adapter) for adapter in adapters]
        data["lora"] = written if len(written) > 1 else written[0]
    if ref.override_architecture is not None:
        data["override_architecture"] = ref.override_architecture
    return {**data, **written_placing(ref)}


def written_placing(ref: ModelRef) -> dict[str, Any]:
    """The keys that say which part of a model is meant."""
    placing = ref.placing
    if placing is None:
        return {}
    told = {"part": placing.part, "as": placing.stands_for, "rename": dict(placing.rename), "without": placing.without}
    return {key: value for key, value in told.items() if value}


def _placing(value: Mapping[str, Any]) -> Placing | None:
    """What a mapping says of parts; `None` for nothing."""
    renamed = tuple(sorted((value.get("rename") or {}).items()))
    placing = Placing(value.get("part"), value.get("as"), renamed, value.get("without"))
    return None if placing == Placing() else placing


def adapters_of(ref: ModelRef) -> Iterator[ModelRef]:
    """The adapters of a reference, each without those after it."""
    following = ref.adapter
    while following is not None:
        yield replace(following, adapter=None)
        following = following.adapter


def _chain(values: Sequence[str | Mapping[str, Any]], root: Path | None) -> ModelRef | None:
    """Adapters applied in turn: each has the one after it."""
    chain: ModelRef | None = None
    for value in reversed(values):
        chain = replace(_part(value, root), adapter=chain)
    return chain


def _written_part(ref: ModelRef) -> dict[str, Any]:
    return {"path": ref.path} if ref.revision is None else {"path": ref.path, "revision": ref.revision}


def _part(value: str | Mapping[str, Any], root: Path | None) -> ModelRef:
    """A path with its revision, from text or mapping."""
    if isinstance(value, str):
        return ModelRef(*_split_revision(value, root))
    return ModelRef(value["path"], value.get("revision"))


def _checked(path: str) -> str:
    """A URL that can be one of a model; of others, nothing is repeated that could be a secret."""
    if wrong := url_fault(path):
        raise ValueError(f"a path, or a URL that should {wrong}")
    return path


def _split_adapter(text: str, root: Path | None) -> tuple[str, str | None]:
    """The text before and after the `+`, if it has one that is not part of an existing path."""
    if _exists(text, root):
        return text, None
    splits = list(_splits(text, "+"))
    for model, adapter in splits:
        if _exists(model, root):
            return model, adapter
    if len(splits) > 1:
        several = "several adapters are a list, `{model: base, lora: [a, b]}`"
        raise ValueError(f"`path` or `path+adapter`, found {len(splits)} `+` in {shortened(repr(text))}; {several}")
    return splits[0] if splits else (text, None)


def _split_revision(text: str, root: Path | None) -> tuple[str, str | None]:
    """Path and revision of one part."""
    if scheme_of(text) is not None and (scheme_of(_checked(text)) != "hf" or "@" not in text):
        return text, None
    splits = list(_splits(text, "@"))
    if not splits and text:
        return text, None
    if text and _exists(text, root):
        return text, None
    if len(splits) != 1 or not all(splits[0]):
        raise ValueError(f"`path` or `path@revision`, found {shortened(repr(text))}")
    return splits[0]


def _splits(text: str, mark: str) -> Iterator[tuple[str, str]]:
    """Every way to split a text at a mark."""
    for index, letter in enumerate(text):
        if letter == mark:
            yield text[:index], text[index + 1 :]


def _exists(text: str, root: Path | None) -> bool:
    """Whether a path is there as written; a text that no file system accepts is not."""
    try:
        return bool(text) and (root or Path()).joinpath(text).exists()
    except (OSError, ValueError):
        return False
