"""Members that are models of transformers: classifiers and causal language models, kept as folders of safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from cuvee.checkpoint.copying import copy_hashed
from cuvee.checkpoint.side_files import allowed_roots, link_fault
from cuvee.errors import Fault, InputError
from cuvee.predict.member import Member
from cuvee.predict.saving.files import walk
from cuvee.predict.saving.keepers import KEEPERS, Keeper, Kept, Stored, cannot_be_saved, unsound

_FOLDER: Final = "model"
_WEIGHTS: Final = ".safetensors"
_CODE: Final = (".py", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".joblib")
"""Endings of files that are code, or may hold some."""


def save(member: Member, folder: Path, _: bool) -> Kept:
    """Copy the folder, or have a model in memory and what makes its inputs write themselves."""
    place = folder / _FOLDER
    place.mkdir()
    if isinstance(member.thing, Path):
        copy_model(member, member.thing, place)
        return Kept({"embed": member.embed is not None}, ("torch", "transformers"))
    model, reader = member.thing.model, member.thing.reader
    try:
        model.save_pretrained(place, safe_serialization=True)
        reader.save_pretrained(place)
    except Exception as error:
        raise cannot_be_saved(member.name, member.kind, f"transformers says {type(error).__name__}: {error}") from error
    said = {"embed": member.embed is not None, "dtype": str(model.dtype).removeprefix("torch.")}
    return Kept(said, ("torch", "transformers"))


def copy_model(member: Member, source: Path, place: Path) -> None:
    """Copy what a model is loaded from: no code, no pickles, nothing hidden.

    Raises:
        UsageError: it has no weights as safetensors.
        InputError: `unsafe-link`.
    """
    names = [name for name in walk(source) if not any(part.startswith(".") for part in name.split("/"))]
    names = [name for name in names if not name.lower().endswith(_CODE)]
    if not any(name.endswith(_WEIGHTS) for name in names):
        hint = "load it and give the model itself, or write it anew with `save_pretrained`"
        raise cannot_be_saved(member.name, member.kind, f"{source} holds no weights as safetensors", hint)
    roots = allowed_roots(source)
    if wrong := [fault for name in names if (fault := link_fault(source / name, name, roots))]:
        raise InputError(wrong)
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        copy_hashed(source / name, place / name, place / name)


def check(stored: Stored) -> list[Fault]:
    """Files that are code, or may hold some: we wrote none."""
    place = stored.folder / _FOLDER
    found = [name for name in walk(place) if name.lower().endswith(_CODE)] if place.is_dir() else []
    return [unsound(stored.facts.name, f"its folder holds `{name}`, which may run") for name in found[:20]]


def load_classifier(stored: Stored) -> Member:
    """Load the folder as a classifier or a regression."""
    return Member.transformers(stored.folder / _FOLDER, **classifier_settings(stored))


def classifier_settings(stored: Stored) -> Any:
    """What `Member.transformers` takes besides the model."""
    how = {key: value for key, value in stored.settings.items() if key in _RUN}
    dtype = stored.settings.get("dtype") or stored.said.get("dtype")
    known = {"classes": stored.facts.classes or None, "embed": stored.said.get("embed") is True}
    return {**how, "dtype": dtype, **known, **stored.facts.common}


def load_causal(stored: Stored) -> Member:
    """Load the folder as a language model."""
    said = dict(stored.settings)
    words = dict(zip(stored.facts.classes, said.pop("words"), strict=True))
    said["dtype"] = said.get("dtype") or stored.said.get("dtype")
    return Member.causal(stored.folder / _FOLDER, classes=words, **said, **stored.facts.common)


_RUN: Final = ("max_length", "batch_size", "sampling_rate", "device")
KEEPERS.register("transformers", Keeper(save, check, load_classifier))
KEEPERS.register("causal", Keeper(save, check, load_causal))
