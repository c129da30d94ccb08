"""An adapter that was written, as text and as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from cuvee.cli.tables import Column, facts, table

if TYPE_CHECKING:
    from cuvee.api.lora_algebra import AdapterResult


def data_of(found: AdapterResult) -> dict[str, Any]:
    """For programs."""
    modules = [asdict(one) for one in found.modules]
    return {"path": found.path, "modules": modules, "whole": list(found.whole), "parameters": found.parameters}


def text_of(found: AdapterResult) -> Iterator[RenderableType]:
    """For people: the folder, then every module's rank and error."""
    worst = max((one.error for one in found.modules), default=0.0)
    said = {
        "adapter": str(found.path),
        "modules": f"{len(found.modules):,}",
        "whole tensors": ", ".join(found.whole) or "none",
        "size": f"{found.parameters:,} parameters",
        "largest relative error": f"{worst:.3g}",
    }
    yield facts(list(said.items()))
    yield ""
    columns = [Column("module"), *(Column(word, numbers=True) for word in ("rank", "‖ΔW‖", "relative error"))]
    yield table(columns, [[m.module, str(m.rank), f"{m.norm:.4g}", f"{m.error:.3g}"] for m in found.modules])
