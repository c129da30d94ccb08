"""`cuvee moe route`: where a mixture of experts sends prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common
from cuvee.cli.progress import metered
from cuvee.cli.tables import Column, paragraph, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cuvee.mixtures.routing import Routing


def route(
    model: Path,
    /,
    *,
    prompts: Annotated[list[Path], Parameter(consume_multiple=True, negative=())],
    common: Common = COMMON,
) -> int:
    """Say where a mixture of experts sends prompts.

    Every file of prompts, a line each, is a group. Told is the share of its tokens
    whose strongest expert is each of them, on average and layer by layer, and the
    mean weight that each expert has.

    For example:

        cuvee moe route mixed --prompts maths.txt code.txt

    Args:
        model: A folder with a mixture of experts and its tokenizer.
        prompts: Files of prompts, a line each.
        common: How to print.
    """
    from cuvee import api

    with metered("routing", "step") as meter:
        found = api.route_prompts(model, _groups(prompts), progress=meter)
    return deliver(Answer("moe route", _data(found), list(_text(found))), common)


def _groups(prompts: list[Path]) -> dict[str, Path]:
    """Every file under its name; files of one name are called by their whole paths, so that none is lost."""
    stems = [path.stem for path in prompts]
    return {path.stem if stems.count(path.stem) == 1 else str(path): path for path in prompts}


def _data(found: Routing) -> dict[str, Any]:
    groups = {
        one.group: {
            "prompts": one.prompts,
            "tokens": one.tokens,
            "share": list(one.overall),
            "share_by_layer": [list(row) for row in one.first],
            "weight_by_layer": [list(row) for row in one.weight],
        }
        for one in found.groups
    }
    return {"layers": list(found.layers), "experts": list(found.experts), "groups": groups}


def _text(found: Routing) -> Iterator[RenderableType]:
    experts = [Column(name, numbers=True) for name in found.experts]
    columns = [Column("prompts"), Column("tokens", numbers=True), *experts]
    rows = [[one.group, f"{one.tokens:,}", *map(_percent, one.overall)] for one in found.groups]
    yield paragraph("Share of tokens whose strongest expert is")
    yield table(columns, rows)
    yield ""
    layers = [Column("prompts"), Column("layer"), *experts]
    by_layer = [
        [one.group, layer, *map(_percent, row)]
        for one in found.groups
        for layer, row in zip(found.layers, one.first, strict=True)
    ]
    yield table(layers, by_layer)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
