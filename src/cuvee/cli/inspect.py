"""`cuvee inspect`: what a model is, from its headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common
from cuvee.cli.pack_text import data_of, sizes, tasks_table
from cuvee.cli.tables import Column, facts, table
from cuvee.cli.words import in_millions

if TYPE_CHECKING:
    from cuvee.packs import PackFacts
    from cuvee.planning.inspect import Inspection


def inspect(model: str, /, *, common: Common = COMMON) -> int:
    """Say what a model is: architecture, layers, dtypes, parameters.

    Only headers and config.json are read, whatever the size of the model.

    For example:

        cuvee inspect ./my-model
        cuvee inspect model.safetensors
        cuvee inspect org/name@revision --json
        cuvee inspect s3://bucket/models/a
        cuvee inspect packs/vision

    Args:
        model: A model folder, a weight file, a hub id, or a URL of either; or a pack.
        common: How to print.
    """
    from cuvee import api

    if api.is_pack(model):
        facts_of_pack = api.inspect_pack(model)
        return deliver(Answer("inspect", {"pack": data_of(facts_of_pack)}, _text_of_pack(facts_of_pack)), common)
    found = api.inspect(model)
    return deliver(Answer("inspect", {"model": asdict(found)}, _text(found)), common)


def _text(found: Inspection) -> Iterator[RenderableType]:
    from cuvee.checkpoint.layout import format_size

    yield facts(
        [
            ("model", found.label),
            ("architecture", " · ".join(word for word in (found.architecture, found.model_type) if word) or "unknown"),
            ("layers", ", ".join(f"{count} in {prefix}" for prefix, count in found.layers.items()) or "none found"),
            ("vocabulary", "" if found.vocabulary is None else f"{found.vocabulary:,} rows"),
            ("head", "tied to the input embedding" if found.tied else ""),
            ("tensors", f"{found.tensors:,}"),
            ("parameters", in_millions(found.parameters)),
            ("size", format_size(found.nbytes)),
            ("quantised", found.quantised or ""),
            ("side files", ", ".join(found.side_files)),
        ]
    )
    for heading, parts in (("dtype", found.dtypes), ("role", found.roles)):
        yield ""
        yield _shares(heading, parts, found.parameters)
    yield from (f"note: {note}" for note in found.notes)


def _text_of_pack(found: PackFacts) -> Iterator[RenderableType]:
    yield facts(
        [
            ("pack", str(found.path)),
            ("base", found.base),
            ("made by", f"{found.method}, masks: {found.masks}"),
            ("tensors", f"{found.tensors:,}, {found.changed:,} of them with a delta ({', '.join(found.dtypes)})"),
            ("entries", in_millions(found.entries)),
            ("size", sizes(found)),
        ]
    )
    yield ""
    yield tasks_table(found)


def _shares(heading: str, parts: Mapping[str, int], total: int) -> RenderableType:
    """Parameters by dtype or role, with their share of all."""
    columns = [Column(heading), Column("parameters", numbers=True), Column("share", numbers=True)]
    rows = ([name, in_millions(n), f"{100 * n / total:.1f} %" if total else "–"] for name, n in parts.items())
    return table(columns, rows)
