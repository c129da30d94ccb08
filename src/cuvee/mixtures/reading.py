"""From a mixture's YAML, or the same as Python data, to a mixture, or to one error with everything that is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from cuvee.errors import Fault, RecipeError
from cuvee.mixtures.model import PROMPTED, Expert, Mixture
from cuvee.mixtures.schema import ITEMS, ExpertItem, MixtureItem
from cuvee.recipe.document import Document
from cuvee.recipe.files import documents_in, documents_of, start_of
from cuvee.recipe.findings import Finding, described, named, to_faults
from cuvee.recipe.parse import document_from
from cuvee.recipe.reference import read_reference
from cuvee.recipe.structure import item_finding, told
from cuvee.recipe.tags import TAGS

PROMPTS_LIMIT: Final = 16_000_000
"""Bytes that a file of prompts may have."""


def read_mixture(given: str | os.PathLike[str] | Mapping[str, Any], root: Path | None = None) -> Mixture:
    """A mixture of a file, or of Python data with the keys of one.

    Args:
        given: the path of a YAML file, whose folder relative paths start from; or a mapping.
        root: folder that relative paths of a mapping start from; `None` is the working folder.

    Raises:
        RecipeError: with every fault there is; `recipe-missing` if the file cannot be read.
    """
    if isinstance(given, Mapping):
        return mixture_of(_told_as_mixtures(lambda: [document_from(given)]), root)
    file = os.fspath(given)
    return mixture_of(_told_as_mixtures(lambda: documents_in(file)), Path(file).absolute().parent)


def parse_mixture(text: str, file: str = "<mixture>", root: Path | None = None) -> Mixture:
    """A mixture of a text; see `read_mixture`."""
    return mixture_of(_told_as_mixtures(lambda: documents_of(text, file)), root)


def _told_as_mixtures(read: Callable[[], list[Document]]) -> list[Document]:
    """What a reader of recipes reads, its faults in a mixture's words."""
    try:
        return read()
    except RecipeError as error:
        raise RecipeError(_in_our_words(fault) for fault in error.faults) from None


def mixture_of(documents: Sequence[Document], root: Path | None) -> Mixture:
    """The mixture that a file's document says.

    Raises:
        RecipeError: with every fault.
    """
    document = documents[0]
    data, found = document.data, list(document.findings)
    if len(documents) > 1:
        found.append(Finding("bad-mixture", f"a mixture is one document; found {len(documents)}", ()))
    if not isinstance(data, Mapping):
        found.append(Finding("wrong-type", f"a mixture should be a mapping, found {described(data)}", ()))
    elif "merge_method" in data and "experts" not in data:
        message, hint = (
            "a mixture should have `experts`; this is a merge's recipe",
            "`cuvee merge FILE -o OUT` makes it",
        )
        found.append(Finding("missing-key", message, ("merge_method",), hint, "experts", on_key=True))
    else:
        try:
            item = MixtureItem.model_validate(data, context={"root": root})
        except ValidationError as error:
            found += [_finding(each) for each in error.errors(include_url=False)]
        found += _counts(data)
        found += _prompts(data)
    if not found:
        mixture, found = _built(item, root, document)
    if found:
        raise RecipeError(_in_our_words(fault) for fault in to_faults(told(found), document.positions))
    return mixture


def _finding(error: Mapping[str, Any]) -> Finding:
    """One of pydantic's errors in our words."""
    path = tuple(step for step in error["loc"] if step not in TAGS and not str(step).startswith("function-"))
    owner = named(path[:-1]) if len(path) > 1 else "the mixture"
    item = ITEMS.get(str(path[0]), MixtureItem) if len(path) > 2 else MixtureItem
    return item_finding(error, path, owner=owner, name=named(path), known=lambda: sorted(item.model_fields))


