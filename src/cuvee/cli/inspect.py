"""`cuvee inspect`: what a model is, from its headers; of several, whether they will merge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common, Seed, Switch
from cuvee.cli.pack_text import data_of as pack_data
from cuvee.cli.pack_text import sizes, tasks_table
from cuvee.cli.preflight_text import data_of, text_of
from cuvee.cli.progress import metered
from cuvee.cli.tables import Column, facts, table
from cuvee.cli.words import in_millions

if TYPE_CHECKING:
    from cuvee.packs import PackFacts
    from cuvee.planning.inspect import Inspection


def inspect(
    model: str,
    /,
    *others: str,
    base: Annotated[list[str] | None, Parameter(name="--base", negative=())] = None,
    data: Path | None = None,
    recipe: Annotated[Path | None, Parameter(name="--recipe")] = None,
    sample: str = "64MiB",
    seed: Seed = 0,
    layers: Switch = False,
    common: Common = COMMON,
) -> int:
    """Say what a model is; of several, whether they will merge.

    Of one model, only headers and config.json are read, whatever its size.

    Of several, or of one with --base, a sample of the weights is read as well:
    whether they fit, what they were tuned from, how far and in which directions
    they went, whether one is another with its units in another order. The answer
    is a verdict with its reasons, each with its figure and the rule that made it
    one, and a method to begin with. docs/preflight.md explains every figure.

    For example:

        cuvee inspect ./my-model
        cuvee inspect model.safetensors
        cuvee inspect org/name@revision --json
        cuvee inspect s3://bucket/models/a
        cuvee inspect packs/vision
        cuvee inspect math code --base base --recipe merge.yml
        cuvee inspect math code poems --data rows.jsonl

    Args:
        model: A model folder, a weight file, a hub id, or a URL of either; or a pack.
        others: More models, to be merged with the first.
        base: What they were tuned from; given more than once, the nearest is taken.
            Without it, it is looked for among the models.
        data: A file of rows with `text` or `input_ids`, and `label` for classifiers:
            the loss halfway between every two models is taken on it.
        recipe: Write a recipe to begin with to this file; it must not be there.
        sample: Bytes of each model that are read, such as 64MiB.
        seed: Seed of the choice of rows.
        layers: Tell the figures layer by layer.
        common: How to print.
    """
    from cuvee import api

    if others or base:
        with metered("looking", "step") as meter:
            answer = api.will_merge(
                [model, *others], base=base, data=data, recipe=recipe, sample=sample, seed=seed, progress=meter
            )
        shown = Answer("inspect", {"preflight": data_of(answer, recipe)}, text_of(answer, recipe, layers=layers))
        return deliver(shown, common)
    _alone(data, recipe, layers)
    if api.is_pack(model):
        facts_of_pack = api.inspect_pack(model)
        return deliver(Answer("inspect", {"pack": pack_data(facts_of_pack)}, _text_of_pack(facts_of_pack)), common)
    found = api.inspect(model)
    return deliver(Answer("inspect", {"model": asdict(found)}, _text(found)), common)


def _alone(data: Path | None, recipe: Path | None, layers: bool) -> None:
    """Refuse what means nothing for one model."""
    from cuvee.errors import Fault, UsageError

    given = {"--data": data is not None, "--recipe": recipe is not None, "--layers": layers}
    if any(given.values()):
        named = ", ".join(option for option, there in given.items() if there)
        message = f"{named} should come with two models or more, or with --base; found one model"
        raise UsageError(Fault("bad-argument", message, subject="model", hint="name the models to merge it with"))


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
