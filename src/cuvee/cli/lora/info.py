"""`cuvee lora info`: what an adapter is, and how large each module's change is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from cuvee.cli.answer import Answer, deliver
from cuvee.cli.options import COMMON, Common
from cuvee.cli.progress import metered
from cuvee.cli.tables import Column, facts, table

if TYPE_CHECKING:
    from cuvee.adapters.info import AdapterFacts


def info(adapter: str, /, *, common: Common = COMMON) -> int:
    """Say what an adapter is: kind, base, ranks, and the size of each module's change.

    Of every module: its rank and scale, the Frobenius norm of its change
    s · B · A, and the change's effective rank, the exponential of the entropy of
    its singular values: how many directions it really has. Both come from the
    factors; the change itself is never formed. Of DoRA they are those of the
    change before rows are given their lengths.

    For example:

        cuvee lora info my-adapter
        cuvee lora info org/adapter@main --json

    Args:
        adapter: A folder as PEFT writes one, or a hub id.
        common: How to print.
    """
    from cuvee import api

    with metered("reading", "step") as meter:
        found = api.lora_info(adapter, progress=meter)
    return deliver(Answer("lora info", _data(found), _text(found), notes=found.notes), common)


def _data(found: AdapterFacts) -> dict[str, Any]:
    data = asdict(found)
    data.pop("notes")
    return data


def _text(found: AdapterFacts) -> Iterator[RenderableType]:
    from cuvee.checkpoint.layout import format_size

    said = {
        "kind": found.kind,
        "base": found.base or "not named",
        "ranks": ", ".join(f"{rank} ({count})" for rank, count in found.ranks.items()) or "none",
        "modules": f"{len(found.modules):,}",
        "whole tensors": ", ".join(found.whole) or "none",
        "rows of tokens": ", ".join(f"{name} ({count})" for name, count in found.rows.items()) or "none",
        "size": f"{found.parameters:,} parameters, {format_size(found.nbytes)}",
    }
    yield facts(list(said.items()))
    yield ""
    columns = [Column("module"), Column("shape"), *(Column(word, numbers=True) for word in _NUMBERS)]
    yield table(columns, [_row(one) for one in found.modules])


_NUMBERS = ("rank", "scale", "‖ΔW‖", "effective rank")


def _row(one: Any) -> list[str]:
    shape = "×".join(map(str, one.shape))
    return [one.module, shape, str(one.rank), f"{one.scale:.4g}", f"{one.norm:.4g}", f"{one.effective_rank:.2f}"]