def _counts(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Numbers of experts that do not go together."""
    experts, shared, chosen = (data.get(key) for key in ("experts", "shared_experts", "experts_per_token"))
    chosen = 2 if chosen is None else chosen
    if isinstance(experts, list) and experts and type(chosen) is int and chosen > len(experts):
        path = ("experts_per_token",) if "experts_per_token" in data else ("experts",)
        message = f"`experts_per_token` should be at most the number of experts, {len(experts)}; found {chosen}"
        yield Finding("bad-mixture", message, path, "name more experts, or send tokens to fewer", "experts_per_token")
    if isinstance(shared, list) and len(shared) > 1:
        message = f"`shared_experts` should name at most one expert, found {len(shared)}"
        yield Finding("bad-mixture", message, ("shared_experts", 1), "merge them into one first", "shared_experts")


def _prompts(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Experts without prompts where the routers come from prompts."""
    mode = data.get("gate_mode", "hidden")
    experts = data.get("experts")
    if mode not in PROMPTED or not isinstance(experts, list):
        return
    for number, expert in enumerate(experts):
        if isinstance(expert, Mapping) and not (expert.get("positive_prompts") or expert.get("positive_prompts_file")):
            message = (
                f"entry {number + 1} of `experts` should have `positive_prompts`, which `{mode}` reads; found none"
            )
            hint = "or set `gate_mode: random`, and train the routers"
            excuse = (("experts", number, "positive_prompts"),)
            yield Finding("bad-mixture", message, ("experts", number), hint, "positive_prompts", excuses=excuse)


def _built(item: MixtureItem, root: Path | None, document: Document) -> tuple[Mixture, list[Finding]]:
    found: list[Finding] = []
    mixture = Mixture(
        base=read_reference(document.data["base_model"], root),
        experts=_experts(item.experts, "experts", document, root, found),
        shared=_experts(item.shared_experts or (), "shared_experts", document, root, found),
        gate_mode=item.gate_mode,
        dtype=item.dtype,
        per_token=item.experts_per_token,
        architecture=item.architecture,
        others=item.others,
        seed=item.seed,
        gate_scale=item.gate_scale,
        root=root,
        locate=document.positions,
    )
    return mixture, found


def _experts(
    items: Sequence[ExpertItem], key: str, document: Document, root: Path | None, found: list[Finding]
) -> tuple[Expert, ...]:
    """The experts of a list; models are read from the document as it stands, a text or a mapping."""
    written = [entry["source_model"] for entry in document.data.get(key) or ()]
    return tuple(
        Expert(
            read_reference(model, root),
            (*item.positive_prompts, *_lines(item, "positive_prompts_file", root, (key, i), found)),
            (*item.negative_prompts, *_lines(item, "negative_prompts_file", root, (key, i), found)),
            item.noise_scale,
            item.residual_scale,
        )
        for i, (item, model) in enumerate(zip(items, written, strict=True))
    )


def _lines(
    item: ExpertItem, key: str, root: Path | None, at: tuple[str | int, ...], found: list[Finding]
) -> tuple[str, ...]:
    """The prompts of a file; one that cannot be read is noted."""
    file: str | None = getattr(item, key)
    if file is None:
        return ()
    try:
        lines = read_prompts((root or Path()) / file)
    except (OSError, ValueError) as error:
        message = f"`{key}` names a file that cannot be read: {getattr(error, 'strerror', None) or error}"
        found.append(Finding("data-missing", message, (*at, key), "paths start from the mixture's folder", file))
        return ()
    if not lines:
        found.append(Finding("bad-data", f"`{key}` names a file without a prompt", (*at, key), None, file))
    return lines


def read_prompts(file: Path) -> tuple[str, ...]:
    """The prompts of a text file: a line each, empty ones passed over.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger than a file of prompts is, or is not UTF-8.
    """
    raw = start_of(file, PROMPTS_LIMIT)
    if len(raw) > PROMPTS_LIMIT:
        raise ValueError(f"it is larger than {PROMPTS_LIMIT:,} bytes")
    return tuple(line for line in raw.decode("utf-8-sig").splitlines() if line.strip())


def _in_our_words(fault: Fault) -> Fault:
    """A fault of the shared reader in a mixture's words."""
    return replace(fault, message=fault.message.replace("a recipe", "a mixture").replace("the recipe", "the mixture"))
